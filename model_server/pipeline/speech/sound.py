"""Sound tracks as players lay them: block by block, on the one time axis that all tracks of a file share.

Second 0 is where the first track of the file begins. Where a track begins later, stalls or is damaged there is
silence, so that what follows stays in its place; channels and rate may change on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from numpy.typing import NDArray

from model_server.errors import ErrorKind, PoseDubError
from model_server.pipeline.media.containers import (
    begin_of,
    check_duration,
    demux,
    find_video_stream,
    known_codec,
    never,
    open_media,
    stop_if,
)
from model_server.pipeline.speech.adts import adts_frames
from model_server.sandbox.channel import crosses

Channels = NDArray[np.float32]

_LOWEST_RATE, _HIGHEST_RATE = 1000, 1_000_000
_SILENCE_AT_ONCE = 1 << 16
# Seconds that a block may lie from where the samples before it end. Timestamps are rounded, and recorders stamp blocks
# by a clock that trembles; less than a frame of film is heard by nobody.
_TREMBLING = 0.04
# A block so many seconds too early is not stored twice: the timestamps begin anew, as in recordings put together.
_RESTART = 1.0
# Longer stalls are none: a clock that jumps in formats made for broadcasting, nonsense elsewhere.
_LONGEST_STALL, _LONGEST_BROADCAST_STALL = 3600.0, 10.0
_BROADCAST = {"mpegts", "mpeg", "ogg"}
# These hold samples without times; what FFmpeg states is counted from a rate that may have changed.
_UNTIMED = {"aac", "ac3", "aiff", "amr", "avi", "caf", "eac3", "mp3", "w64", "wav"}
# Their durations are written down by who made the file, not guessed from its size or last timestamp.
_STATING = {"aiff", "caf", "flac", "matroska", "mov", "w64", "wav"}
# Samples of a frame of AAC (ISO 13818-7).
_ADTS_SAMPLES = 1024
# PyAV reads beyond the pointers of so many planes, and takes the process with it.
_TOO_MANY_PLANES = 8
# Seconds by which the end that a file states may lie behind its sound: pictures last longer, encoders pad.
_UNSTATED = Fraction(1, 2)
# About -60 dB: hiss of an empty input is softer, every whisper louder.
AUDIBLE = 0.001


@crosses
@dataclass(frozen=True)
class SoundTrack:
    """Which sound track of a file is read.

    Attributes:
        number: among the sound tracks, from 1 on.
        count: of the sound tracks.
        name: title and language as far as the file tells them, else "".
    """

    number: int
    count: int
    name: str = ""


@dataclass(frozen=True)
class SoundBlock:
    """Samples of all channels, float32 in [-1, 1], (channels, n); `layout` names the channels as FFmpeg does."""

    samples: Channels
    rate: int
    layout: str


@crosses
@dataclass
class Flaws:
    """What a track went through, as far as it has been read.

    Attributes:
        damaged: begin and end, seconds, of each packet that could not be decoded.
        stalls: begin and end, seconds, of each gap in its timestamps.
        changes: seconds at which channels or sample rate change.
        broken_off: second behind which nothing can be read, though the file should go on; None where it does not.
    """

    damaged: list[tuple[Fraction, Fraction]] = field(default_factory=list)
    stalls: list[tuple[Fraction, Fraction]] = field(default_factory=list)
    changes: list[Fraction] = field(default_factory=list)
    broken_off: Fraction | None = None


class SoundReader:
    """Reads one sound track once.

    Args:
        path: any sound or movie file.
        number: of the track from 1 on; 0 takes the default track, or the first one in which anything is heard if
            that one is silent or the file names none.
        cancelled: asked once per block.

    Attributes:
        track: what is read.
        flaws: what it went through so far.

    Raises:
        PoseDubError: unreadable, no such track, or cancelled; while reading also for media beyond all limits.
    """

    def __init__(self, path: Path, number: int = 0, cancelled: Callable[[], bool] = never) -> None:
        self._path = Path(path)
        self._cancelled = cancelled
        self.track = _chosen(self._path, number, cancelled)
        self.flaws = Flaws()
        self._start = Fraction(0)  # second at which the stretch of one format begins that is being read
        self._begin, self._count = 0.0, 0  # the same, and its samples so far
        self._layout, self._rate = "", 0

    @property
    def end(self) -> Fraction:
        """Second of the file at which the sound read so far ends."""
        return self._start + Fraction(self._count, self._rate or 1)

    @property
    def _end(self) -> float:
        """`end`, without the cost of a fraction."""
        return self._begin + self._count / (self._rate or 1)

    def blocks(self) -> Iterator[SoundBlock]:
        """The sound from second 0 of the file on, without gaps; may be read once."""
        with open_media(self._path) as container:
            stream = known_codec(container.streams.audio[self.track.number - 1], self._path)
            self._clock = _Clock(container)
            for block in self._placed(container, stream):
                self._count += block.samples.shape[1]
                check_duration(self._end, self._path)
                yield block
            if self.end + _UNSTATED < _stated_end(container, stream):
                self.flaws.broken_off = self.end

    def _placed(self, container: InputContainer, stream: AudioStream) -> Iterator[SoundBlock]:
        """What is decoded, with silence where there is nothing; the last frame is cut where the container ends it."""
        last: tuple[Channels, int] | None = None  # not counted yet
        for missing, packet in self._packets(container, stream):
            stop_if(self._cancelled)
            if missing and last is not None:
                yield self._block(last[0])
                last = None
            for _ in range(missing):
                yield from self._lost(packet)
            for frame in self._decoded(stream, packet):
                if last is not None:
                    yield self._block(last[0])
                if frame is None:
                    yield from self._lost(packet)
                    last = None
                    continue
                self._note_format(frame)
                late = round(self._clock.late(frame, self._end) * self._rate)
                yield from self._stall(late)
                last = _channels(frame, self._packer)[:, max(0, -late) :], max(0, _presented(frame) + min(0, late))
        if last is not None:
            yield self._block(last[0][:, : last[1]])

    def _packets(self, container: InputContainer, stream: AudioStream) -> Iterator[tuple[int, av.Packet]]:
        """All packets, each behind the number of those lost before it; where the file breaks off, those before."""
        if container.format.name == "aac":
            yield from _adts_packets(self._path, stream)
            return
        try:
            for packet in demux(container, stream):
                yield 0, packet
        except av.FFmpegError:
            if not self._rate:
                raise
            self.flaws.broken_off = self.end

    def _decoded(self, stream: AudioStream, packet: av.Packet) -> Sequence[av.AudioFrame | None]:
        """A packet's frames; None for one that is damaged."""
        try:
            return stream.decode(packet)
        except EOFError:
            return []
        except av.FFmpegError:
            return [None]

    def _lost(self, packet: av.Packet) -> Iterator[SoundBlock]:
        """Silence as long as a damaged packet, which keeps what follows in its place."""
        seconds = (packet.duration or 0) * (packet.time_base or Fraction(0))
        self.flaws.damaged.append((self.end, self.end + seconds))
        if self._rate:
            yield from self._silence(round(seconds * self._rate))

    def _stall(self, samples: int) -> Iterator[SoundBlock]:
        if samples > 0 and self.end:
            self.flaws.stalls.append((self.end, self.end + Fraction(samples, self._rate)))
        yield from self._silence(samples)

    def _note_format(self, frame: av.AudioFrame) -> None:
        layout, rate = frame.layout.name, frame.sample_rate
        if (layout, rate) == (self._layout, self._rate):
            return
        if not _LOWEST_RATE <= rate <= _HIGHEST_RATE:
            sentence = f"The sound in {self._path.name} has {rate} samples per second; export it again at 48000."
            raise PoseDubError(sentence, ErrorKind.UNSUPPORTED)
        if self._rate:
            self.flaws.changes.append(self.end)
        self._start, self._count = self.end, 0
        self._begin = float(self._start)
        self._layout, self._rate = layout, rate
        self._packer = av.AudioResampler(format="flt")

    def _silence(self, samples: int) -> Iterator[SoundBlock]:
        """So many samples of silence; none for less than one."""
        channels = av.AudioLayout(self._layout).nb_channels
        for first in range(0, samples, _SILENCE_AT_ONCE):
            size = channels, min(_SILENCE_AT_ONCE, samples - first)
            yield self._block(np.zeros(size, np.float32))

    def _block(self, samples: Channels) -> SoundBlock:
        return SoundBlock(samples, self._rate, self._layout)


