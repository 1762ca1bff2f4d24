"""Poses on their way into keyframes: read by the server in the background, written in the main thread."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Protocol

import bpy

from ...client.session import Session
from ...core import pose_curves, scratch
from ...core.engines import USUAL
from ...core.errors import AddonError, told
from ...core.events import JobProgress, PoseFailed, PoseRead
from ...core.plan import DubPlan, PoseRequest, PoseSource
from ...core.pose_map import Row
from ..bl import sequencer
from ..bl.sequencer import StripRef
from ..sources import footage, pose_keys
from ..strips.placement import dub_start
from .server_link import Request, ServerLink

PHASES = {
    "connecting": "Connecting",
    "uploading": "Uploading",
    "pose": "Reading the pose",
    "speech": "Listening to the speech",
}
NO_FACE = "{} frames show no face; a neighbour's pose is held there."


@dataclass(frozen=True)
class Bake:
    """A pose that becomes keyframes.

    Attributes:
        scene: Blender's session uid of the scene.
        name: which pose of the strip, `pose_keys.FIRST` or `SECOND`.
        plan: of the dub that the strip shows; row k belongs to its frame k.
        tolerance: as in `pose_keys.bake`.
    """

    scene: int
    strip: StripRef
    name: str
    plan: DubPlan
    tolerance: float

    def write(self, rows: Sequence[Row], lids: Sequence[float] = ()) -> None:
        """See `Pose.write`."""
        scene, strip = lying(self)
        # A still pose is asked for once.
        told = rows if len(rows) > 1 else list(rows) * self.plan.frame_count
        track = list(map(pose_curves.widened, told))
        pose_keys.bake(scene, strip, self.name, dub_start(strip, self.plan), track, self.tolerance)
        if self.name == pose_keys.FIRST:
            self._write_blinks(scene, strip, lids)
            scene.posedub.pose_kind = "keyframes"
        bpy.ops.ed.undo_push(message=f"Bake Pose {strip.name}")

    def _write_blinks(self, scene: bpy.types.Scene, strip: bpy.types.Strip, lids: Sequence[float]) -> None:
        """Key the eyes of a pose movie, if they close in it; of still pictures they stay as they are."""
        if len(lids) == self.plan.frame_count > 1 and any(lids):
            track: list[Row] = [(closed,) for closed in lids]
            pose_keys.bake(scene, strip, footage.BLINK, dub_start(strip, self.plan), track, self.tolerance)


class Pose(Protocol):
    """A pose on its way into the keyframes of a strip."""

    @property
    def scene(self) -> int:
        """Blender's session uid of the scene."""
        ...

    @property
    def strip(self) -> StripRef:
        """The strip."""
        ...

    def write(self, rows: Sequence[Row], lids: Sequence[float] = ()) -> None:
        """Write the keys where the strip lies now, as one undo step; raises AddonError when it is gone.

        Args:
            lids: how far the eyes are closed in each row, 0 to 1; () for nothing known.
        """
        ...


def lying(pose: Pose) -> tuple[bpy.types.Scene, bpy.types.Strip]:
    """The scene and the strip that a pose is for; raises AddonError when it is gone."""
    scene = sequencer.scene_by_uid(pose.scene)
    strip = sequencer.find(scene, pose.strip) if scene else None
    if scene is None or strip is None:
        raise AddonError(f'The strip "{pose.strip.name}" is gone.', "Make the pose of another one.")
    return scene, strip


