# mypy: disable-error-code="valid-type"
"""Operators on the pose keyframes of the active dub strip: bake, handles, clear.

No postponed annotations here: Blender reads them as values.
"""

import bpy

from ...core.errors import AddonError
from ...core.manifest import read_manifest
from ...core.plan import DubPlan, PoseSource
from ..bl import sequencer
from ..sources import media, pose_keys
from ..strips.placement import dub_start
from ..tasks import baking, main_loop, runtime
from .base import FINISHED, WAIT, SentenceOperator, StripOperator, active_strip

SOURCES = (
    ("dub", "The Dub's Own", "The pose that the dub was made with"),
    ("strip", "Pose Strip", "The movie or image strip chosen as pose"),
)
POSES = (
    (pose_keys.FIRST, "First", "The pose that is edited"),
    (pose_keys.SECOND, "Second", "The pose that the first one is blended with"),
)
CLEARED = {
    "handles": pose_keys.HANDLES,
    "second": (pose_keys.SECOND, pose_keys.BLEND),
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
        baked = strip is not None and baker().phase(strip)
        return "A pose is being baked into the strip; wait, or cancel it." if baked else super().problem(scene)


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
        uid = baker().start(bake, pose)
        if self.wait:
            main_loop.run_until(lambda: uid not in baker())
            if baker().problem:
                raise AddonError(baker().problem)
        return FINISHED


def plan_of(scene: bpy.types.Scene, strip: bpy.types.Strip) -> DubPlan:
    """How the dub of a strip was made, from the list of dubs or from beside its frames; raises AddonError."""
    record = runtime.current().book.get(strip.get(sequencer.UID, ""))
    return record.plan if record else read_manifest(sequencer.absolute(strip.directory, scene)).plan


def _chosen_pose(scene: bpy.types.Scene, strip: bpy.types.Strip, plan: DubPlan) -> PoseSource:
    reading, start = runtime.current().link.read(scene), dub_start(strip, plan)
    source = reading.source("pose").require()
    return media.pose(scene, source, start, start + plan.frame_count, reading.settings.pose_crop)


class POSEDUB_OT_bake_cancel(SentenceOperator, bpy.types.Operator):
    """Stop reading the pose; the keyframes stay as they are"""

    bl_idname = "posedub.bake_cancel"
    bl_label = "Cancel Bake"

    def run(self, context: bpy.types.Context) -> set[str]:
        """Give it up."""
        baker().cancel(active_strip(context)[1])
        return FINISHED


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
            ("all", "All", "All pose keyframes of the strip"),
        ),
        description="Which keys are removed",
    )

    def run(self, context: bpy.types.Context) -> set[str]:
        """Remove them, and set the values back."""
        pose_keys.clear(*active_strip(context), CLEARED[self.what])
        return FINISHED


CLASSES = (POSEDUB_OT_bake_pose, POSEDUB_OT_bake_cancel, POSEDUB_OT_key_handles, POSEDUB_OT_clear_pose)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
