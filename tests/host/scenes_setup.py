"""What the tests of the server's setting up have Blender do; as `scenes`."""

import importlib

import bpy

ADDON = "bl_ext.user_default.posedub"


def host(name):
    return importlib.import_module(f"{ADDON}.host.{name}")


def setup_error():
    return host("setup_view").shown.error


def look_anew():
    """Believe nothing that was seen on the disk before."""
    host("tasks.runtime").current().setup.outdated()


def go_online(allowed):
    bpy.context.preferences.system.use_online_access = allowed


def example():
    """The example's scene, as the editor sees it."""
    scene = bpy.data.scenes["PoseDub Example"]
    strips = {one.name: one.type for one in scene.sequence_editor.strips if not one.get("posedub_job")}
    dubs = [one.name for one in scene.sequence_editor.strips if one.get("posedub_job")]
    edited = host("bl.sequencer").edit_scene(bpy.context)
    return {"strips": strips, "dubs": dubs, "end": scene.frame_end, "fps": scene.render.fps, "edited": edited.name}