class _Clock:
    """Where blocks belong by their timestamps."""

    def __init__(self, container: InputContainer) -> None:
        self._origin = float(begin_of(container))
        self._trusted = container.format.name not in _UNTIMED
        self._longest = _LONGEST_BROADCAST_STALL if container.format.name in _BROADCAST else _LONGEST_STALL
        self._begun = self._repeating = False
        self._moved = 0.0  # seconds by which timestamps that jumped are put right

    def late(self, frame: av.AudioFrame, end: float) -> float:
        """Seconds by which a block begins behind `end`, where the sound before it ends; 0 if it follows at once.

        Less than 0 if it repeats what is there already.
        """
        first, self._begun = not self._begun, True
        if frame.pts is None or not (first or self._trusted):
            return 0.0
        late = frame.pts * float(frame.time_base or 0) - self._origin - end + self._moved
        if first:
            return late if 0 < late < self._longest else 0.0
        if late < -_RESTART or late > self._longest:
            self._moved -= late
            return 0.0
        tolerated = 0.0 if self._repeating and late < 0 else _TREMBLING
        self._repeating = late < -tolerated
        return late if abs(late) > tolerated else 0.0


def _stated_end(container: InputContainer, stream: AudioStream) -> Fraction:
    """Second of the file at which the track ends by what the file states; 0 where it does not."""
    if not _STATING & set(container.format.name.split(",")):
        return Fraction(0)
    if stream.duration and stream.time_base:
        return ((stream.start_time or 0) + stream.duration) * stream.time_base - begin_of(container)
    alone = len(container.streams.audio) == 1 and find_video_stream(container) is None
    return Fraction(container.duration or 0, av.time_base) if alone else Fraction(0)


