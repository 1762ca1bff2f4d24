"""What every script that drives Blender has: steps from a timer, pictures taken outside, an editor's hands."""

import importlib
import json
import sys
import time
import traceback
from pathlib import Path

import bpy
from hands import Hands, area, region, until
from heartbeat import Heartbeat
from sidebar import Sidebar

ADDON = "bl_ext.user_default.posedub"
TICK = 0.02
JOB = json.loads(Path(sys.argv[-1]).read_text(encoding="utf-8"))
"""What the run outside says."""


def host(name):
    """A module of the installed add-on."""
    return importlib.import_module(f"{ADDON}.host.{name}")


def scene():
    """The scene in the sequencer."""
    return getattr(bpy.context.workspace, "sequencer_scene", None) or bpy.context.scene


def preferences():
    """The add-on's preferences."""
    return bpy.context.preferences.addons[ADDON].preferences


class Script:
    """Steps, and what they find out."""

    def __init__(self):
        self.job, self.result = JOB, {"steps": []}
        self.hands, self.heart = Hands(), Heartbeat()
        self.sidebar = Sidebar(self.hands)

    def all_steps(self):
        """All steps in order: generators, whose first line of documentation is said."""
        raise NotImplementedError

    def say(self, **values):
        with Path(self.job["progress"]).open("a", encoding="utf-8") as progress:
            print(json.dumps(values), file=progress)

    def ask(self, name):
        """Have something done outside, and wait for it."""
        file = Path(self.job["answers"]) / name
        file.unlink(missing_ok=True)
        self.say(ask=name)
        yield from until(file.is_file, f"Nobody answered {name}")

    def picture(self, name):
        """Have the screen photographed, when it is drawn."""
        for _ in range(8):
            yield
        phase = self.heart.phase
        self.heart.enter("picture")
        yield from self.ask(name)
        self.heart.enter(phase)

    def steps(self):
        """One after the other, timed."""
        for step in self.all_steps():
            began = time.monotonic()
            self.heart.enter("work")
            self.say(step=step.__doc__.rstrip("."))
            yield from step()
            self.result["steps"].append({"step": step.__name__, "seconds": round(time.monotonic() - began, 2)})

    def new_file(self):
        """Open a video project."""
        yield from until(lambda: bpy.context.window_manager.windows, "No window opened")
        bpy.ops.wm.read_homefile(app_template="Video_Editing")
        for _ in range(20):
            yield

    def view(self, one):
        """Press Home over an editor: it shows all."""
        window = region(one)
        yield from self.hands.move(window.x + window.width / 2, window.y + window.height / 2)
        yield from self.hands.key("HOME")
        for _ in range(20):
            yield

    def maximise(self):
        """Press Ctrl Space over the sequencer: it fills the window, or goes back."""
        one = region(area("SEQUENCE_EDITOR"))
        yield from self.hands.move(one.x + one.width / 2, one.y + one.height / 2)
        yield from self.hands.key("SPACE", ctrl=True)
        for _ in range(20):
            yield

    def show_preferences(self):
        """Press Preferences in the panel."""
        yield from self.sidebar.press("preferences.addon_show(")
        yield from self.photograph_preferences()

    def photograph_preferences(self):
        """Once the preferences have opened, and close them."""
        yield from until(lambda: len(bpy.context.window_manager.windows) > 1, "The preferences did not open", 20)
        for _ in range(20):
            yield
        yield from self.picture("preferences")
        with bpy.context.temp_override(window=bpy.context.window_manager.windows[-1]):
            bpy.ops.wm.window_close()


def perform(kind):
    """Drive a script's steps from a timer; Blender quits when all were done."""
    script = kind()
    script.result |= {"blender": bpy.app.version_string, "python": sys.version.split()[0]}
    steps = script.steps()

    def tick():
        try:
            next(steps)
            return TICK
        except StopIteration:
            script.say(done=script.result | {"stalls": script.heart.figures()})
            bpy.ops.wm.quit_blender()
        except Exception as problem:  # noqa: BLE001 - boundary: Blender would go on without an end
            traceback.print_exc()
            # The screen stays for a last picture.
            script.say(error=str(problem), during=script.result | {"stalls": script.heart.figures()})
        return None

    bpy.app.timers.register(tick, first_interval=1.0, persistent=True)
