"""Head movement that goes with speech, on its way into the yaw, pitch and roll of a strip."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import bpy

from ...core import pose_curves, scratch
from ...core.plan import SpeechPoseRequest
from ...core.pose_curves import Track
from ...core.pose_map import Row
from ..bl import sequencer
from ..bl.sequencer import StripRef
from ..planning.scene_reading import SceneReading
from ..sources import audio, pose_keys
from .baking import Baker, lying


@dataclass(frozen=True)
class Movement:
    """What becomes of the pose that is told.

    Attributes:
        seed: of movement that speech does not tell.
        amount: factor of the movement around its mean.
        smoothing: standard deviation of a Gaussian, frames; 0 for none.
        tolerance: leave out keys that straight lines miss by no more than so many degrees; 0 keeps one for each frame.
    """

    seed: int = 0
    amount: float = 1.0
    smoothing: float = 0.0
    tolerance: float = 0.0

    def of(self, told: Sequence[Row]) -> Track:
        """Yaw, pitch and roll of all frames."""
        track = list(told)
        if self.smoothing > 0:
            track = pose_curves.smooth(track, 0, len(track), self.smoothing)
        return pose_curves.scale(track, 0, len(track), self.amount, pose_curves.mean(track))


@dataclass(frozen=True)
class SpeechPose:
    """Implements `baking.Pose`: the handles of a strip, from the timeline frame `first` on."""

    scene: int
    strip: StripRef
    first: int
    movement: Movement

    def write(self, rows: Sequence[Row], lids: Sequence[float] = ()) -> None:
        """See `baking.Pose.write`."""
        scene, strip = lying(self)
        track = self.movement.of(rows)
        for name, column in zip(pose_keys.HANDLES, zip(*track, strict=True), strict=True):
            pose_keys.bake(scene, strip, name, self.first, [(value,) for value in column], self.movement.tolerance)
        scene.posedub.pose_kind = "keyframes"
        bpy.ops.ed.undo_push(message=f"Pose from Speech {strip.name}")


class SpeechPoser:
    """Asks for poses that go with the chosen sound.

    Args:
        baker: writes them.
        cutter: cuts sounds.
    """

    def __init__(self, baker: Baker, cutter: ThreadPoolExecutor) -> None:
        self._baker, self._cutter = baker, cutter

    def start(self, reading: SceneReading, movement: Movement) -> str:
        """Have the pose told and keyed; its uid, in the baker until it is done. Raises AddonError."""
        scene, sounds, uid = reading.scene, reading.require_sounds(), uuid.uuid4().hex
        mix = audio.read_mix(scene, sounds, reading.settings.audio_track)
        target = sequencer.reference(target_of(reading))
        folder = scratch.make_folder()
        asked = SpeechPoseRequest(
            uid, folder / "speech.wav", mix.fps, mix.frames, reading.offer.weights_id, movement.seed
        )
        cut = self._cutter.submit(audio.write_mix, mix, asked.file)
        pose = SpeechPose(scene.session_uid, target, mix.first, movement)
        self._baker.ask(uid, pose, lambda session: session.pose_from_speech(asked), cut, folder)
        return uid


def target_of(reading: SceneReading) -> bpy.types.Strip:
    """The strip that is posed: the selected dub, else the topmost dub over the sound, else the sound itself."""
    (sound, *_), scene = reading.require_sounds(), reading.scene
    return reading.sources.dub or pose_keys.dub_over(scene, sound) or sound
