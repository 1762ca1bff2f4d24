"""What takes do to the timeline: a strip shows another one, one lies beside another, settings come back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bpy

from ...core import pose_curves, schema, sequences
from ...core.errors import AddonError
from ...core.manifest import Manifest, read_manifest
from ...core.naming import frame_name
from ...core.plan import DubPlan
from ...core.takes import identity
from ..bl import sequencer
from ..bl.sequencer import SOUND, UID
from ..sources import footage, media, pose_keys
from . import recovery, take_replacement
from .placement import dub_start
from .take_replacement import COMPARES

POSES = {"video": "strip", "codes": "keyframes"}
PNG_WIDTH = slice(16, 20)


@dataclass(frozen=True)
class ShownTake:
    """The take that a strip shows: how it was made, and the timeline frame of its dub's frame 0."""

    plan: DubPlan
    start: int

    @property
    def end(self) -> int:
        """Timeline frame after the dub's last one."""
        return self.start + self.plan.frame_count


def shown(scene: bpy.types.Scene, strip: bpy.types.Strip) -> ShownTake:
    """The take that a strip shows, read from beside its frames; raises AddonError."""
    plan = read_manifest(sequencer.absolute(strip.directory, scene)).plan
    return ShownTake(plan, dub_start(strip, plan))


def switch(scene: bpy.types.Scene, strip: bpy.types.Strip, folder: Path) -> None:
    """Have a strip show another take of the same dub, its frames in time where they were; raises AddonError."""
    old, manifest = shown(scene, strip), read_manifest(folder)
    plan = manifest.plan
    names = _frames(plan)
    strip.directory = sequencer.blend_path(folder) + "/"
    while len(strip.elements) > len(names):
        strip.elements.pop(len(strip.elements) - 1)
    for element, name in zip(strip.elements, names, strict=False):
        element.filename = name
    for name in names[len(strip.elements) :]:
        strip.elements.append(name)
    if plan.take_first != old.plan.take_first:
        sequencer.move_content(strip, old.start + plan.take_first + int(strip.animation_offset_start))
    take_replacement.relabel(scene, strip, plan.uid, folder.name, manifest.job_id, recovery.sources(folder))
    strip[take_replacement.IDENTITY] = identity(plan)
    strip.name = sequencer.shortened(strip.get(SOUND, folder.parent.name), "Dub", folder.name + _marks(manifest))
    sequencer.refresh(scene)


def _frames(plan: DubPlan) -> list[str]:
    """File names of a take; raises AddonError when some are not there."""
    names = [frame_name(index) for index in range(plan.take_first, plan.take_end)]
    missing = sum(not (plan.folder / name).is_file() for name in names)
    if missing:
        raise AddonError(f"{missing} frames of {plan.name} are not there.", "Fetch or retry it first.")
    return names


def _marks(manifest: Manifest) -> str:
    return " untrained" if manifest.weights.kind == "untrained" else ""


def compared(scene: bpy.types.Scene, strip: bpy.types.Strip) -> bpy.types.Strip | None:
    """The strip that lies half over this one."""
    uid = strip.get(UID)
    return next((other for other in sequencer.strips(scene) if uid and other.get(COMPARES) == uid), None)


def compare(scene: bpy.types.Scene, strip: bpy.types.Strip, folder: Path) -> None:
    """Lay a take over the right half of a strip's picture, or take it away again; raises AddonError."""
    there = compared(scene, strip)
    if there is not None:
        sequencer.remove(scene, there)
        return
    plan = read_manifest(folder).plan
    names, start = _frames(plan), shown(scene, strip).start + plan.take_first
    holder = sequencer.holder(scene, strip)
    channel = sequencer.free_channel(holder, start, start + len(names), strip.channel)
    made = sequencer.new_image_strip(holder, f"Compare {folder.name}", folder / names[0], channel, start)
    for name in names[1:]:
        made.elements.append(name)
    footage.lay_over(scene, made, strip)
    made[COMPARES], made.select = strip[UID], False
    made.crop.min_x = strip.crop.min_x + (_width(folder / names[0]) - strip.crop.min_x - strip.crop.max_x) // 2
    sequencer.refresh(scene)


def _width(file: Path) -> int:
    with file.open("rb") as stream:
        return int.from_bytes(stream.read(PNG_WIDTH.stop)[PNG_WIDTH], "big")


def restore(scene: bpy.types.Scene, strip: bpy.types.Strip | None, folder: Path) -> list[str]:
    """Set the scene's settings to those of a take; sentences on what could not be. Raises AddonError."""
    plan, values = read_manifest(folder).plan, scene.posedub
    if plan.pose.kind == "codes":
        if strip is None:
            raise AddonError(f"{plan.name} was posed with keyframes.", "Select the dub strip that shall get them.")
        _restore_keys(scene, strip, plan)
    values.pose_kind = POSES.get(plan.pose.kind, plan.pose.kind)
    for name, value in schema.chosen(plan).items():
        schema.NETWORK[name].store(values, value)
    if plan.portrait:
        values.portrait_crop = plan.portrait.face.crop
    values.output, values.feather = plan.output.mode, plan.output.feather
    values.keep_where_absent, values.mouth_only = plan.output.keep_where_absent, plan.output.mouth_only[0]
    values.face_source, values.presence_mark = plan.output.face_source, plan.output.presence_mark
    values.blink = plan.blink[0]
    if plan.pose.kind == "video":
        values.pose_crop = plan.pose.face.crop
    return list(_assign_sources(scene, plan))


def _restore_keys(scene: bpy.types.Scene, strip: bpy.types.Strip, plan: DubPlan) -> None:
    start = shown(scene, strip).start
    pose_keys.clear(scene, strip, tuple(pose_keys.SIZES))
    pose_keys.bake(scene, strip, pose_keys.FIRST, start, list(map(pose_curves.widened, plan.pose.codes)), 0.0)
    for name, column in zip(pose_keys.HANDLES, zip(*plan.pose.angles, strict=True), strict=False):
        pose_keys.change(scene, strip, name, start, [(value,) for value in column])


def _assign_sources(scene: bpy.types.Scene, plan: DubPlan) -> Iterator[str]:
    for role, file in plan.sources():
        if role == "speech":
            continue
        found = next((strip for strip in sequencer.strips(scene) if _shows(scene, strip, file)), None)
        if found is None:
            yield f"No strip shows the {role} {file.name} any more; add it, or choose another one."
        else:
            scene.posedub.source(role).assign(sequencer.tagged(found))


def _shows(scene: bpy.types.Scene, strip: bpy.types.Strip, file: Path) -> bool:
    if strip.type not in ("IMAGE", "MOVIE") or sequencer.is_dub(strip):
        return False
    if strip.type == "MOVIE":
        return sequencer.absolute(strip.filepath, scene) == file
    if file.suffix == sequences.MOVIE and sequencer.is_moving(strip):
        return media.sequence(scene, strip) == file
    folder = sequencer.absolute(strip.directory, scene)
    return file.parent == folder and any(element.filename == file.name for element in strip.elements)