class Baker:
    """The bakes of the open file.

    Attributes:
        problem: why the last bake failed, a sentence; "" when it did not.
        note: what deserves a look in the last bake.
    """

    def __init__(self, link: ServerLink) -> None:
        self.problem = self.note = ""
        self._link = link
        self._bakes: dict[str, Pose] = {}
        self._phases: dict[str, str] = {}
        self._folders: dict[str, Path] = {}

    def __contains__(self, uid: str) -> bool:
        return uid in self._bakes

    @property
    def busy(self) -> bool:
        """Whether a pose is being read."""
        return bool(self._bakes)

    def phase(self, strip: bpy.types.Strip) -> str:
        """What is being done for a strip; "" when no pose is read for it."""
        ref = sequencer.reference(strip)
        return next((self._phases[uid] for uid, bake in self._bakes.items() if bake.strip == ref), "")

    def start(self, bake: Bake, pose: PoseSource) -> str:
        """Bake a pose; its uid, in this object until it is done. Raises AddonError."""
        self.problem = self.note = ""
        uid, count = uuid.uuid4().hex, bake.plan.frame_count
        if pose.kind in ("codes", "frontal", "speech") or (pose.kind == "fixed" and bake.plan.portrait is None):
            # What an engine makes of the speech cannot be read: its keys begin at a head that looks into the camera.
            bake.write(pose.codes or [self._neutral(bake.plan)] * count)
            return uid
        asked = request(uid, bake.plan, pose)
        self.ask(uid, bake, lambda session: session.read_pose(asked))
        return uid

    def ask(
        self,
        uid: str,
        pose: Pose,
        send: Callable[[Session], object],
        after: Future[None] | None = None,
        folder: Path | None = None,
    ) -> None:
        """Have a pose asked for, and written when it is told; raises AddonError.

        Args:
            uid: in this object until it is done.
            send: asks the session for it.
            after: work in the background that must be done before; None for none.
            folder: a temporary one that goes when the pose is done; None for none.
        """
        self.problem = self.note = ""
        endpoint = self._link.reach()
        self._bakes[uid], self._phases[uid] = pose, "Starting"
        if folder:
            self._folders[uid] = folder
        self._link.send(uid, Request(endpoint, send, partial(self._unsent, uid), after))

    def _neutral(self, plan: DubPlan) -> Row:
        info = self._link.info
        return (info.offer(plan.weights_id) if info else USUAL).engine.neutral

    def _unsent(self, uid: str, error: Exception) -> None:
        self.end(PoseFailed(uid, str(told("The pose could not be asked for", error))))

    def cancel(self, strip: bpy.types.Strip) -> None:
        """Give up the bakes of a strip."""
        ref = sequencer.reference(strip)
        for uid in [uid for uid, bake in self._bakes.items() if bake.strip == ref]:
            self._forget(uid)
            self._link.cancel(uid)

    def progress(self, event: JobProgress) -> None:
        """Take over how far a bake's background thread is."""
        self._phases[event.uid] = PHASES.get(event.phase, event.phase)

    def end(self, event: PoseRead | PoseFailed) -> None:
        """Write what was read; one that was given up meanwhile is ignored."""
        bake = self._forget(event.uid)
        if bake is None:
            return
        if isinstance(event, PoseFailed):
            self.problem = event.message
            return
        held = sum(end - first for first, end in event.held)
        self.note = NO_FACE.format(held) if held else ""
        try:
            bake.write(event.rows, event.lids)
        except AddonError as error:
            self.problem = str(error)

    def _forget(self, uid: str) -> Pose | None:
        self._phases.pop(uid, None)
        if folder := self._folders.pop(uid, None):
            scratch.remove(folder)
        return self._bakes.pop(uid, None)

    def clear(self) -> None:
        """Forget all, as when another file is opened."""
        for uid in list(self._bakes):
            self._forget(uid)
        self.problem = self.note = ""


def request(uid: str, plan: DubPlan, pose: PoseSource) -> PoseRequest:
    """What to ask the server for the pose of a dub: exactly what it would read itself."""
    portrait = plan.portrait
    if portrait and (pose.kind == "fixed" or pose.file is None):
        return PoseRequest(uid, portrait.file, portrait.face, (portrait.time,), plan.weights_id, "encoder")
    if pose.file is None:
        raise AddonError(f"{plan.name} has neither a portrait nor a pose strip.", "Bake from the pose strip.")
    times = tuple(pose.start + pose.speed * Fraction(k) / plan.fps for k in range(plan.frame_count))
    return PoseRequest(uid, pose.file, pose.face, times, plan.weights_id, plan.pose_reading)
