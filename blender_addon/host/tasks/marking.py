"""Renders that show dubs, and the takes themselves, get a signed mark once they are written.

Blender renders in a thread of its own and calls its handlers there: they only note what was written. The dubs are read
from the scene in the main thread, and the server's command signs in the background.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import bpy

from ...client.boundary import boundary
from ...client.marking import mark
from ...client.server_process import find_posedub
from ...core.manifest import read_manifest
from ...core.marks import Rendered, record, take_record
from .. import preferences
from ..bl import sequencer
from ..strips import rendered as rendered_dubs
from .managed_server import HOW_TO_INSTALL

log = logging.getLogger(__name__)
_CLOCKS = 2.0
"""Seconds by which the clocks of disks and of the computer may be apart."""


class RenderMarks:
    """Marks of the renders and takes of this Blender.

    Attributes:
        problem: why the last render has no mark, a sentence; "" when it has, or needs none.
        marked: the last file or folder that was marked.
    """

    def __init__(self) -> None:
        self.problem = ""
        self.marked: Path | None = None
        self._worker = ThreadPoolExecutor(1, "posedub marks")
        self._frames: list[int] = []
        self._began = 0.0
        self._due: list[tuple[int, Rendered]] = []
        self._takes: list[Path] = []
        self._signing: Future[tuple[Path | None, str] | None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a render waits for its mark."""
        return bool(self._due or self._takes) or self._signing is not None

    def begin(self) -> None:
        """A render begins."""
        self._frames, self._began = [], time.time()

    def wrote(self, scene: bpy.types.Scene) -> None:
        """A frame was written."""
        self._frames.append(scene.frame_current)

    def end(self, scene: bpy.types.Scene) -> None:
        """The render is complete."""
        if self._frames:
            files = tuple(dict.fromkeys(_files(scene, self._frames, self._began)))
            self._due.append((scene.session_uid, Rendered(files, tuple(self._frames))))

    def take(self, folder: Path) -> None:
        """A take is complete: a record of what it was made from, signed, lies beside its frames then."""
        self._takes.append(folder)

    def step(self) -> bool:
        """Take over what was signed, sign what is due; whether anything changed."""
        changed = self._signing is not None and self._signing.done()
        if self._signing is not None and changed:
            ended, self._signing = self._signing.result(), None
            if ended is not None:
                file, self.problem = ended
                self.marked = file or self.marked
                log.info("marked %s %s", file, self.problem)
        if self._due and self._signing is None:
            self._sign(*self._due.pop(0))
            changed = True
        if self._takes and self._signing is None:
            self._sign_take(self._takes.pop(0))
            changed = True
        return changed

    def close(self) -> None:
        """The end of the add-on."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _sign(self, scene_uid: int, rendered: Rendered) -> None:
        scene = sequencer.scene_by_uid(scene_uid)
        dubs = rendered_dubs.dubs(scene, rendered) if scene else []
        if not dubs:
            return
        command = find_posedub(preferences.settings().executable)
        if command is None:
            self.problem = f"The render has no mark: the command posedub is not found. {HOW_TO_INSTALL}"
            return
        self._signing = self._worker.submit(_signed, command, record(dubs, rendered.files), rendered.files[0])

    def _sign_take(self, folder: Path) -> None:
        """Where there is no command, as beside a server elsewhere, the take's manifest alone says what made it."""
        command = find_posedub(preferences.settings().executable)
        if command is not None:
            self._signing = self._worker.submit(_signed_take, command, folder)


def _signed_take(command: list[str], folder: Path) -> None:
    """Sign a take; renders have the marks that count, so that one without is no problem to be shown."""
    with boundary("marking a take", "The take has no mark", lambda error: log.warning("%s: %s", folder, error)):
        values = take_record(read_manifest(folder))
        if values["files"]:
            mark(command, values)


def _signed(command: list[str], values: dict, file: Path) -> tuple[Path | None, str]:
    """The file that was marked, or why it has no mark."""
    problems: list[str] = []
    with boundary("marking a render", "The render has no mark", lambda error: problems.append(str(error))):
        mark(command, values)
    return (None, problems[0]) if problems else (file, "")


def _files(scene: bpy.types.Scene, frames: Sequence[int], since: float) -> list[Path]:
    """Where frames went; a single picture has the name itself, without a number."""
    render, plain = scene.render, Path(bpy.path.abspath(scene.render.filepath))
    if len(frames) == 1 and not render.is_movie_format:
        for path in (plain, plain.with_name(plain.name + render.file_extension)):
            if path.is_file() and path.stat().st_mtime > since - _CLOCKS:
                return [path]
    return [Path(render.frame_path(frame=frame)) for frame in frames]
