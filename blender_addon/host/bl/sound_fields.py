"""What Blender keeps of a sound and hides from Python."""

from __future__ import annotations

import logging
import struct
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import bpy

from ...core import blend_file

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Hidden:
    """Of a sound.

    Attributes:
        offset: seconds by which its strips play it later, less than a frame. Where a movie's sound begins before or
            behind its pictures, Blender moves the sound's strip by whole frames and keeps the rest here, for good.
        stream: which of the sound tracks of its file it plays, from 0 on; others than the first one since 5.2.
    """

    offset: Fraction = Fraction(0)
    stream: int = 0


_known: dict[int, Hidden] = {}


def read(sound: bpy.types.Sound) -> Hidden:
    """What Blender keeps; nothing where that cannot be found out."""
    if sound.session_uid not in _known:
        _known[sound.session_uid] = _read(sound)
    return _known[sound.session_uid]


def _read(sound: bpy.types.Sound) -> Hidden:
    try:
        with tempfile.TemporaryDirectory(prefix="posedub-") as folder:
            file = Path(folder, "sound.blend")
            bpy.data.libraries.write(str(file), {sound}, path_remap="NONE")
            values = blend_file.fields(file.read_bytes(), "bSound", ("offset_time", "stream_index"))
    except (OSError, RuntimeError, struct.error, ValueError, LookupError, StopIteration):
        log.warning("what Blender keeps of the sound %s is unknown", sound.name, exc_info=True)
        return Hidden()
    offset = Fraction(values.get("offset_time", 0)).limit_denominator(10**6)
    return Hidden(offset, int(values.get("stream_index", 0)))
