# mypy: disable-error-code="valid-type"
"""Operators on the pose keyframes of the active dub strip: bake, handles, clear.

No postponed annotations here: Blender reads them as values.
"""

import bpy

from ...core.errors import AddonError
from ...core.manifest import read_manifest
from ...core.plan import DubPlan, PoseSource
from ..bl import sequencer
from ..sources import footage, media, pose_keys
from ..strips.placement import dub_start
from ..tasks import baking, main_loop, runtime, speech_pose
from .base import FINISHED, WAIT, SentenceOperator, StripOperator, active_strip

SOURCES = (
    ("dub", "The Dub's Own", "The pose that the dub was made with"),
    ("strip", "Pose Strip", "The movie or image strip chosen as pose"),
)
POSES = (
    (pose_keys.FIRST, "First", "The pose that is edited"),
    (pose_keys.SECOND, "Second", "The pose that the first one is blended with"),
)
BAKED = "A pose is being baked into the strip; wait, or cancel it."
CLEARED = {
    "handles": pose_keys.HANDLES,
    "second": (pose_keys.SECOND, pose_keys.BLEND),
    "blink": (footage.BLINK,),
    "all": tuple(pose_keys.SIZES),
}


def baker() -> baking.Baker:
    """The bakes of the open file."""
    return runtime.current().baker


class PoseOperator(StripOperator):
    """An operator on the keyframes of the active dub strip."""

    @classmethod
    def problem(cls, scene: bpy.types.Scene) -> str:
        """No pose may be on its way into the strip."""
        strip = pose_keys.active(scene)
        return BAKED if strip is not None and baker().phase(strip) else super().problem(scene)


class POSEDUB_OT_bake_pose(PoseOperator, bpy.types.Operator):
    """Turn the pose of this dub into keyframes"""

    bl_idname = "posedub.bake_pose"
    bl_label = "Bake Pose"
    bl_options = {"REGISTER", "PRESET"}

    source: bpy.props.EnumProperty(name="From", items=SOURCES, description="Which pose is baked")
    target: bpy.props.EnumProperty(name="Into", items=POSES, description="Which keyframes are replaced")
    tolerance: bpy.props.FloatProperty(
        name="Tolerance",
        default=0.0,
        min=0.0,
        soft_max=0.1,
        precision=3,
        description="Leave out keys that straight lines miss by no more than this; 0 keeps one for each frame",
    )
    wait: bpy.props.BoolProperty(**WAIT)

    def run(self, context: bpy.types.Context) -> set[str]:
        """Ask for the pose; the keys appear when the server has read it."""
        scene, strip = active_strip(context)
        if sequencer.is_retimed(strip):
            raise AddonError(f'The strip "{strip.name}" is retimed.', "Reset its retiming, then bake.")
        plan = plan_of(scene, strip)
        pose = plan.pose if self.source == "dub" else _chosen_pose(scene, strip, plan)
        bake = baking.Bake(scene.session_uid, sequencer.tagged(strip), self.target, plan, self.tolerance)
        return _made(baker().start(bake, pose), self.wait)


def plan_of(scene: bpy.types.Scene, strip: bpy.types.Strip) -> DubPlan:
    """How the dub of a strip was made, from the list of dubs or from beside its frames; raises AddonError."""
    record = runtime.current().book.get(strip.get(sequencer.UID, ""))
    return record.plan if record else read_manifest(sequencer.absolute(strip.directory, scene)).plan


def _chosen_pose(scene: bpy.types.Scene, strip: bpy.types.Strip, plan: DubPlan) -> PoseSource:
    reading, start = runtime.current().link.read(scene), dub_start(strip, plan)
    source = reading.source("pose").require()
    return media.pose(scene, source, start, start + plan.frame_count, reading.settings.pose_crop)


