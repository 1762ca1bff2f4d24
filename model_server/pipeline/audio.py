"""Speech from any container or codec, as one file of raw mono 16 kHz samples.

Everything streams: a block of decoded samples goes through the resampler to the disk, so a film of hours takes no
more memory than a word. Time 0 is the first sample the container presents; FFmpeg drops the codec's priming samples
where the container states them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
import soxr
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from model_server.errors import ErrorKind, PoseDubError
from model_server.pipeline.media import audio_stream, check_duration, demux, never, open_media, stop_if

SAMPLE_RATE = 16000
_BLOCK = 1 << 16
_LOWEST_RATE, _HIGHEST_RATE = 1000, 1_000_000

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class SpeechFile:
    """Decoded speech on disk.

    Attributes:
        path: raw native float32 samples in [-1, 1], mono, 16 kHz.
        samples: how many; sample 0 belongs to the beginning of dub frame 0.
        duration: exact seconds of the whole source, before `start` was applied.
        rms: root mean square over the whole source at 16 kHz.
        start: second of the source that sample 0 lies at.
    """

    path: Path
    samples: int
    duration: Fraction
    rms: float
    start: Fraction


@dataclass
class _Tally:
    """Running sums over one source: samples at its own rate, samples and energy at 16 kHz."""

    rate: int = 0
    source: int = 0
    resampled: int = 0
    energy: float = 0.0

    @property
    def duration(self) -> Fraction:
        return Fraction(self.source, self.rate or 1)

    @property
    def rms(self) -> float:
        return float(np.sqrt(self.energy / max(self.resampled, 1)))


def decode_speech(
    path: Path, out_path: Path, start: Fraction = Fraction(0), cancelled: Callable[[], bool] = never
) -> SpeechFile:
    """Decode the first sound track of `path` to raw samples in `out_path`, which appears whole or not at all.

    Args:
        path: any sound or movie file.
        out_path: where the samples go; its folder must exist.
        start: second of the source that becomes sample 0; silence precedes the source when negative.
        cancelled: asked once per block.

    Raises:
        PoseDubError: unreadable, no sound track, no samples, `start` behind the end, or cancelled.
    """
    path, out_path = Path(path), Path(out_path)
    tally = _Tally()
    with _replacing(out_path) as file:
        for block in _shifted(_at_16k(path, tally, cancelled), round(start * SAMPLE_RATE)):
            file.write(block.tobytes())
        samples = file.tell() // 4
        _check_length(path, tally, samples, start)
    return SpeechFile(out_path, samples, tally.duration, tally.rms, start)


def temporary_speech(path: Path, start: Fraction = Fraction(0), cancelled: Callable[[], bool] = never) -> SpeechFile:
    """`decode_speech` into a file of its own, which goes when the returned value does."""
    folder = tempfile.mkdtemp(prefix="posedub-")
    try:
        speech = decode_speech(path, Path(folder) / "speech.f32", start, cancelled)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(speech, shutil.rmtree, folder, ignore_errors=True)
    return speech


def speech_duration(path: Path) -> Fraction:
    """Exact seconds of the first sound track, counted by decoding it; a dub of all of it has ceil(seconds * fps)."""
    tally = _Tally()
    for _ in _mono_blocks(Path(path), tally, never):
        pass
    _check_length(Path(path), tally, tally.source, Fraction(0))
    return tally.duration


def _check_length(path: Path, tally: _Tally, samples: int, start: Fraction) -> None:
    if tally.source == 0:
        raise PoseDubError(f"The sound in {path.name} has no samples; choose a sound longer than 0 seconds.")
    if samples == 0:
        raise PoseDubError(
            f"The sound in {path.name} lasts {float(tally.duration):.3f} s, so nothing is left to speak "
            f"at {float(start):.3f} s; choose a longer sound or an earlier start."
        )


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _shifted(blocks: Iterator[Samples], skip: int) -> Iterator[Samples]:
    """Drop the first `skip` samples, or put -`skip` zeros in front."""
    for first in range(0, -skip, _BLOCK):
        yield np.zeros(min(_BLOCK, -skip - first), np.float32)
    for block in blocks:
        yield block[max(skip, 0) :]
        skip -= len(block)


def _at_16k(path: Path, tally: _Tally, cancelled: Callable[[], bool]) -> Iterator[Samples]:
    resampler: soxr.ResampleStream | None = None
    for block in _mono_blocks(path, tally, cancelled):
        if tally.rate != SAMPLE_RATE and resampler is None:
            resampler = soxr.ResampleStream(tally.rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
        yield _counted(block if resampler is None else resampler.resample_chunk(block), tally)
    if resampler is not None:
        yield _counted(resampler.resample_chunk(np.zeros(0, np.float32), last=True), tally)


def _counted(block: Samples, tally: _Tally) -> Samples:
    tally.resampled += len(block)
    exact = block.astype(np.float64)
    tally.energy += float(exact @ exact)
    return block


def _mono_blocks(path: Path, tally: _Tally, cancelled: Callable[[], bool]) -> Iterator[Samples]:
    """Blocks of float32 samples at the source's rate, which `tally.rate` holds from the first block on."""
    with open_media(path) as container:
        stream = audio_stream(container, path)
        for packet in demux(container, stream):
            stop_if(cancelled)
            for block in _decode(stream, packet, tally, path):
                tally.source += len(block)
                check_duration(tally.source / (tally.rate or 1), path)
                yield block


def _decode(stream: AudioStream, packet: av.Packet, tally: _Tally, path: Path) -> Iterator[Samples]:
    try:
        frames = stream.decode(packet)
    except av.InvalidDataError:
        if tally.rate:  # silence as long as the damaged packet keeps what follows in its place
            seconds = (packet.duration or 0) * (packet.time_base or 0)
            yield np.zeros(round(seconds * tally.rate), np.float32)
        return
    for frame in frames:
        _check_rate(frame.sample_rate, tally, path)
        yield _mono(frame)[: _presented(frame)]


def _check_rate(rate: int, tally: _Tally, path: Path) -> None:
    tally.rate = tally.rate or rate
    if rate != tally.rate:
        sentence = f"The sound in {path.name} changes its sample rate midway; export it again as WAV."
        raise PoseDubError(sentence, ErrorKind.UNSUPPORTED)
    if not _LOWEST_RATE <= rate <= _HIGHEST_RATE:
        sentence = f"The sound in {path.name} has {rate} samples per second; export it again at 48000."
        raise PoseDubError(sentence, ErrorKind.UNSUPPORTED)


def _presented(frame: av.AudioFrame) -> int:
    """Samples before the end that the container states; an encoder pads the last frame (ISO 14496-12, edit lists)."""
    counts_samples = frame.time_base == Fraction(1, frame.sample_rate)
    return frame.duration if counts_samples and frame.duration else frame.samples


def _mono(frame: av.AudioFrame) -> Samples:
    """Mean of all channels, float32 in [-1, 1]."""
    data = frame.to_ndarray()
    if not frame.format.is_planar:
        data = data.reshape(-1, frame.layout.nb_channels).T
    if data.dtype == np.uint8:
        data = data.astype(np.float32) / 128 - 1
    elif data.dtype.kind == "i":
        data = data / np.float64(2 ** (8 * data.dtype.itemsize - 1))
    return np.nan_to_num(data.mean(axis=0, dtype=np.float64), posinf=1, neginf=-1).astype(np.float32)
