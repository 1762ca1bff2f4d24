"""Jobs survive in the .blend file: written before each save, read after each load."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import bpy
from bpy.app.handlers import persistent

from ..core import naming
from ..core.errors import AddonError
from ..core.jobs import JobBook, JobRecord
from . import preferences
from .strips import recovery, rendered
from .strips.placement import Placement
from .tasks import main_loop, runtime, take_list

log = logging.getLogger(__name__)
KEY = "posedub_jobs"


@persistent
def save_pre(path: str, *_unused: object) -> None:
    """Write each scene's jobs into the scene."""
    for scene in bpy.data.scenes:
        store(scene, Path(path).parent if path else None)
    if path:
        try:
            recovery.claim(take_list.in_use(), Path(path).name)
        except AddonError as error:  # the file is saved all the same
            log.warning("%s", error)


@persistent
def load_post(*_unused: object) -> None:
    """Leave the jobs of the file before, and list those of the new one."""
    state = runtime.current()
    state.detach()
    for scene in bpy.data.scenes:
        restore(scene, state)
    for record, placement in recovery.lost():
        if record.plan.uid not in state.book.records:
            state.book.records[record.plan.uid] = record
            state.strips.placements[record.plan.uid] = placement


@persistent
def undo_post(*_unused: object) -> None:
    """Strips that come back may be shorter than what was saved since."""
    runtime.current().recheck_strips()
    main_loop.wake()


@persistent
def render_init(*_unused: object) -> None:
    """Blender renders in a thread of its own, where handlers must not change anything of the file."""
    runtime.current().marks.begin()


@persistent
def render_write(scene: bpy.types.Scene, *_unused: object) -> None:
    """Note what a render writes."""
    runtime.current().marks.wrote(scene)


@persistent
def render_complete(scene: bpy.types.Scene, *_unused: object) -> None:
    """What was written with dubs in it gets its mark; at once where no timer will fire."""
    if not (preferences.mark_renders() and rendered.shows_dubs(scene)):
        return
    marks = runtime.current().marks
    marks.end(scene)
    if bpy.app.background:
        main_loop.run_until(lambda: not marks.busy)
    else:
        main_loop.wake()


def store(scene: bpy.types.Scene, home: Path | None) -> None:
    """Write the scene's jobs as JSON; folders below `home`, where the .blend file goes, as relative ones."""
    state = runtime.current()
    mine = {uid: place for uid, place in state.strips.placements.items() if place.scene == scene.session_uid}
    records = {uid: record for uid in mine if (record := state.book.get(uid))}
    if not records:
        scene.pop(KEY, None)
        return
    scene[KEY] = json.dumps(
        {
            "book": JobBook(records).to_json(),
            "placements": {uid: mine[uid].to_json() for uid in records},
            "folders": {uid: _relative(record.plan.folder, home) for uid, record in records.items()},
        }
    )


def _relative(folder: Path, home: Path | None) -> str:
    inside = home is not None and folder.is_relative_to(home)
    return "//" + folder.relative_to(home).as_posix() if inside and home else str(folder)


def restore(scene: bpy.types.Scene, state: runtime.Runtime) -> None:
    """Add the jobs a scene holds; what cannot be understood is left out."""
    try:
        data = json.loads(scene.get(KEY, "{}"))
        for record in JobBook.from_json(data.get("book", "[]")):
            _adopt(scene, state, record, data)
    except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
        log.warning("The dubs of the scene %s cannot be listed: %r.", scene.name, error)


def _adopt(scene: bpy.types.Scene, state: runtime.Runtime, record: JobRecord, data: dict[str, Any]) -> None:
    uid, plan = record.plan.uid, record.plan
    folder = Path(bpy.path.abspath(data["folders"][uid]))
    record.plan = recovery.relocated(plan, folder)
    record.saved_end = naming.saved_end(folder, plan.first, plan.end)
    state.strips.placements[uid] = Placement.from_json(data["placements"][uid], scene)
    state.book.records[uid] = record


HANDLERS = {
    "save_pre": save_pre,
    "load_post": load_post,
    "undo_post": undo_post,
    "redo_post": undo_post,
    "render_init": render_init,
    "render_write": render_write,
    "render_complete": render_complete,
    "render_cancel": render_complete,
}


def register() -> None:
    """Hook into saving, loading and undo."""
    for name, handler in HANDLERS.items():
        getattr(bpy.app.handlers, name).append(handler)


def unregister() -> None:
    """Unhook; when another application template is loaded, Blender has done so already."""
    for name, handler in HANDLERS.items():
        hooked = getattr(bpy.app.handlers, name)
        if handler in hooked:
            hooked.remove(handler)
