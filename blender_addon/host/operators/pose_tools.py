# mypy: disable-error-code="valid-type"
"""Operators that change the pose keyframes of the active dub strip on a range of frames.

They work on the first pose, in the preview range where one is set, else on the
whole strip. No postponed annotations here: Blender reads them as values.
"""

import bpy

from ...core import pose_curves
from ...core.errors import AddonError
from ...core.pose_curves import Track
from ..bl import sequencer
from ..sources import pose_keys
from ..tasks import runtime
from .base import FINISHED, active_strip
from .pose import PoseOperator

CENTRES = (
    ("mean", "Mean", "About the strip's mean pose: changes the movement only"),
    ("frontal", "Frontal", "About the frontal pose: changes the attitude too"),
)
LOOPS = (
    ("loop", "Loop", "Jump back to the beginning"),
    ("ping_pong", "Ping-Pong", "Every second time backwards"),
)
FRAME = {"description": "Timeline frame; the preview range's, else the strip's, when not set", "options": {"SKIP_SAVE"}}


def _amount(default: float, description: str, **limits: float) -> object:
    return bpy.props.FloatProperty(name="Amount", default=default, description=description, **limits)


def _frames(name: str, default: int, least: int, description: str) -> object:
    return bpy.props.IntProperty(name=name, default=default, min=least, description=description)


class PoseTool(PoseOperator):
    """A change of the first pose's keyframes on a range; all other frames keep their pose."""

    bl_options = {"REGISTER", "UNDO", "PRESET"}
    names: tuple[str, ...] = (pose_keys.FIRST,)
    """Properties that the tool changes."""
    properties: bpy.types.OperatorProperties

    first: bpy.props.IntProperty(name="First Frame", **FRAME)
    last: bpy.props.IntProperty(name="Last Frame", **FRAME)
    ease: _frames("Ease", 0, 0, "Frames over which the change comes in and goes out at the ends of the range")

    @classmethod
    def problem(cls, scene: bpy.types.Scene) -> str:
        """Why it cannot run, as one sentence; "" when it can."""
        return super().problem(scene) or _problem(scene, pose_keys.active(scene))

    def run(self, context: bpy.types.Context) -> set[str]:
        """Read the strip's pose, change the range, key it."""
        scene, strip = active_strip(context)
        self._fill_range(scene, strip)
        first, end = max(self.first, sequencer.left(strip)), min(self.last + 1, sequencer.right(strip))
        if first >= end:
            raise AddonError(f"The frames {self.first} to {self.last} are outside the strip.", "Choose others.")
        for name in self.names:
            self._change(scene, strip, name, first, end)
        return FINISHED

    def _change(self, scene: bpy.types.Scene, strip: bpy.types.Strip, name: str, first: int, end: int) -> None:
        origin = sequencer.left(strip)
        track = pose_keys.values(scene, strip, name, origin, sequencer.right(strip))
        if name in pose_keys.HANDLES and not any(map(any, track)):
            return
        begin, stop = first - origin, end - origin
        changed = self.change(strip, track, begin, stop)
        if self.ease:
            changed = pose_curves.ease(changed, track, begin, stop, self.ease)
        pose_keys.change(scene, strip, name, first, changed[begin:stop])

    def _fill_range(self, scene: bpy.types.Scene, strip: bpy.types.Strip) -> None:
        if not (self.properties.is_property_set("first") or self.properties.is_property_set("last")):
            self.first, end = pose_keys.working_range(scene, strip)
            self.last = end - 1

    def change(self, strip: bpy.types.Strip, track: Track, first: int, end: int) -> Track:
        """The track of one property over the strip, with its rows first <= k < end changed."""
        raise NotImplementedError


def _problem(scene: bpy.types.Scene, strip: bpy.types.Strip) -> str:
    if not pose_keys.is_keyed(scene, strip, [pose_keys.FIRST]):
        return f'"{strip.name}" has no pose keyframes; bake its pose first.'
    first, end = pose_keys.working_range(scene, strip)
    return "" if first < end else "The preview range lies outside the strip; move or clear it."


class POSEDUB_OT_pose_smooth(PoseTool, bpy.types.Operator):
    """Take the jitter out of the head movement"""

    bl_idname = "posedub.pose_smooth"
    bl_label = "Smooth"

    sigma: bpy.props.FloatProperty(
        name="Width", default=2.0, min=0.1, soft_max=50.0, description="Standard deviation of the Gaussian, frames"
    )

    def change(self, strip: bpy.types.Strip, track: Track, first: int, end: int) -> Track:
        """Convolve with a Gaussian."""
        return pose_curves.smooth(track, first, end, self.sigma)


