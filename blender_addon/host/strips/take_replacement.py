"""A new take of a dub takes the place of the one that a strip shows.

While it is made it grows in a strip of its own above; when it is done the older strip shows it instead, with its
place, trim, keys and modifiers, as if it had been switched to that take. Both strips stay when the editor changed the
new one meanwhile, or when it is no longer clear which strip is meant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import bpy

from ...core import naming
from ...core.plan import DubPlan
from ...core.takes import identity
from ..bl import fcurves, sequencer
from ..bl.sequencer import EARLIER, JOB, SOUND, UID, VERSION, StripRef
from ..sources import footage, pose_keys
from ..sources.source_refs import SOURCES

IDENTITY, TRACE = "posedub_dub", "posedub_trace"
"""Marks on a dub strip: which dub its take is one of, and what it was like when it was made."""
COMPARES = "posedub_compares"
"""Mark of a strip that lies half over another one: that one's uid."""
EARLIER_KEPT = 8
TOUCHED = ("name", "channel", "mute", "blend_type", "blend_alpha", "color_multiply", "color_saturation")


def mark(scene: bpy.types.Scene, strip: bpy.types.Strip, plan: DubPlan) -> None:
    """Note which dub a new strip shows, and what it is like."""
    strip[IDENTITY] = identity(plan)
    strip[TRACE] = _trace(scene, strip)


def relabel(scene: bpy.types.Scene, strip: bpy.types.Strip, uid: str, version: str, job_id: str, sources: str) -> None:
    """Note on a strip which take it shows now; it is still found as the one that showed the earlier ones."""
    before = strip.get(UID, "")
    for other in sequencer.strips(scene):
        if before and other.get(COMPARES) == before:
            other[COMPARES] = uid
    strip[EARLIER] = " ".join([*strip.get(EARLIER, "").split(), before][-EARLIER_KEPT:])
    strip[UID], strip[VERSION], strip[JOB] = uid, version, job_id
    strip[SOURCES] = sources or strip.get(SOURCES, "")


def succeed(
    scene: bpy.types.Scene, strip: bpy.types.Strip, replaces: StripRef | None, keyed: tuple[StripRef | None, ...]
) -> None:
    """Have the older strip, if there is one, show what a finished take's own strip shows, and remove that.

    Where it shows a newer take by now, of a job that was quicker, it stays as it is.

    Args:
        replaces: the strip whose take was made anew; None for any that shows a take of the same dub at the same place.
        keyed: strips whose keys the take was made with; it succeeds no other one.
    """
    old = _predecessor(scene, strip, replaces, keyed)
    if old is None:
        return
    if naming.is_newer(old.get(VERSION, ""), strip[VERSION]):
        sequencer.remove(scene, strip)
        return
    old.directory, name = strip.directory, strip.name
    relabel(scene, old, strip[UID], strip[VERSION], strip[JOB], strip.get(SOURCES, ""))
    old[IDENTITY] = strip[IDENTITY]
    for amount in footage.AMOUNTS:
        if not pose_keys.is_keyed(scene, old, (amount,)):
            setattr(old, amount, getattr(strip, amount))
    sequencer.remove(scene, strip)
    old.name = name


def _predecessor(
    scene: bpy.types.Scene, strip: bpy.types.Strip, replaces: StripRef | None, keyed: tuple[StripRef | None, ...]
) -> bpy.types.Strip | None:
    if strip.get(TRACE) != _trace(scene, strip) or _is_input(scene, strip):
        return None
    old = sequencer.find(scene, replaces) if replaces else next(_older(scene, strip), None)
    if old is None or old == strip or _is_locked(scene, old) or _files(old) != _files(strip):
        return None
    owners = {owner.name for ref in keyed if ref and (owner := sequencer.find(scene, ref))}
    return None if owners - {old.name} else old


def _older(scene: bpy.types.Scene, strip: bpy.types.Strip) -> Iterator[bpy.types.Strip]:
    """Strips that show a take of the same dub at the same place, the topmost first."""
    same = (other for other in sequencer.holder(scene, strip).strips if other != strip and sequencer.is_dub(other))
    for other in sorted(same, key=lambda one: -one.channel):
        if _place(other) == _place(strip) and not (_is_locked(scene, other) or sequencer.is_muted(scene, other)):
            yield other


def _place(strip: bpy.types.Strip) -> tuple[object, ...]:
    at = sequencer.left(strip), sequencer.right(strip), sequencer.first_picture(strip)
    return strip.get(SOUND), strip.get(IDENTITY), *at


def _is_locked(scene: bpy.types.Scene, strip: bpy.types.Strip) -> bool:
    return bool(strip.lock or sequencer.holder(scene, strip).channels[strip.channel].lock)


def _files(strip: bpy.types.Strip) -> list[str]:
    return [element.filename for element in strip.elements]


def _is_input(scene: bpy.types.Scene, strip: bpy.types.Strip) -> bool:
    inputs = (getattr(one, name, None) for one in sequencer.strips(scene) for name in ("input_1", "input_2"))
    return any(one == strip for one in inputs if one is not None)


def _trace(scene: bpy.types.Scene, strip: bpy.types.Strip) -> str:
    """A digest of what an editor changes on a strip, but for its length."""
    names = (*pose_keys.SIZES, *footage.AMOUNTS)
    values = [getattr(strip, name) for name in TOUCHED] + [pose_keys.constants(strip, name) for name in names]
    lies = _numbers(strip.transform), _numbers(strip.crop)
    place = sequencer.left(strip), sequencer.first_picture(strip), len(strip.modifiers)
    digest = hashlib.sha256(repr((values, lies, place)).encode())
    for path in sorted(path for path in fcurves.paths(scene) if path.startswith(strip.path_from_id())):
        for index, curve in fcurves.find(scene, path).items():
            digest.update(f"{path}{index}".encode() + fcurves.read(curve, fcurves.SHAPE).tobytes())
    return digest.hexdigest()


def _numbers(part: bpy.types.bpy_struct) -> list[object]:
    names = [prop.identifier for prop in part.bl_rna.properties if prop.type in ("INT", "FLOAT")]
    return [tuple(value) if hasattr(value := getattr(part, name), "__len__") else value for name in names]
