"""The sound of strips, cut sample-exactly as the timeline plays it.

`read_mix` looks at Blender and runs in the main thread; `write_mix` decodes,
which may take seconds, and touches no Blender data.
"""

from __future__ import annotations

import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TypeVar

import aud
import bpy
import numpy as np

from ...core import scratch, timebase
from ...core.errors import AddonError
from ..bl import fcurves, sequencer, sound_fields
from . import audio_tracks, downmix

FULL_SCALE = 1 << 23
RESAMPLING = 3
"""Quality of changes of the sample rate: the best."""
Result = TypeVar("Result")


@dataclass(frozen=True)
class SoundCut:
    """A piece of a sound file.

    Attributes:
        name: of the strip, for messages.
        file: the sound file; `packed` holds its bytes when it lies in the .blend file, or was
            mixed for this cut.
        start: seconds into the file at which the piece begins, may be negative.
        frames, fps: length of the piece is frames / fps seconds.
        stream: which of the file's sound tracks, from 0 on.
        volumes: gain at the beginning of each frame, straight lines between them; one for a constant gain.
    """

    name: str
    file: Path
    start: Fraction
    frames: int
    fps: Fraction
    packed: bytes | None = None
    stream: int = 0
    volumes: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class SoundMix:
    """What several sound strips play at once or one after the other.

    Attributes:
        first: timeline frame at which it begins.
        frames, fps: its length is frames / fps seconds.
        cuts: the pieces, each with the frame of the mix at which it begins.
    """

    first: int
    frames: int
    fps: Fraction
    cuts: tuple[tuple[int, SoundCut], ...]


def read_mix(scene: bpy.types.Scene, strips: Sequence[bpy.types.Strip], track: int = 0) -> SoundMix:
    """What sound strips play from the first one's beginning to the last one's end; raises AddonError.

    Muted strips are left out; the sound they leave is as long as without them.

    Args:
        track: which sound track of their files is meant, from 1 on; 0 for the one that Blender plays.
    """
    spans = [sequencer.span(strip) for strip in strips]
    first, end = min(begin for begin, _end in spans), max(end for _begin, end in spans)
    if first >= end:
        raise AddonError(f'The sound strip "{strips[0].name}" lies outside its meta strip.', "Extend the meta strip.")
    heard = [
        (begin - first, _read_cut(scene, strip, track))
        for strip, (begin, stop) in zip(strips, spans, strict=True)
        if begin < stop and not sequencer.is_muted(scene, strip)
    ]
    if not heard:
        raise AddonError(f'The sound strip "{strips[0].name}" is muted.', "Unmute it.")
    return SoundMix(first, end - first, sequencer.fps(scene), tuple(heard))


def _read_cut(scene: bpy.types.Scene, strip: bpy.types.Strip, track: int) -> SoundCut:
    if any(map(sequencer.is_retimed, sequencer.around(strip))):
        return _mixed_cut(scene, strip, track)
    sound = strip.sound
    if sound is None:
        raise AddonError(f'The sound strip "{strip.name}" has no sound.', "Replace the strip.")
    file, packed = sequencer.absolute(sound.filepath, sound), sound.packed_file
    if not packed and not file.is_file():
        raise AddonError(f'The file of strip "{strip.name}" is gone: {file}.', "Relink or replace the strip.")
    first, end = sequencer.span(strip)
    number = audio_tracks.meant(strip, track)
    return SoundCut(
        name=strip.name,
        file=file,
        start=_start(scene, strip, first) - audio_tracks.delay(strip, number),
        frames=end - first,
        fps=sequencer.fps(scene),
        packed=bytes(packed.data) if packed else None,
        stream=number - 1,
        volumes=_volumes(scene, strip, first, end),
    )


def _volumes(scene: bpy.types.Scene, strip: bpy.types.Strip, first: int, end: int) -> tuple[float, ...]:
    curves = fcurves.find(scene, strip.path_from_id("volume"))
    if not curves:
        return (strip.volume,)
    return tuple(max(0.0, value) for value in fcurves.evaluate(curves[0], range(first, end + 1)))


def _start(scene: bpy.types.Scene, strip: bpy.types.Strip, first: int) -> Fraction:
    frames = first - sequencer.content_start(strip) + int(strip.animation_offset_start)
    offset = Fraction(strip.sound_offset).limit_denominator(10**6) + sound_fields.read(strip.sound).offset
    return timebase.frames_to_seconds(frames, sequencer.fps(scene)) - offset