class POSEDUB_OT_pose_scale(PoseTool, bpy.types.Operator):
    """Make the head move more or less"""

    bl_idname = "posedub.pose_scale"
    bl_label = "Scale Amount"

    amount: _amount(0.5, "Factor: 0 stands still, 1 changes nothing", soft_min=0.0, soft_max=2.0)
    centre: bpy.props.EnumProperty(name="About", items=CENTRES, description="The pose that stays")

    def change(self, strip: bpy.types.Strip, track: Track, first: int, end: int) -> Track:
        """Scale about the mean or about frontal."""
        centre = pose_curves.mean(track) if self.centre == "mean" else pose_curves.FRONTAL
        return pose_curves.scale(track, first, end, self.amount, centre)


class POSEDUB_OT_pose_hold(PoseTool, bpy.types.Operator):
    """Keep the pose of the first frame"""

    bl_idname = "posedub.pose_hold"
    bl_label = "Hold"

    def change(self, strip: bpy.types.Strip, track: Track, first: int, end: int) -> Track:
        """Repeat the first frame."""
        return pose_curves.hold(track, first, end)


class POSEDUB_OT_pose_frontalise(PoseTool, bpy.types.Operator):
    """Turn the head to the front"""

    bl_idname = "posedub.pose_frontalise"
    bl_label = "Frontalise"

    amount: _amount(1.0, "How far: 0 changes nothing, 1 looks straight ahead", min=0.0, max=1.0)

    def change(self, strip: bpy.types.Strip, track: Track, first: int, end: int) -> Track:
        """Towards the frontal pose."""
        return pose_curves.frontalise(track, first, end, self.amount)


class POSEDUB_OT_pose_mirror(PoseTool, bpy.types.Operator):
    """Turn and tilt the head the other way"""

    bl_idname = "posedub.pose_mirror"
    bl_label = "Mirror"
    names = (pose_keys.FIRST, "posedub_yaw", "posedub_roll")

    @classmethod
    def problem(cls, scene: bpy.types.Scene) -> str:
        """The weights must tell head angles."""
        return super().problem(scene) or runtime.current().link.pose_map_problem(scene)

    def change(self, strip: bpy.types.Strip, track: Track, first: int, end: int) -> Track:
        """Negate yaw and roll, in the code and of the handles."""
        if len(track[0]) == 1:
            return pose_curves.scale(track, first, end, -1.0, (0.0,))
        return pose_curves.mirror(track, first, end, runtime.current().link.require_pose_map(strip.id_data))


class POSEDUB_OT_pose_offset(PoseTool, bpy.types.Operator):
    """Move the head movement in time"""

    bl_idname = "posedub.pose_offset"
    bl_label = "Offset in Time"

    frames: bpy.props.FloatProperty(name="Frames", default=1.0, description="Later; earlier when negative")

    def change(self, strip: bpy.types.Strip, track: Track, first: int, end: int) -> Track:
        """Read the pose at other times."""
        return pose_curves.offset(track, first, end, self.frames)


class POSEDUB_OT_pose_loop(PoseTool, bpy.types.Operator):
    """Repeat the first frames of the range until its end"""

    bl_idname = "posedub.pose_loop"
    bl_label = "Loop"

    length: _frames("Length", 25, 1, "Frames that are repeated")
    kind: bpy.props.EnumProperty(name="Kind", items=LOOPS, description="How it goes on at the end of the repeated part")

    def change(self, strip: bpy.types.Strip, track: Track, first: int, end: int) -> Track:
        """Loop or ping-pong."""
        return pose_curves.loop(track, first, end, self.length, back_and_forth=self.kind == "ping_pong")


class POSEDUB_OT_pose_ease(PoseTool, bpy.types.Operator):
    """Go back to the baked pose at both ends of the range, or all over it"""

    bl_idname = "posedub.pose_ease"
    bl_label = "Ease to Source"

    frames: _frames("Frames", 12, 0, "Frames on the way from the baked pose, and back to it")
    restore: bpy.props.BoolProperty(name="Restore", description="Take the baked pose on the whole range")

    @classmethod
    def problem(cls, scene: bpy.types.Scene) -> str:
        """A baked pose is needed."""
        strip = pose_keys.active(scene)
        if strip is not None and pose_keys.SOURCE not in strip:
            return f'No pose was baked into "{strip.name}"; bake it first.'
        return super().problem(scene)

    def change(self, strip: bpy.types.Strip, track: Track, first: int, end: int) -> Track:
        """Blend with the baked pose."""
        origin = sequencer.left(strip)
        source = pose_keys.source_track(strip, origin, origin + len(track))
        if self.restore:
            return pose_curves.replaced(track, first, end, source[first:end])
        return pose_curves.ease(track, source, first, end, self.frames)


CLASSES = (
    POSEDUB_OT_pose_smooth,
    POSEDUB_OT_pose_scale,
    POSEDUB_OT_pose_hold,
    POSEDUB_OT_pose_frontalise,
    POSEDUB_OT_pose_mirror,
    POSEDUB_OT_pose_offset,
    POSEDUB_OT_pose_loop,
    POSEDUB_OT_pose_ease,
)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
