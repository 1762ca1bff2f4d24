"""The main job, as an editor does it. Blender runs this file: `--python scenario.py -- JOB.json`.

Set up by script: the file, its three strips, the server's address, the editors
on screen. Done by mouse and keyboard: all the rest.
"""

import os
import sys
import time
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).parent))

from hands import Stuck, area, point, region, until  # noqa: E402
from script import Script, host, perform, preferences, scene  # noqa: E402

SOUND, PORTRAIT, POSE, LONG = "Speech", "Portrait", "Pose", "Long Speech"
RANGE = (101, 110)
"""Frames that are made anew."""
FRAMES = (48, 60, 72)
"""Frames that are keyed: 0, the peak, 0."""
PEAKS = {"posedub_yaw": ("20", "-6"), "posedub_blend": ("1", "-0.4")}
"""The keyed field's peak, and by how much its key is moved in the Graph Editor."""


class Run(Script):
    """The steps, and what they find out."""

    def __init__(self):
        super().__init__()
        self.result["versions"] = {}
        self.field, self.told = "posedub_yaw", False

    def all_steps(self):
        """All steps in order."""
        return (
            self.lay_out, self.select_sources, self.idle, self.dub_and_cancel, self.undo, self.dub, self.bake,
            self.key_field,
            self.edit_key, self.look_around, self.dub_keyframes, self.redub_range, self.render, self.verify,
            self.dub_actor,
        )  # fmt: skip

    def lay_out(self):
        """Open a video project with a portrait, a pose clip, a sentence and a speech."""
        yield from self.new_file()
        preferences().mode, preferences().address = "address", self.job["server"]
        preferences().token, preferences().executable = self.job["token"], self.job["command"]
        editor = scene().sequence_editor_create()
        sound = editor.strips.new_sound(SOUND, self.job["audio"], 1, 1)
        end = host("bl.sequencer").right(sound)
        for name, add, channel in ((POSE, editor.strips.new_movie, 2), (PORTRAIT, editor.strips.new_image, 3)):
            strip = add(name, self.job[name.lower()], channel, 1, fit_method="FIT")
            set_right(strip, end)
        editor.strips.new_sound(LONG, self.job["long"], 4, 1)
        for strip in editor.strips_all:
            strip.select = False
        scene().frame_end = end - 1
        bpy.ops.wm.save_as_mainfile(filepath=self.job["blend"])
        self.heart.time_pump(host("tasks.main_loop"))
        self.arrange()
        yield from self.sidebar.open()
        yield from self.view(area("SEQUENCE_EDITOR"))

    def arrange(self):
        """Give the sequencer the lower three fifths of the screen, and open a Graph Editor beside the preview."""
        one = area("SEQUENCE_EDITOR")
        top, window = one.y + one.height, self.hands.window
        bpy.ops.screen.area_move(x=one.x + one.width // 2, y=top, delta=window.height * 3 // 5 - top)
        graph = area("FILE_BROWSER")
        edge = graph.x + graph.width
        bpy.ops.screen.area_move(x=edge, y=graph.y + graph.height // 2, delta=window.width * 2 // 5 - edge)
        graph.ui_type = "FCURVES"
        graph.spaces.active.show_region_ui = False

    def click_strip(self, name, **modifiers):
        """Click a strip in the timeline, a third into it."""
        strip = scene().sequence_editor.strips_all[name]
        first, end = host("bl.sequencer").left(strip), host("bl.sequencer").right(strip)
        place = point(area("SEQUENCE_EDITOR"), first + (end - first) / 3, strip.channel + 0.5)
        yield from self.hands.click(*place, **modifiers)
        yield from until(lambda: scene().sequence_editor.strips_all[name].select, f"A click did not select {name}", 10)

    def select_sources(self):
        """Select three strips."""
        yield from self.picture("nothing-selected")
        yield from self.select(LONG, PORTRAIT, POSE)
        yield from self.picture("sources")

    def select(self, first, *others):
        """Click strips."""
        yield from self.click_strip(first)
        for name in others:
            yield from self.click_strip(name, shift=True)

    def idle(self):
        """Measure the user interface with no job."""
        yield from self.sidebar.find("posedub.dub")
        self.heart.enter("idle")
        began = time.monotonic()
        while time.monotonic() - began < 5:
            area("SEQUENCE_EDITOR").tag_redraw()
            yield

    def start(self):
        """Press Dub; the new job's record."""
        book = host("tasks.runtime").current().book
        before = len(list(book))
        yield from self.sidebar.press("posedub.dub(")
        yield from self.say_who_is_shown()
        yield from until(lambda: len(list(book)) > before, "The button Dub started nothing", 10)
        return list(book)[-1]

    def say_who_is_shown(self):
        """Answer the question that is asked once for a new portrait, as it stands."""
        if self.told:
            return
        self.told = True
        for _ in range(10):
            yield
        yield from self.picture("consent")
        yield from self.hands.key("RET")

    def ended(self, record):
        """Wait for a job's end."""
        state = host("tasks.runtime").current()
        yield from until(lambda: not state.active(record.plan.uid), f"{record.plan.name} did not end")
        for _ in range(10):
            yield

    def require(self, record, state):
        if record.state != state:
            raise Stuck(f"{record.plan.name} is {record.state} instead of {state}: {record.error or 'no error'}")

    def dub_and_cancel(self):
        """Dub the long speech, watch the progress, cancel."""
        record = yield from self.start()
        below = self.hands.at[1]
        yield from until(lambda: record.saved >= 100 or record.error, "No frames came")
        yield from self.picture("progress")
        yield from self.sidebar.press_icon("posedub.cancel(", below)
        yield from self.ended(record)
        self.require(record, "cancelled")
        self.result["cancelled_at"] = record.saved
        yield from self.picture("cancelled")

    def undo(self):
        """Undo the cancelled dub, and delete the long speech."""
        yield from self.view(area("SEQUENCE_EDITOR"))
        yield from self.hands.key("Z", ctrl=True)
        strips, is_dub = scene().sequence_editor.strips_all, host("bl.sequencer").is_dub
        yield from until(lambda: not any(map(is_dub, strips)), "Ctrl Z did not undo the dub", 10)
        yield from self.click_strip(LONG)
        yield from self.hands.key("DEL")
        yield from until(lambda: LONG not in strips, f"{LONG} was not deleted", 10)
        yield from self.view(area("SEQUENCE_EDITOR"))

    def dub(self):
        """Dub the sentence, to the end."""
        yield from self.select(SOUND, PORTRAIT, POSE)
        yield from self.sidebar.find("posedub.dub(")
        self.heart.enter("job")
        began = time.monotonic()
        yield from self.hands.click(*self.hands.at)
        record = list(host("tasks.runtime").current().book)[-1]
        yield from self.ended(record)
        self.heart.enter("work")
        self.result["load"] = os.getloadavg()[0]
        self.require(record, "done")
        self.note("dub", record, time.monotonic() - began)
        yield from self.picture("done")

    def note(self, name, record, seconds):
        """Keep what the checks outside need."""
        self.result["versions"][name] = {
            "folder": str(record.plan.folder),
            "frames": record.plan.frames_wanted,
            "saved": record.saved,
            "seconds": round(seconds, 2),
            "weights": f"{record.weights_name} ({record.weights_kind})",
            "warnings": [warning.message for warning in record.warnings],
        }

    def dub_strip(self):
        """The newest dub's strip."""
        return max(filter(host("bl.sequencer").is_dub, scene().sequence_editor.strips_all), key=lambda s: s.name)

    def bake(self):
        """Bake the dub's pose into keyframes."""
        yield from self.click_strip(self.dub_strip().name)
        yield from self.sidebar.unfold("POSEDUB_PT_pose")
        self.heart.enter("bake")
        yield from self.sidebar.press("posedub.bake_pose(")
        keyed = host("sources.pose_keys").is_keyed
        yield from until(lambda: keyed(scene(), self.dub_strip()), "The pose was not baked", 120)
        yield from self.picture("baked")

    def key_field(self):
        """Type the yaw, or the blend where weights tell no angles, on three frames, and key it with I."""
        if host("tasks.runtime").current().link.pose_map_problem(bpy.context.scene):
            self.field = "posedub_blend"
            yield from self.sidebar.unfold("POSEDUB_PT_pose_codes")
        for frame, value in zip(FRAMES, ("0", PEAKS[self.field][0], "0"), strict=True):
            scene().frame_set(frame)
            x, y = yield from self.type_into(self.field, value)
            yield from self.hands.move(x + 1, y)
            yield from self.hands.key("I")
            yield from until(lambda frame=frame: frame in self.keys(), f"I keyed nothing at frame {frame}", 10)
        yield from self.picture("keyed")

    def type_into(self, field, value):
        """Type a number into a field of the sidebar; where that lies."""
        place = yield from self.sidebar.find(field)
        yield from self.hands.move(*place)
        yield from self.hands.key("RET")
        yield from self.hands.key("A", ctrl=True)
        yield from self.hands.write(value)
        yield from self.hands.key("RET")
        return place

    def keys(self):
        """Keys of the field: frame to value."""
        path = self.dub_strip().path_from_id(self.field)
        curves = host("bl.fcurves").find(scene(), path)
        return {round(key.co[0]): round(key.co[1], 3) for curve in curves.values() for key in curve.keyframe_points}

    def edit_key(self):
        """Move the middle key in the Graph Editor."""
        graph = area("GRAPH_EDITOR")
        graph.spaces.active.dopesheet.filter_text = self.field.removeprefix("posedub_")
        yield from self.view(graph)
        frame, (peak, lift) = FRAMES[1], PEAKS[self.field]
        yield from self.hands.click(*point(graph, frame, float(peak)))
        for key in ("G", "Y"):
            yield from self.hands.key(key)
        yield from self.hands.write(lift)
        yield from self.hands.key("RET")
        wanted = float(peak) + float(lift)
        yield from until(lambda: abs(self.keys()[frame] - wanted) < 0.01, f"The key was not moved: {self.keys()}", 10)
        self.result["keys"] = {self.field: self.keys()}
        graph.spaces.active.dopesheet.filter_text = ""
        yield from self.view(graph)
        yield from self.picture("graph-editor")

    def look_around(self):
        """Look into the other panels, and open the preferences."""
        yield from self.maximise()
        for name in ("pose_codes", "pose_tools", "settings", "server"):
            if f"POSEDUB_PT_{name}" in (yield from self.sidebar.shown()):
                continue
            header = yield from self.sidebar.unfold(f"POSEDUB_PT_{name}")
            yield from self.picture(f"panel-{name}")
            if name == "server":
                yield from self.show_preferences()
            yield from self.hands.click(*header)
        yield from self.maximise()

    def dub_keyframes(self):
        """Dub again with the keyframes, only the dub strip selected."""
        yield from self.click_strip(self.dub_strip().name)
        yield from until(lambda: scene().posedub.pose_kind == "keyframes", "The bake did not choose the keyframes", 10)
        record = yield from self.start()
        began = time.monotonic()
        yield from self.ended(record)
        self.require(record, "done")
        self.note("keyframes", record, time.monotonic() - began)
        yield from self.picture("dubbed-again")

    def redub_range(self):
        """Set the preview range with P, change the seed, make that range anew."""
        one = area("SEQUENCE_EDITOR")
        yield from self.click_strip(self.dub_strip().name)
        start, end = (point(one, frame, channel) for frame, channel in zip(RANGE, (6.8, 6.2), strict=True))
        yield from self.hands.move(*start)
        yield from self.hands.key("P")
        yield from self.hands.drag(start, end)
        yield from until(lambda: scene().use_preview_range, "P set no preview range", 10)
        yield from self.sidebar.unfold("POSEDUB_PT_settings")
        yield from self.type_into("posedub.seed", "7")
        yield from until(lambda: scene().posedub.seed == 7, "The seed was not typed", 10)
        book = host("tasks.runtime").current().book
        before, began = len(list(book)), time.monotonic()
        yield from self.sidebar.unfold("POSEDUB_PT_takes")
        yield from self.sidebar.press("posedub.redub_range(")
        yield from until(lambda: len(list(book)) > before, "The button Re-dub Range started nothing", 10)
        record = list(book)[-1]
        yield from self.ended(record)
        self.require(record, "done")
        self.note("range", record, time.monotonic() - began)
        self.result["dub_strips"] = sum(map(host("bl.sequencer").is_dub, scene().sequence_editor.strips_all))
        self.result["range"] = [scene().frame_preview_start, scene().frame_preview_end]
        yield from self.picture("range")
        yield from self.hands.move(*start)
        yield from self.hands.key("P", alt=True)
        yield from until(lambda: not scene().use_preview_range, "Alt P did not clear the preview range", 10)

    def render(self):
        """Render the edit."""
        use_movie(scene(), self.job["movie"])
        self.heart.enter("render")
        rendered = []
        bpy.app.handlers.render_complete.append(lambda *_: rendered.append(True))
        one = region(area("SEQUENCE_EDITOR"))
        yield from self.hands.move(one.x + one.width / 2, one.y + one.height / 2)
        yield from self.hands.key("F12", ctrl=True)
        yield from until(lambda: rendered, "The animation was not rendered")
        yield from self.picture("rendered")
        self.result["rendered_frames"] = scene().frame_end - scene().frame_start + 1

    def verify(self):
        """Wait for the render's mark, and read what the command says of it."""
        self.close_render()
        marks, movie = host("tasks.runtime").current().marks, Path(self.job["movie"])
        yield from until(lambda: marks.problem or marks.marked == movie, "The render got no mark", 120)
        if marks.problem:
            raise Stuck(marks.problem)
        yield from self.ask("verification")
        editor = area("GRAPH_EDITOR")
        editor.ui_type = "TEXT_EDITOR"
        editor.spaces.active.text = bpy.data.texts.load(self.job["verified"])
        editor.spaces.active.show_word_wrap = True
        yield from self.picture("verified")

    def close_render(self):
        """Close the window that Blender shows a render in: it covers the others."""
        for window in list(bpy.context.window_manager.windows)[1:]:
            with bpy.context.temp_override(window=window):
                bpy.ops.wm.window_close()

    def dub_actor(self):
        """Choose the actor, where the server offers one, and dub the sentence with it: a sound is enough."""
        info = host("tasks.runtime").current().link.info
        actors = [k for k, one in enumerate(info.weights) if not info.offer(one.weights_id).engine.portrait]
        if not actors:
            return
        yield from self.view(area("SEQUENCE_EDITOR"))
        yield from self.select(SOUND)
        wanted = info.weights[actors[0]].weights_id
        yield from self.sidebar.choose("POSEDUB_MT_weights", actors[0], lambda: scene().posedub.weights == wanted)
        yield from self.picture("actor-chosen")
        record = yield from self.start()
        began = time.monotonic()
        yield from self.ended(record)
        self.require(record, "done")
        self.note("actor", record, time.monotonic() - began)
        scene().frame_set(FRAMES[1])
        yield from self.picture("actor")


def set_right(strip, frame):
    """Set the frame after the strip's last one."""
    name = "right_handle" if hasattr(strip, "right_handle") else "frame_final_end"
    setattr(strip, name, frame)


def use_movie(one, file):
    """Render to H.264 and AAC."""
    settings = one.render
    if hasattr(settings.image_settings, "media_type"):
        settings.image_settings.media_type = "VIDEO"
    settings.image_settings.file_format = "FFMPEG"
    settings.ffmpeg.format, settings.ffmpeg.codec, settings.ffmpeg.audio_codec = "MPEG4", "H264", "AAC"
    settings.ffmpeg.audio_mixrate = 48000
    settings.filepath, settings.use_file_extension = file, False


perform(Run)
