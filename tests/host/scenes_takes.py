"""What the tests of takes, estimates and previews have Blender do; beside `scenes`, in the same process."""

import bpy
from scenes import finish, panel, runtime, strip, written_by


def takes():
    """The list of takes, newest first, after the panel asked for it."""
    panel("POSEDUB_PT_takes")
    finish()
    manager = bpy.context.window_manager
    return [{key: getattr(row, key) for key in ("name", "folder", "text", "settings")} for row in manager.posedub_takes]


def estimate():
    """What the panel says on the next dub, when it is known."""
    panel("POSEDUB_PT_dub")
    finish()
    return list(runtime().previews.text())


def preview():
    """The previewed picture: name, size and file."""
    image = bpy.data.images.get("PoseDub Preview")
    return image and {"size": list(image.size), "file": bpy.path.abspath(image.filepath)}


def crop(name):
    return strip(name).crop.min_x


def pose_choices():
    """What the menu offers as pose now."""
    return written_by(bpy.types.POSEDUB_MT_pose.draw)


def offered():
    """The weights that the server offers."""
    info = runtime().link.info
    return [{"weights_id": one.weights_id, "engine": one.engine, "title": info.title(one)} for one in info.weights]


def weights_choices():
    """What the menu offers as engine now."""
    titles = [one["title"] for one in offered()]
    assert written_by(bpy.types.POSEDUB_MT_weights.draw) == len(titles) * ["[posedub.choose_weights]"]
    return titles
