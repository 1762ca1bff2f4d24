"""The sequencer as PoseDub uses it, the same in Blender 4.5 and 5.x.

Strips are never kept: an undo or a load leaves references dangling, so every
function looks them up anew, by PoseDub's uid and the strip's name. A uid alone
does not do: splitting and pasting duplicate it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import bpy

from ...core import placement, timebase
from ...core.errors import AddonError

UID = "posedub_uid"
JOB, VERSION, SOUND = "posedub_job", "posedub_version", "posedub_sound"
"""Marks on the strip of a dub: the server's job, the version, and the name of the sound strip."""
EARLIER = "posedub_earlier"
"""Mark on a strip that showed other takes before: their uids, separated by blanks, the last one last."""
Holder: TypeAlias = bpy.types.SequenceEditor | bpy.types.MetaStrip
"""What strips lie in."""
NAME_BYTES = 61
"""Longest strip name; Blender cuts longer ones."""


@dataclass(frozen=True)
class StripRef:
    """How a strip is found again: PoseDub's uid ("" for none) and its name."""

    uid: str
    name: str


def edit_scene(context: bpy.types.Context) -> bpy.types.Scene:
    """The scene whose sequence is edited; since 5.0 it need not be the window's."""
    return getattr(context, "sequencer_scene", None) or context.scene


def override(scene: bpy.types.Scene) -> AbstractContextManager[None]:
    """Context in which functions of data-blocks work on this scene; for operators see `edited`."""
    members = {"scene": scene}
    if bpy.app.version >= (5, 0):
        members["sequencer_scene"] = scene
    return bpy.context.temp_override(**members)


@contextmanager
def edited(scene: bpy.types.Scene) -> Iterator[None]:
    """Operators work on this scene as long as it lasts, as if the editor had chosen it.

    Not by an overridden context: while Blender runs an operator, other Python threads go on, and up to Blender 5.0
    (Python 3.11) its look into that context takes whatever thread runs for its own, which ends in a crash.
    """
    windows = bpy.context.window_manager.windows
    if not windows:
        with override(scene):
            yield
        return
    owner, name = (windows[0].workspace, "sequencer_scene") if bpy.app.version >= (5, 0) else (windows[0], "scene")
    before = getattr(owner, name)
    with bpy.context.temp_override(window=windows[0]):  # windows are no part of what is looked into
        try:
            setattr(owner, name, scene)
            yield
        finally:
            setattr(owner, name, before)


def show(scene: bpy.types.Scene) -> None:
    """Have the editor see this scene, and edit its sequence."""
    for window in bpy.context.window_manager.windows[:1]:
        window.scene = scene
        if bpy.app.version >= (5, 0):
            window.workspace.sequencer_scene = scene


def may_redo() -> bool:
    """Whether the editor has undone steps that can be done again; a new step would take them away."""
    windows = bpy.context.window_manager.windows
    with bpy.context.temp_override(window=windows[0]) if windows else nullcontext():  # a timer has no window
        return bool(bpy.ops.ed.redo.poll())


def redraw(kinds: Iterable[str]) -> None:
    """Redraw the editors of these kinds, and nothing else."""
    for area in _areas(kinds):
        area.tag_redraw()


def redraw_sidebars() -> None:
    """Redraw the sidebars of the sequencers, which costs a tenth of their timelines and previews."""
    for area in _areas({"SEQUENCE_EDITOR"}):
        for region in area.regions:
            if region.type == "UI":
                region.tag_redraw()


def redraw_status_bars() -> None:
    """Redraw the windows' status bars; not during modal operators, whose keys they show."""
    for window in bpy.context.window_manager.windows:
        if not window.modal_operators:
            window.workspace.status_text_set_internal(None)


def _areas(kinds: Iterable[str]) -> Iterator[bpy.types.Area]:
    """The open editors of these kinds."""
    for window in bpy.context.window_manager.windows:
        yield from (area for area in window.screen.areas if area.type in kinds)


