"""A scene to try PoseDub with: a portrait, a speech and a pose source that come with the add-on."""

from __future__ import annotations

import shutil
from pathlib import Path

import bpy

from ...core.errors import AddonError
from .. import preferences
from ..bl import sequencer

MEDIA = Path(__file__).parents[2] / "example"
NAME = "PoseDub Example"
FPS = 25
SIDE = 512
# (kind, file, channel) of its strips; the dub goes above.
STRIPS = (("image", "portrait.png", 1), ("movie", "pose.mp4", 2), ("sound", "speech.flac", 3))


def problem() -> str:
    """Why there is no example, a sentence; "" when there is one."""
    return "" if MEDIA.is_dir() else "This copy of the add-on carries no example: install its zip."


def make() -> bpy.types.Scene:
    """A new scene with the example's strips, all selected, in the window; raises AddonError."""
    folder = _kept()
    scene = bpy.data.scenes.new(NAME)
    scene.render.fps, scene.render.fps_base = FPS, 1.0
    scene.render.resolution_x = scene.render.resolution_y = SIDE
    scene.view_settings.view_transform = "Standard"
    strips = scene.sequence_editor_create().strips
    for kind, name, channel in STRIPS:
        options = {} if kind == "sound" else {"fit_method": "FIT"}
        made = getattr(strips, f"new_{kind}")(Path(name).stem, str(folder / name), channel, 1, **options)
        made.select = True
    speech = strips["speech"]
    scene.sequence_editor.active_strip = speech
    scene.frame_end = sequencer.right(speech) - 1
    sequencer.set_right(strips["portrait"], sequencer.right(speech))
    sequencer.show(scene)
    return scene


def _kept() -> Path:
    """The media where an update of the add-on leaves them alone: the scene may be saved."""
    folder = preferences.user_folder("example")
    try:
        for file in MEDIA.iterdir():
            if not (folder / file.name).exists():
                shutil.copyfile(file, folder / file.name)
    except OSError as error:
        raise AddonError(f"The example cannot be copied to {folder}: {error.strerror}.", "Free some space.") from error
    return folder