class POSEDUB_OT_pose_from_speech(SentenceOperator, bpy.types.Operator):
    """Key the yaw, pitch and roll that a head may have while it says what the chosen sound says"""

    bl_idname = "posedub.pose_from_speech"
    bl_label = "Pose from Speech"
    bl_options = {"REGISTER", "PRESET"}

    seed: bpy.props.IntProperty(
        name="Seed", min=0, description="Of movement that the speech does not tell: each moves otherwise; 0 for none"
    )
    amount: bpy.props.FloatProperty(
        name="Amount", default=1.0, min=0.0, soft_max=2.0, description="How much the head moves about its mean"
    )
    smoothing: bpy.props.FloatProperty(
        name="Smoothing", min=0.0, soft_max=25.0, description="Standard deviation of the Gaussian, frames; 0 for none"
    )
    tolerance: bpy.props.FloatProperty(
        name="Tolerance",
        default=0.1,
        min=0.0,
        soft_max=2.0,
        description="Leave out keys that straight lines miss by no more degrees; 0 keeps one for each frame",
    )
    wait: bpy.props.BoolProperty(**WAIT)

    @classmethod
    def problem(cls, scene: bpy.types.Scene) -> str:
        """A sound is needed, and no pose may be on its way into the strip."""
        reading = runtime.current().link.read(scene)
        if problem := reading.source("audio").problem:
            return problem
        return BAKED if baker().phase(speech_pose.target_of(reading)) else ""

    def run(self, context: bpy.types.Context) -> set[str]:
        """Ask for the pose; the keys appear when the server has told it."""
        state = runtime.current()
        movement = speech_pose.Movement(self.seed, self.amount, self.smoothing, self.tolerance)
        uid = state.speech_poser.start(state.link.read(sequencer.edit_scene(context)), movement)
        return _made(uid, self.wait)


def _made(uid: str, wait: bool) -> set[str]:
    """Return at once, or block until a pose is keyed; raises AddonError when it failed."""
    if wait:
        main_loop.run_until(lambda: uid not in baker())
        if baker().problem:
            raise AddonError(baker().problem)
    return FINISHED


class POSEDUB_OT_bake_cancel(SentenceOperator, bpy.types.Operator):
    """Stop reading the pose; the keyframes stay as they are"""

    bl_idname = "posedub.bake_cancel"
    bl_label = "Cancel Bake"

    def run(self, context: bpy.types.Context) -> set[str]:
        """Give it up."""
        baker().cancel(posed_strip(sequencer.edit_scene(context)))
        return FINISHED


def posed_strip(scene: bpy.types.Scene) -> bpy.types.Strip:
    """The active dub strip, else what a pose from speech goes into; raises AddonError when there is neither."""
    return pose_keys.active(scene) or speech_pose.target_of(runtime.current().link.read(scene))


class POSEDUB_OT_key_handles(PoseOperator, bpy.types.Operator):
    """Key yaw, pitch and roll at the playhead"""

    bl_idname = "posedub.key_handles"
    bl_label = "Key Handles"
    bl_options = {"REGISTER", "UNDO"}

    def run(self, context: bpy.types.Context) -> set[str]:
        """One key for each."""
        scene, strip = active_strip(context)
        engine = runtime.current().link.offer(scene).engine
        handles = [(name, -1) for name in pose_keys.HANDLES]
        controls = [(pose_keys.FIRST, index) for index in range(len(engine.pose_controls))]
        for name, index in handles if engine.implicit or engine.in_angles else controls:
            strip.keyframe_insert(name, index=index, frame=scene.frame_current, group=pose_keys.GROUP)
        return FINISHED


class POSEDUB_OT_clear_pose(PoseOperator, bpy.types.Operator):
    """Remove pose keyframes of this strip"""

    bl_idname = "posedub.clear_pose"
    bl_label = "Clear Pose Keys"
    bl_options = {"REGISTER", "UNDO"}

    what: bpy.props.EnumProperty(
        name="Keys",
        items=(
            ("handles", "Handles", "Yaw, pitch and roll"),
            ("second", "Second Pose", "The second pose and the blend factor"),
            ("blink", "Blink", "How far the eyes are closed"),
            ("all", "All", "All pose keyframes of the strip"),
        ),
        description="Which keys are removed",
    )

    def run(self, context: bpy.types.Context) -> set[str]:
        """Remove them, and set the values back."""
        pose_keys.clear(*active_strip(context), CLEARED[self.what])
        return FINISHED


CLASSES = (
    POSEDUB_OT_bake_pose,
    POSEDUB_OT_pose_from_speech,
    POSEDUB_OT_bake_cancel,
    POSEDUB_OT_key_handles,
    POSEDUB_OT_clear_pose,
)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