def _mixed_cut(scene: bpy.types.Scene, strip: bpy.types.Strip, track: int) -> SoundCut:
    """A retimed strip as Blender mixes it: its time mapping cannot be read.

    Since 5.1 mixing down runs in the background and tells nobody when it ends.
    """
    if audio_tracks.meant(strip, track) != audio_tracks.played(strip):
        raise AddonError(
            f'The sound strip "{strip.name}" is retimed, so that only what Blender plays can be dubbed.',
            "Set Sound Track to 0, or reset its retiming.",
        )
    if bpy.app.version >= (5, 1):
        raise AddonError(f'The sound strip "{strip.name}" is retimed.', "Reset its retiming, or mix it down to a file.")
    first, end = sequencer.span(strip)
    with scratch.folder() as folder, _alone(scene, strip), sequencer.edited(scene):
        file = folder / "mix.wav"
        bpy.ops.sound.mixdown(filepath=str(file), container="WAV", codec="PCM", format="S24")
        mix = file.read_bytes()
    return SoundCut(strip.name, file, Fraction(0), end - first, sequencer.fps(scene), mix)


@contextmanager
def _alone(scene: bpy.types.Scene, strip: bpy.types.Strip) -> Iterator[None]:
    """The scene plays this strip only, as long as it lasts; restored afterwards."""
    muted = {other.name: other.mute for other in sequencer.strips(scene) if other.type in ("SOUND", "SCENE")}
    span = scene.frame_start, scene.frame_end
    try:
        for name in muted:
            scene.sequence_editor.strips_all[name].mute = name != strip.name
        # The end first: the start cannot pass it.
        first, end = sequencer.span(strip)
        scene.frame_end, scene.frame_start = end - 1, first
        yield
    finally:
        for name, mute in muted.items():
            scene.sequence_editor.strips_all[name].mute = mute
        scene.frame_start, scene.frame_end = span


def write_mix(mix: SoundMix, target: Path) -> None:
    """Write the mix as mono 24-bit wav at the highest rate of its files; silence outside them. Raises AddonError.

    A sum that would clip is made as quiet as it must be.
    """
    rate = max(_opened(cut, lambda sound: int(sound.specs[0])) for _offset, cut in mix.cuts)
    total = np.zeros(timebase.frames_to_samples(mix.frames, mix.fps, rate), np.float32)
    for offset, cut in mix.cuts:
        samples = _opened(cut, partial(_samples, cut, rate)) * _gains(cut, rate)
        first = timebase.frames_to_samples(offset, mix.fps, rate)
        room = total[first : first + len(samples)]
        room += samples[: len(room)]
    try:
        _write_wav(target, total / max(1.0, np.abs(total).max(initial=0.0)), rate)
    except OSError as error:
        raise AddonError(f"{target} cannot be written: {error.strerror}.", "Free some space.") from error


def _opened(cut: SoundCut, use: Callable[[aud.Sound], Result]) -> Result:
    """What `use` makes of the cut's sound; raises AddonError."""
    try:
        if cut.packed is None:
            return use(aud.Sound.file(str(cut.file), cut.stream))
        with scratch.folder() as folder:
            file = folder / f"packed{cut.file.suffix}"
            file.write_bytes(cut.packed)
            return use(aud.Sound.file(str(file), cut.stream))
    except aud.error as error:
        raise AddonError(f'The sound of strip "{cut.name}" cannot be read ({error}).', "Replace the file.") from error


def _samples(cut: SoundCut, rate: int, sound: aud.Sound) -> np.ndarray:
    """The cut's samples (n,) float32 at a rate; silence outside the file."""
    if sound.specs[0] != rate:
        sound = sound.resample(rate, RESAMPLING)
    first = timebase.round_half_up(cut.start * rate)
    count = timebase.frames_to_samples(cut.frames, cut.fps, rate)
    samples = np.zeros(count, np.float32)
    begin, end = max(0, first), first + count
    if begin < end:
        heard = downmix.mono(_between(sound, begin, end, rate), rate)
        samples[begin - first : begin - first + len(heard)] = heard
    return samples


def _gains(cut: SoundCut, rate: int) -> np.ndarray:
    """Gain of each sample, (n,) float32, or (1,)."""
    if len(cut.volumes) == 1:
        return np.array(cut.volumes, np.float32)
    frames = np.arange(timebase.frames_to_samples(cut.frames, cut.fps, rate)) * float(cut.fps / rate)
    return np.interp(frames, np.arange(len(cut.volumes)), cut.volumes).astype(np.float32)


def _between(sound: aud.Sound, begin: int, end: int, rate: int) -> np.ndarray:
    """Samples begin <= i < end of all channels, (n, channels), fewer at the end of the file.

    Decoded from the beginning: aud seeks only roughly. The limit lies between
    two samples, so that rounding cannot shift it.
    """
    return sound.limit(0.0, (end + 0.5) / rate).data()[begin:end]


def _write_wav(target: Path, samples: np.ndarray, rate: int) -> None:
    values = np.clip(np.rint(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype("<i4")
    with wave.open(str(target), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(3)
        file.setframerate(rate)
        file.writeframes(values.view(np.uint8).reshape(-1, 4)[:, :3].tobytes())