def scene_by_uid(session_uid: int) -> bpy.types.Scene | None:
    """A scene by Blender's session uid, which undo keeps."""
    return next((scene for scene in bpy.data.scenes if scene.session_uid == session_uid), None)


def fps(scene: bpy.types.Scene) -> Fraction:
    """Frames per second, exact."""
    return timebase.scene_fps(scene.render.fps, scene.render.fps_base)


def left(strip: bpy.types.Strip) -> int:
    """First frame of the strip."""
    return int(strip.left_handle if hasattr(strip, "left_handle") else strip.frame_final_start)


def right(strip: bpy.types.Strip) -> int:
    """Frame after the strip's last one."""
    return int(strip.right_handle if hasattr(strip, "right_handle") else strip.frame_final_end)


def set_right(strip: bpy.types.Strip, frame: int) -> None:
    """Have the strip end before a frame."""
    if hasattr(strip, "right_handle"):
        strip.right_handle = frame
    else:
        strip.frame_final_end = frame


def content_start(strip: bpy.types.Strip) -> int:
    """Frame at which the untrimmed content begins."""
    return int(strip.content_start if hasattr(strip, "content_start") else strip.frame_start)


def content_length(strip: bpy.types.Strip) -> int:
    """Timeline frames of the untrimmed content."""
    return int(strip.content_duration if hasattr(strip, "content_duration") else strip.frame_duration)


def move_content(strip: bpy.types.Strip, frame: int) -> None:
    """Have the untrimmed content begin at another frame."""
    if hasattr(strip, "content_start"):
        strip.content_start = frame
    else:
        strip.frame_start = frame


def first_picture(strip: bpy.types.Strip) -> int:
    """Frame at which an image strip shows, or would show, its first picture."""
    return content_start(strip) - int(strip.animation_offset_start)


def is_dub(strip: bpy.types.Strip) -> bool:
    """Whether the strip shows a dub."""
    return JOB in strip


def is_moving(strip: bpy.types.Strip) -> bool:
    """Whether the strip shows more than one picture: a movie, or an image sequence."""
    return strip.type == "MOVIE" or (strip.type == "IMAGE" and len(strip.elements) > 1)


def is_retimed(strip: bpy.types.Strip) -> bool:
    """Whether retiming keys bend the strip's time; their mapping cannot be read."""
    return _is_stretched(strip) if strip.type == "META" else len(getattr(strip, "retiming_keys", ())) > 0


def _is_stretched(meta: bpy.types.Strip) -> bool:
    """Blender hides the retiming keys of a meta strip, but with them it is longer or shorter than what it holds."""
    if _fits(meta) or not meta.strips:
        return False
    set_right(meta.strips[0], right(meta.strips[0]))  # Blender forgets to measure again when a strip inside is deleted
    return not _fits(meta)


def _fits(meta: bpy.types.Strip) -> bool:
    held = max(map(right, meta.strips), default=0) - min(map(left, meta.strips), default=0)
    offsets = int(meta.animation_offset_start + meta.animation_offset_end)
    return content_length(meta) in (held, held - offsets)


def strips(scene: bpy.types.Scene) -> list[bpy.types.Strip]:
    """All strips, those inside meta strips too."""
    editor = scene.sequence_editor
    return list(editor.strips_all) if editor else []


def selected(scene: bpy.types.Scene, kinds: Iterable[str]) -> list[bpy.types.Strip]:
    """Selected strips of the kinds, the active one first, then by channel; those in selected meta strips last."""
    wanted = [strip for strip in strips(scene) if strip.type in kinds and any(one.select for one in around(strip))]
    active = scene.sequence_editor.active_strip if wanted else None
    return sorted(wanted, key=lambda strip: (not strip.select, strip != active, strip.channel, left(strip)))


