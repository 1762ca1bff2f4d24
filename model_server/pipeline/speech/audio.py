"""Speech from any container or codec, as one file of raw mono 16 kHz samples.

Everything streams: a block of decoded samples goes through the resampler to the disk, so a film of hours takes no
more memory than a word. Times are those of the file, as `sound` lays them; FFmpeg drops the codec's priming samples
where the container states them.
"""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_server.errors import PoseDubError
from model_server.features import SAMPLE_RATE
from model_server.files import replacing
from model_server.pipeline.media.containers import never
from model_server.pipeline.speech.downmix import Downmix
from model_server.pipeline.speech.resampling import resampled
from model_server.pipeline.speech.sound import AUDIBLE, Flaws, SoundReader, SoundTrack
from model_server.sandbox.channel import crosses
from model_server.scratch import make_folder
from model_server.surroundings import naming

_BLOCK = 1 << 16
# Of the power: what an offset may have without being taken off, which no ear or network notices.
_OFFSET_SHARE = 0.01

Samples = NDArray[np.float32]


@crosses
@dataclass(frozen=True)
class Spoken:
    """What is known of speech once all of it was decoded; attributes as of `SpeechFile`."""

    duration: Fraction
    rms: float
    track: SoundTrack
    flaws: Flaws
    offset: float


@dataclass(frozen=True)
class SpeechFile:
    """Decoded speech on disk.

    Attributes:
        path: raw native float32 samples in [-1, 1], mono, 16 kHz.
        samples: how many; sample 0 belongs to the beginning of dub frame 0.
        duration: second of the file at which the sound ends, exact; `start` was not applied yet.
        rms: root mean square over the whole source at 16 kHz, around `offset`.
        start: second of the file that sample 0 lies at.
        track: which sound track it is.
        flaws: what that track went through.
        offset: the constant that a recorder added to all samples of the source, 0 where there is none to speak of.
    """

    path: Path
    samples: int
    duration: Fraction
    rms: float
    start: Fraction
    track: SoundTrack = SoundTrack(1, 1)
    flaws: Flaws = field(default_factory=Flaws)
    offset: float = 0.0

    def read(self, first: int, count: int) -> Samples:
        """`count` samples from index `first` on, without offset, zeros outside the speech."""
        samples = np.zeros(count, np.float32)
        begin, end = max(first, 0), min(first + count, self.samples)
        if begin < end:
            read = np.fromfile(self.path, np.float32, count=end - begin, offset=4 * begin)
            samples[begin - first : end - first] = read - np.float32(self.offset)
        return samples


@dataclass
class _Tally:
    """Running sums over one source at 16 kHz."""

    samples: int = 0
    energy: float = 0.0
    total: float = 0.0

    @property
    def offset(self) -> float:
        """Mean of all samples; 0 where it adds nothing to the loudness."""
        mean, power = self.total / max(self.samples, 1), self.energy / max(self.samples, 1)
        return mean if mean**2 > _OFFSET_SHARE * power else 0.0

    @property
    def rms(self) -> float:
        return float(np.sqrt(max(0.0, self.energy / max(self.samples, 1) - self.offset**2)))


def decode_speech(
    path: Path,
    out_path: Path,
    start: Fraction = Fraction(0),
    cancelled: Callable[[], bool] = never,
    track: int = 0,
) -> SpeechFile:
    """Decode a sound track of `path` to raw samples in `out_path`, which appears whole or not at all.

    Args:
        path: any sound or movie file.
        out_path: where the samples go; its folder must exist.
        start: second of the file that becomes sample 0; silence precedes the file when negative.
        cancelled: asked once per block.
        track: number as in `SoundReader`; 0 chooses.

    Raises:
        PoseDubError: unreadable, no such track, no samples, `start` behind the end, or cancelled.
    """
    return written(out_path, spoken(Path(path), start, track, cancelled), start)