def _chosen(path: Path, number: int, cancelled: Callable[[], bool]) -> SoundTrack:
    """The track of a number, or the one an editor would expect."""
    with open_media(path) as container:
        tracks = [SoundTrack(at, len(container.streams.audio), _name(stream)) for at, stream in _numbered(container)]
        known = [at for at, stream in _numbered(container) if stream.codec_context is not None]
        default = [at for at in known if container.streams.audio[at - 1].disposition & Disposition.default]
    if not tracks:
        raise PoseDubError(f"The file {path.name} has no sound track; choose a file with sound.")
    if number:
        return _of_number(tracks, number, path)
    order = sorted(known, key=lambda at: at not in default)
    if len(order) > 1:
        order = [next((at for at in order if _audible(path, at, cancelled)), order[0])]
    return tracks[(order or [1])[0] - 1]


def _numbered(container: InputContainer) -> list[tuple[int, AudioStream]]:
    return list(enumerate(container.streams.audio, 1))


def _name(stream: AudioStream) -> str:
    tags = stream.metadata
    words = (tags.get("title") or tags.get("name", ""), tags.get("language", ""))
    return ", ".join(word for word in words if word and word != "und")


def _of_number(tracks: list[SoundTrack], number: int, path: Path) -> SoundTrack:
    if number > len(tracks):
        count = "1 sound track" if len(tracks) == 1 else f"{len(tracks)} sound tracks"
        raise PoseDubError(f"The file {path.name} has {count}, so there is no number {number}; choose another.")
    return tracks[number - 1]


def _audible(path: Path, number: int, cancelled: Callable[[], bool]) -> bool:
    try:
        blocks = SoundReader(path, number, cancelled).blocks()
        return any(np.abs(block.samples).max(initial=0) > AUDIBLE for block in blocks)
    except PoseDubError as error:
        if error.kind is ErrorKind.CANCELLED:
            raise
        return False


def _adts_packets(path: Path, stream: AudioStream) -> Iterator[tuple[int, av.Packet]]:
    codec = stream.codec_context
    for lost, data in adts_frames(path):
        packet = av.Packet(data)
        packet.duration, packet.time_base = codec.frame_size or _ADTS_SAMPLES, Fraction(1, codec.sample_rate or 1)
        yield lost, packet
    yield 0, av.Packet()  # the end


def _presented(frame: av.AudioFrame) -> int:
    """Samples before the end that the container states; an encoder pads the last frame (ISO 14496-12, edit lists)."""
    counts_samples = frame.time_base == Fraction(1, frame.sample_rate)
    return frame.duration if counts_samples and frame.duration else frame.samples


def _channels(frame: av.AudioFrame, packer: av.AudioResampler) -> Channels:
    """Samples of all channels, float32 in [-1, 1], (channels, n)."""
    count = frame.layout.nb_channels
    if frame.format.is_planar and count >= _TOO_MANY_PLANES:
        parts = [part.to_ndarray().reshape(-1, count).T for part in packer.resample(frame)]
        data = np.concatenate([np.zeros((count, 0), np.float32), *parts], axis=1)
    else:
        data = frame.to_ndarray()
        data = data if frame.format.is_planar else data.reshape(-1, count).T
    if data.dtype == np.uint8:
        data = data.astype(np.float32) / 128 - 1
    elif data.dtype.kind == "i":
        data = data / np.float64(2 ** (8 * data.dtype.itemsize - 1))
    samples = data.astype(np.float32, copy=False)
    return samples if np.isfinite(samples).all() else np.nan_to_num(samples, posinf=1, neginf=-1)
