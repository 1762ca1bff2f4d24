"""The takes of the sound that is edited, as a list; and what the editor does with one.

Folders are read and removed in a background thread. A take that any strip of the open file shows is in use, and so is
one that a running job writes; neither is ever removed.
"""

from __future__ import annotations

import logging
import shutil
import time
from concurrent.futures import Executor, Future
from pathlib import Path

import bpy

from ...core.takes import Take, folder_size, read_takes, surplus
from ..bl import sequencer
from ..planning import scene_plan
from ..sources import pose_keys, select
from ..strips import recovery

log = logging.getLogger(__name__)
MEGABYTE = 10**6
DAY = 86400.0


class Takes:
    """What lies on disk for the sound that is edited.

    Attributes:
        rows: newest first.
        freed: bytes that the last clearing gave back.
    """

    def __init__(self, worker: Executor) -> None:
        self.rows: tuple[Take, ...] = ()
        self.freed = 0
        self._worker = worker
        self._parent: Path | None = None
        self._wanted: Path | None = None
        self._reading: Future[tuple[Take, ...]] | None = None
        self._clearing: Future[int] | None = None

    @property
    def busy(self) -> bool:
        """Whether folders are to be read or removed."""
        return self._wanted is not None or self._reading is not None or self._clearing is not None

    def look(self, scene: bpy.types.Scene) -> None:
        """This scene's takes are being shown. May be called while a panel is drawn."""
        parent = folder_of(scene)
        if parent != self._parent:
            self._wanted = parent

    def outdated(self) -> None:
        """Takes were added or removed: read them again."""
        self._parent = None

    def step(self) -> bool:
        """Read what is wanted, take over what was read; whether the list changed."""
        if self._clearing is not None and self._clearing.done():
            self.freed, self._clearing = self._clearing.result(), None
            self.outdated()
        if self._wanted is not None and self._reading is None:
            self._parent, self._wanted = self._wanted, None
            self._reading = self._worker.submit(read_takes, self._parent)
        if self._reading is None or not self._reading.done():
            return False
        self.rows, self._reading = self._reading.result(), None
        _list(self.rows)
        return True

    def make_room(self, limit: int, active: set[Path]) -> None:
        """Remove the oldest takes until all of the open file fit into `limit` bytes, but none in use or `active`."""
        if self._clearing is None:
            home, blend = scene_plan.all_takes().resolve(), Path(bpy.data.filepath).name
            self._clearing = self._worker.submit(_make_room, home, limit, in_use() | active, blend)

    def clear(self) -> None:
        """Forget all, as when another file is opened."""
        self.rows, self._parent, self._wanted = (), None, None


def folder_of(scene: bpy.types.Scene) -> Path | None:
    """Where the takes lie of the dub strip that is selected, else of the sound; None when there is neither."""
    strip = pose_keys.active(scene)
    if strip is not None:
        return sequencer.absolute(strip.directory, scene).resolve().parent
    sound = select.read(scene).chosen["audio"].strip
    return scene_plan.takes_folder(sound.name).resolve() if sound is not None else None


def in_use() -> set[Path]:
    """Folders whose pictures some strip of the open file shows."""
    shown = (
        sequencer.absolute(strip.directory, scene).resolve()
        for scene in bpy.data.scenes
        for strip in sequencer.strips(scene)
        if strip.type == "IMAGE"
    )
    return set(shown)


def _list(takes: tuple[Take, ...]) -> None:
    """Fill the list that the panel shows."""
    manager = bpy.context.window_manager
    manager.posedub_takes.clear()
    for take in takes:
        row = manager.posedub_takes.add()
        row.name, row.folder, row.settings = take.version, str(take.folder), take.settings
        row.text = line(take)
    manager.posedub_take = min(manager.posedub_take, max(0, len(takes) - 1))


def line(take: Take) -> str:
    """A take in few words."""
    made = f", {take.generated} generated in {take.seconds:.1f} s" if take.generated >= 0 else ""
    state = "" if take.state == "done" else f", {take.state}"
    return f"{take.frames} frames{made}{state}, {take.size / MEGABYTE:.1f} MB"


def _make_room(home: Path, limit: int, used: set[Path], blend: str) -> int:
    """In the background: remove takes; bytes freed."""
    takes = [take for parent in home.glob("*/") for take in read_takes(parent)]
    kept = used | {take.folder for take in takes if not _ours(take, blend)}
    return sum(remove(take.folder) for take in surplus(takes, limit, kept))


def _ours(take: Take, blend: str) -> bool:
    """Whether a take belongs to this .blend file alone; one never saved may be open in another Blender for a day."""
    return recovery.users(take.folder) == {blend} and (bool(blend) or time.time() - take.created > DAY)


def remove(folder: Path) -> int:
    """Delete a take's files; bytes freed."""
    size = folder_size(folder)
    shutil.rmtree(folder, ignore_errors=True)
    log.info("removed the take %s, %d bytes", folder, size)
    return 0 if folder.exists() else size
