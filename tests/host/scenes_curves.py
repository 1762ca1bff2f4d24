"""What the tests of F-Curves have Blender do; beside `scenes`, in the same process."""

import bpy
from scenes import host, scene, strip


def shaped_curve(name, keys, extrapolation, modifier=""):
    """Key the yaw with (frame, value, interpolation, handle type); the values read in bulk, and Blender's own."""
    fcurves, path = host("bl.fcurves"), strip(name).path_from_id("posedub_yaw")
    fcurves.remove(scene(), path)
    curve = fcurves.ensure(scene(), path, 0, "test")
    for frame, value, interpolation, handles in keys:
        point = curve.keyframe_points.insert(frame, value)
        point.interpolation, point.handle_left_type, point.handle_right_type = interpolation, handles, handles
    if modifier:
        curve.modifiers.new(modifier)
    curve.extrapolation = extrapolation
    curve.update()
    frames = range(int(keys[0][0]) - 20, int(keys[-1][0]) + 20)
    return fcurves.evaluate(curve, frames), [curve.evaluate(frame) for frame in frames]


def interpolations():
    return [item.identifier for item in bpy.types.Keyframe.bl_rna.properties["interpolation"].enum_items]