def find(scene: bpy.types.Scene, ref: StripRef) -> bpy.types.Strip | None:
    """The strip of this uid and name, else one that has or had this uid, else (without a uid) one of this name."""
    everyone = strips(scene)
    if not ref.uid:
        return next((strip for strip in everyone if strip.name == ref.name), None)
    owners = [strip for strip in everyone if strip.get(UID) == ref.uid]
    owners += [strip for strip in everyone if ref.uid in strip.get(EARLIER, "").split()]
    return next((strip for strip in owners if strip.name == ref.name), owners[0] if owners else None)


def tagged(strip: bpy.types.Strip) -> StripRef:
    """Give the strip a uid if it has none, and return how to find it."""
    if not strip.get(UID):
        strip[UID] = uuid.uuid4().hex
    return StripRef(strip[UID], strip.name)


def reference(strip: bpy.types.Strip) -> StripRef:
    """How to find the strip again, without changing it."""
    return StripRef(strip.get(UID, ""), strip.name)


def around(strip: bpy.types.Strip) -> list[bpy.types.Strip]:
    """The strip and the meta strips around it, the outermost last."""
    parent = strip.parent_meta()
    return [strip, *(around(parent) if parent else ())]


def span(strip: bpy.types.Strip) -> tuple[int, int]:
    """Frames first <= f < end in which the strip plays: a meta strip around it may be trimmed further than it is."""
    nested = around(strip)
    return max(map(left, nested)), min(map(right, nested))


def is_muted(scene: bpy.types.Scene, strip: bpy.types.Strip) -> bool:
    """Whether the strip, a meta strip around it, or the channel of either is muted."""
    return any(one.mute or holder(scene, one).channels[one.channel].mute for one in around(strip))


def holder(scene: bpy.types.Scene, strip: bpy.types.Strip) -> Holder:
    """What the strip lies in: a meta strip, or the sequence itself."""
    return strip.parent_meta() or scene.sequence_editor


def remove(scene: bpy.types.Scene, strip: bpy.types.Strip) -> None:
    """Delete a strip, and its keys."""
    holder(scene, strip).strips.remove(strip)


def outer_channel(strip: bpy.types.Strip) -> int:
    """Channel of the strip, or of the outermost meta strip around it."""
    return int(around(strip)[-1].channel)


def free_channel(holder: Holder, start: int, end: int, above: int) -> int:
    """The lowest unlocked channel over `above` that is empty for start <= f < end; raises AddonError."""
    spans = (placement.Span(strip.channel, left(strip), right(strip)) for strip in holder.strips)
    locked = [index for index, channel in enumerate(holder.channels) if channel.lock]
    return placement.free_channel(spans, start, end, above, locked)


def new_image_strip(holder: Holder, name: str, file: Path, channel: int, start: int) -> bpy.types.Strip:
    """An image strip of one picture, fitted into the frame; raises AddonError when Blender moves it."""
    images = holder.strips
    strip = images.new_image(name, blend_path(file), channel, start, fit_method="FIT")
    if strip.channel != channel:
        images.remove(strip)
        raise AddonError(f"Channel {channel} took no strip.", "Empty or unlock a channel above the sound strip.")
    return strip


def blend_path(file: Path) -> str:
    """The path relative to the .blend file when it lies in that file's folder, else absolute."""
    blend = bpy.data.filepath
    inside = bool(blend) and file.is_relative_to(Path(blend).parent)
    return bpy.path.relpath(str(file)) if inside else str(file)


def absolute(path: str, owner: bpy.types.ID) -> Path:
    """The file a path of a data-block or strip means; `owner` tells the library it comes from."""
    return Path(bpy.path.abspath(path, library=owner.library))


def shortened(source: str, before: str, after: str) -> str:
    """`before source after`, the source cut so that Blender keeps the whole name."""
    room = NAME_BYTES - len(f"{before}  {after}".encode())
    return f"{before} {source.encode()[:room].decode(errors='ignore').strip()} {after}"


def refresh(scene: bpy.types.Scene) -> None:
    """Read the files of image strips anew; since 5.0 a file written late otherwise stays invisible."""
    for strip in strips(scene):
        if strip.type == "IMAGE":
            strip.invalidate_cache("RAW")
