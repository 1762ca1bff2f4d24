"""The demo's Blender half: install the add-on, lay out an edit, dub, render it.

Runs as a process of its own: `python edit.py JOB.json`. Progress goes to
standard output as lines of JSON; Blender's own talk goes to standard error.
"""

import importlib
import json
import os
import sys
import traceback
from pathlib import Path

progress = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import bpy  # noqa: E402

ADDON = "bl_ext.user_default.posedub"
PORTRAIT, SOUND, POSE = "Portrait", "Speech", "Pose"
CAPTIONS = {"portrait": "portrait", "pose": "pose source"}
WIDTH, HEIGHT = 1280, 720
SIDE = 400  # pixels of each of the three pictures


def say(**values: object) -> None:
    """Tell the parent process how far the demo is."""
    print(json.dumps(values), file=progress, flush=True)


def host(name: str):
    """A module of the installed add-on."""
    return importlib.import_module(f"{ADDON}.host.{name}")


def install(zip_file: str) -> None:
    """Install and enable the zip as Blender's extension manager does."""
    import addon_utils  # only there once bpy is

    addon_utils.enable("bl_pkg")
    bpy.ops.extensions.package_install_files(
        filepath=zip_file, repo="user_default", enable_on_install=True, overwrite=True
    )


def use_server(address: str) -> None:
    """Point the add-on at the demo's server."""
    preferences = bpy.context.preferences.addons[ADDON].preferences
    preferences.mode, preferences.address = "address", address
    preferences.executable = str(Path(sys.executable).with_name("posedub"))  # it marks the render


def lay_out(job: dict) -> bpy.types.Scene:
    """An edit at 24 fps: portrait on the left, pose source on the right, where there are such; the speech beneath."""
    bpy.ops.wm.read_homefile(use_empty=True)
    scene = bpy.context.scene
    scene.render.fps, scene.render.fps_base = 24, 1.0
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, HEIGHT
    scene.view_settings.view_transform = "Standard"
    strips = scene.sequence_editor_create().strips
    sound = strips.new_sound(SOUND, job["audio"], 1, 1)
    scene.frame_start, scene.frame_end = 1, sound.frame_final_end - 1
    for name, role, channel, centre in ((PORTRAIT, "portrait", 2, -SIDE), (POSE, "pose", 3, SIDE)):
        if role not in job:
            continue
        add = strips.new_movie if job[f"{role}_kind"] == "video" else strips.new_image
        strip = add(name, job[role], channel, 1, fit_method="FIT")
        strip.frame_final_end = sound.frame_final_end
        place(strip, centre)
        caption(strips, CAPTIONS[role], centre, channel + 3, scene.frame_end)
    return scene


def place(strip: bpy.types.Strip, centre: int) -> None:
    """Show a picture SIDE pixels high, `centre` pixels right of the middle, cut to a square."""
    element = strip.elements[0]
    width, height = element.orig_width or 224, element.orig_height or 224
    side = min(width, height)
    strip.crop.min_x = strip.crop.max_x = (width - side) // 2
    strip.crop.min_y = strip.crop.max_y = (height - side) // 2
    strip.transform.scale_x = strip.transform.scale_y = SIDE / side
    strip.transform.offset_x = centre


def caption(strips, text: str, centre: int, channel: int, last: int) -> None:
    """Words below a picture."""
    length = {"length": last} if bpy.app.version >= (5, 0) else {"frame_end": last + 1}
    strip = strips.new_effect(name=text, type="TEXT", channel=channel, frame_start=1, **length)
    strip.text, strip.font_size, strip.use_shadow = text, 30, False
    strip.location = (0.5 + centre / WIDTH, 0.14)
    strip.blend_type = "ALPHA_OVER"


def choose(scene: bpy.types.Scene, engine: str) -> None:
    """Ask the server what it offers, and take the weights of an engine."""
    bpy.ops.posedub.server_check()
    link = host("tasks.runtime").current().link
    host("tasks.main_loop").run_until(lambda: not link.changing)
    offered = [one.weights_id for one in link.info.weights if one.engine == engine] if link.info else []
    if not offered:
        raise SystemExit(f"The server offers no weights of {engine} ({link.problem or 'none are built in'}).")
    scene.posedub.weights = offered[0]


def dub(scene: bpy.types.Scene, job: dict):
    """Set the sources, press Dub, and pump until its strip lies on the timeline; the strip and its job's record."""
    context = {"scene": scene}
    if bpy.app.version >= (5, 0):
        context["sequencer_scene"] = scene
    with bpy.context.temp_override(**context):
        for role, name in (("portrait", PORTRAIT), ("audio", SOUND), ("pose", POSE)):
            if role not in job:
                continue
            for strip in scene.sequence_editor.strips_all:
                strip.select = strip.name == name
            bpy.ops.posedub.assign_source(role=role)
        bpy.ops.posedub.dub()
    state = host("tasks.runtime").current()
    record = list(state.book)[-1]

    def ended() -> bool:
        share, text = state.progress(record)
        say(phase=record.phase, text=text, share=share)
        return not state.active(record.plan.uid)

    host("tasks.main_loop").run_until(ended)
    if record.error:
        raise SystemExit(record.error)
    return next(strip for strip in scene.sequence_editor.strips_all if strip.name.startswith("Dub ")), record


def render(scene: bpy.types.Scene, movie: str) -> None:
    """The finished edit as H.264 and AAC."""
    settings = scene.render
    if hasattr(settings.image_settings, "media_type"):
        settings.image_settings.media_type = "VIDEO"
    settings.image_settings.file_format = "FFMPEG"
    settings.ffmpeg.format, settings.ffmpeg.codec, settings.ffmpeg.audio_codec = "MPEG4", "H264", "AAC"
    settings.ffmpeg.constant_rate_factor = "HIGH"
    settings.ffmpeg.audio_mixrate = 48000
    settings.filepath, settings.use_file_extension = movie, False
    bpy.ops.render.render(animation=True)


def main(job: dict) -> None:
    """The whole demo."""
    install(job["zip"])
    use_server(job["server"])
    scene = lay_out(job)
    bpy.ops.wm.save_as_mainfile(filepath=job["blend"])  # frames then go beside the file
    choose(scene, job["engine"])
    strip, record = dub(scene, job)
    place(strip, 0)
    words = "dub (untrained weights)" if record.weights_kind == "untrained" else "dub"
    caption(scene.sequence_editor.strips, words, 0, 7, scene.frame_end)
    say(phase="render", text="rendering the edit", share=0.0)
    bpy.ops.wm.save_mainfile()
    render(scene, job["movie"])
    files = [str(Path(bpy.path.abspath(strip.directory)) / element.filename) for element in strip.elements]
    say(done=True, name=strip.name, frames=files, weights={"name": record.weights_name, "kind": record.weights_kind})


if __name__ == "__main__":
    try:
        main(json.loads(Path(sys.argv[1]).read_text()))
    except (SystemExit, RuntimeError) as problem:
        say(error=str(problem).strip().removeprefix("Error: "))
        traceback.print_exc()
        os._exit(1)
    os._exit(0)  # Blender's teardown as a module is not part of the demo
