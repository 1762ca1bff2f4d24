"""What the tests of sound strips have Blender do; runs in the worker process, arguments and results are JSON."""

from pathlib import Path

import bpy
from scenes import describe, scene


def add_movie_with_sound(file, start):
    """Add a movie and its sound as the user interface does; the two strips."""
    window = bpy.context.window_manager.windows[0]
    area = window.screen.areas[0]
    area.type = "SEQUENCE_EDITOR"
    context = {"scene": scene(), "window": window, "area": area, "region": area.regions[-1]}
    options = {}
    if bpy.app.version >= (5, 0):
        context["sequencer_scene"], options["move_strips"] = scene(), False
    with bpy.context.temp_override(**context):
        bpy.ops.sequencer.movie_strip_add(
            filepath=file,
            directory=f"{Path(file).parent}/",
            files=[{"name": Path(file).name}],
            frame_start=start,
            channel=1,
            sound=True,
            adjust_playback_rate=True,
            use_framerate=False,
            **options,
        )
    bpy.ops.ed.undo_push(message="add movie")
    added = scene().sequence_editor.strips_all
    return {one.type: describe(one) for one in added}
