"""The sound of a strip, cut sample-exactly as the timeline plays it.

`read_cut` looks at Blender and runs in the main thread; `write_cut` decodes,
which may take seconds, and touches no Blender data.
"""

from __future__ import annotations

import tempfile
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import aud
import bpy
import numpy as np

from ..core import timebase
from ..core.errors import AddonError
from . import sequencer

FULL_SCALE = 1 << 23


@dataclass(frozen=True)
class SoundCut:
    """A piece of a sound file.

    Attributes:
        name: of the strip, for messages.
        file: the sound file; `packed` holds its bytes when it lies in the .blend file, or was
            mixed for this cut.
        start: seconds into the file at which the piece begins, may be negative.
        frames, fps: length of the piece is frames / fps seconds.
    """

    name: str
    file: Path
    start: Fraction
    frames: int
    fps: Fraction
    packed: bytes | None = None


def read_cut(scene: bpy.types.Scene, strip: bpy.types.Strip) -> SoundCut:
    """What a sound strip plays from its left to its right handle; raises AddonError."""
    if sequencer.is_retimed(strip):
        return _mixed_cut(scene, strip)
    sound = strip.sound
    if sound is None:
        raise AddonError(f'The sound strip "{strip.name}" has no sound.', "Replace the strip.")
    file, packed = sequencer.absolute(sound.filepath, sound), sound.packed_file
    if not packed and not file.is_file():
        raise AddonError(f'The file of strip "{strip.name}" is gone: {file}.', "Relink or replace the strip.")
    return SoundCut(
        name=strip.name,
        file=file,
        start=_start(scene, strip),
        frames=sequencer.right(strip) - sequencer.left(strip),
        fps=sequencer.fps(scene),
        packed=bytes(packed.data) if packed else None,
    )


def _start(scene: bpy.types.Scene, strip: bpy.types.Strip) -> Fraction:
    frames = sequencer.left(strip) - sequencer.content_start(strip) + int(strip.animation_offset_start)
    return timebase.frames_to_seconds(frames, sequencer.fps(scene)) - Fraction(strip.sound_offset).limit_denominator(
        10**6
    )


def _mixed_cut(scene: bpy.types.Scene, strip: bpy.types.Strip) -> SoundCut:
    """A retimed strip as Blender mixes it: its time mapping cannot be read.

    Since 5.1 mixing down runs in the background and tells nobody when it ends.
    """
    if bpy.app.version >= (5, 1):
        raise AddonError(f'The sound strip "{strip.name}" is retimed.', "Reset its retiming, or mix it down to a file.")
    frames = sequencer.right(strip) - sequencer.left(strip)
    with tempfile.TemporaryDirectory() as folder, _alone(scene, strip), sequencer.override(scene):
        file = Path(folder, "mix.wav")
        bpy.ops.sound.mixdown(filepath=str(file), container="WAV", codec="PCM", format="S24")
        mix = file.read_bytes()
    return SoundCut(strip.name, file, Fraction(0), frames, sequencer.fps(scene), mix)


@contextmanager
def _alone(scene: bpy.types.Scene, strip: bpy.types.Strip) -> Iterator[None]:
    """The scene plays this strip only, as long as it lasts; restored afterwards."""
    muted = {other.name: other.mute for other in sequencer.strips(scene) if other.type in ("SOUND", "SCENE")}
    span = scene.frame_start, scene.frame_end
    try:
        for name in muted:
            scene.sequence_editor.strips_all[name].mute = name != strip.name
        # The end first: the start cannot pass it.
        scene.frame_end, scene.frame_start = sequencer.right(strip) - 1, sequencer.left(strip)
        yield
    finally:
        for name, mute in muted.items():
            scene.sequence_editor.strips_all[name].mute = mute
        scene.frame_start, scene.frame_end = span


def write_cut(cut: SoundCut, target: Path) -> None:
    """Write the piece as mono 24-bit wav at the file's own rate; silence outside the file. Raises AddonError."""
    try:
        samples, rate = _read_packed(cut) if cut.packed is not None else _read(cut, cut.file)
    except aud.error as error:
        raise AddonError(f'The sound of strip "{cut.name}" cannot be read ({error}).', "Replace the file.") from error
    try:
        _write_wav(target, samples, rate)
    except OSError as error:
        raise AddonError(f"{target} cannot be written: {error.strerror}.", "Free some space.") from error


def _read_packed(cut: SoundCut) -> tuple[np.ndarray, int]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"packed{cut.file.suffix}")
        file.write_bytes(cut.packed or b"")
        return _read(cut, file)


def _read(cut: SoundCut, file: Path) -> tuple[np.ndarray, int]:
    """Samples (n,) float32 in [-1, 1] and their rate."""
    sound = aud.Sound.file(str(file))
    rate, channels = int(sound.specs[0]), sound.specs[1]
    first = timebase.round_half_up(cut.start * rate)
    count = timebase.frames_to_samples(cut.frames, cut.fps, rate)
    samples = np.zeros(count, np.float32)
    begin, end = max(0, first), first + count
    if begin < end:
        heard = _between(sound if channels == 1 else sound.rechannel(1), begin, end, rate)
        samples[begin - first : begin - first + len(heard)] = heard
    return samples, rate


def _between(sound: aud.Sound, begin: int, end: int, rate: int) -> np.ndarray:
    """Samples begin <= i < end, fewer at the end of the file.

    Decoded from the beginning: aud seeks only roughly. The limit lies between
    two samples, so that rounding cannot shift it.
    """
    return sound.limit(0.0, (end + 0.5) / rate).data()[begin:end, 0]


def _write_wav(target: Path, samples: np.ndarray, rate: int) -> None:
    values = np.clip(np.rint(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype("<i4")
    with wave.open(str(target), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(3)
        file.setframerate(rate)
        file.writeframes(values.view(np.uint8).reshape(-1, 4)[:, :3].tobytes())