def spoken(
    path: Path, start: Fraction, track: int, cancelled: Callable[[], bool] = never
) -> Generator[Samples, None, Spoken]:
    """Blocks of a sound track's samples, from `start` on, and in the end what they are; as of `decode_speech`."""
    reader, tally = SoundReader(path, track, cancelled), _Tally()
    samples = 0
    for block in _shifted(_heard(reader, tally), round(start * SAMPLE_RATE)):
        samples += len(block)
        yield block
    _check_length(path, reader.end, samples, start)
    return Spoken(reader.end, tally.rms, reader.track, reader.flaws, tally.offset)


def written(out_path: Path, blocks: Generator[Samples, None, Spoken], start: Fraction) -> SpeechFile:
    """A file of what `spoken` gives; it appears whole or not at all."""
    out_path, samples = Path(out_path), 0
    with naming(out_path), replacing(out_path) as part, part.open("xb") as file:
        while True:
            try:
                block = next(blocks)
            except StopIteration as stop:
                told: Spoken = stop.value
                break
            file.write(block.tobytes())
            samples += len(block)
    return SpeechFile(out_path, samples, told.duration, told.rms, start, told.track, told.flaws, told.offset)


def temporary(speak: Callable[[Path], SpeechFile]) -> SpeechFile:
    """Speech in a file of its own, which goes when the returned value does.

    Args:
        speak: makes the file at a path.
    """
    folder = make_folder()
    try:
        speech = speak(folder / "speech.f32")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(speech, shutil.rmtree, folder, ignore_errors=True)
    return speech


def speech_duration(path: Path, track: int = 0) -> Fraction:
    """Second of the file at which a sound track ends, found by decoding; a dub of all of it has ceil(seconds * fps)."""
    reader = SoundReader(Path(path), track)
    samples = sum(block.samples.shape[1] for block in reader.blocks())
    _check_length(Path(path), reader.end, samples, Fraction(0))
    return reader.end


def is_heard(speech: SpeechFile, begin: Fraction, end: Fraction) -> bool:
    """Whether anything is audible between two seconds, counted from the speech's sample 0."""
    first, last = (min(max(round(second * SAMPLE_RATE), 0), speech.samples) for second in (begin, end))
    for at in range(first, last, _BLOCK):
        samples = np.fromfile(speech.path, np.float32, min(_BLOCK, last - at), offset=4 * at)
        if np.abs(samples).max(initial=0) > AUDIBLE:
            return True
    return False


def _check_length(path: Path, end: Fraction, samples: int, start: Fraction) -> None:
    if end == 0:
        raise PoseDubError(f"The sound in {path.name} has no samples; choose a sound longer than 0 seconds.")
    if samples == 0:
        raise PoseDubError(
            f"The sound in {path.name} lasts {float(end):.3f} s, so nothing is left to speak "
            f"at {float(start):.3f} s; choose a longer sound or an earlier start."
        )


def _shifted(blocks: Iterator[Samples], skip: int) -> Iterator[Samples]:
    """Drop the first `skip` samples, or put -`skip` zeros in front."""
    for first in range(0, -skip, _BLOCK):
        yield np.zeros(min(_BLOCK, -skip - first), np.float32)
    for block in blocks:
        yield block[max(skip, 0) :]
        skip -= len(block)


def _heard(reader: SoundReader, tally: _Tally) -> Iterator[Samples]:
    """The speech at 16 kHz, counted."""
    for block in resampled(_mono(reader), SAMPLE_RATE):
        tally.samples += len(block)
        exact = block.astype(np.float64)
        tally.energy += float(exact @ exact)
        tally.total += float(exact.sum())
        yield block


def _mono(reader: SoundReader) -> Iterator[tuple[Samples, int]]:
    """Blocks of one channel, with their rates."""
    mix: Downmix | None = None
    for block in reader.blocks():
        mix = mix if mix and mix.rate == block.rate else Downmix(block.rate)
        yield mix.mono(block.samples, block.layout).astype(np.float32, copy=False), block.rate
