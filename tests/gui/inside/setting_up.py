"""The server set up from the panel, as an editor does it. Blender runs this file: `--python setting_up.py -- JOB.json`.

Set by script: the add-on's preferences, Blender's leave to go online. Broken from outside: what the panel is to
say a sentence about. Done by mouse and keyboard: all the rest.
"""

import sys
import time
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).parent))

from hands import Stuck, area, until  # noqa: E402
from script import ADDON, JOB, Script, host, perform, preferences, scene  # noqa: E402

SET_UP, REMOVE = "posedub.server_setup(", "posedub.server_remove("
SOON = 300


def setup():
    """The add-on's installer."""
    return host("tasks.runtime").current().setup


def shown():
    """What the panel says."""
    return host("setup_view").shown


class SettingUp(Script):
    """What the states of an installation have in common."""

    def __init__(self):
        super().__init__()
        self.result |= {"sentences": {}, "phases": []}

    def lay_out(self):
        """Open a video project on a computer without a server."""
        yield from self.new_file()
        preferences().server_root, preferences().device = self.job["root"], self.job["device"]
        preferences().executable = ""
        one = area("SEQUENCE_EDITOR")
        top, window = one.y + one.height, self.hands.window
        bpy.ops.screen.area_move(x=one.x + one.width // 2, y=top, delta=window.height * 3 // 4 - top)
        yield from self.sidebar.open()
        yield from self.picture("not-online")

    def go_online(self):
        """Allow Blender to go online."""
        bpy.context.preferences.system.use_online_access = True
        yield from self.anew()
        yield from until(lambda: shown().choice, "The drivers were not asked", SOON)
        yield from self.picture("nothing-set-up")

    def anew(self):
        """Have the panel look at the disk."""
        setup().outdated()
        for _ in range(10):
            area("SEQUENCE_EDITOR").tag_redraw()
            yield

    def press(self, asking=""):
        """Press the button that sets up, updates or repairs, and say yes."""
        yield from self.sidebar.scroll("WHEELUPMOUSE", 30)
        yield from self.sidebar.press(SET_UP)
        for _ in range(15):
            yield
        if asking:
            yield from self.picture(asking)
        yield from self.hands.key("RET")
        for _ in range(5):
            yield

    def ended(self):
        """Wait until nothing is being installed or removed any more."""
        yield from until(lambda: not setup().working, "The installation did not end")
        yield from self.anew()

    def require(self, condition):
        """Raise Stuck when the installation does not stand so."""
        if shown().condition.value != condition:
            raise Stuck(
                f"The server is {shown().condition.value} instead of {condition}: {shown().error or 'no error'}"
            )


class States(SettingUp):
    """Every state, with small wheels that stand in for the server's."""

    def all_steps(self):
        """All steps in order."""
        faults = (self.fault(*one) for one in self.job["faults"])
        return (
            self.lay_out, self.go_online, self.asking_and_cancelling, *faults,
            self.ready, self.update, self.repair, self.look_at_preferences, self.remove,
        )  # fmt: skip

    def asking_and_cancelling(self):
        """Press Set Up Server, watch, cancel."""
        yield from self.ask("slow index")
        yield from self.press("asking")
        yield from until(lambda: shown().text.endswith("left") or shown().error, "No time left was shown", SOON)
        yield from self.picture("downloading")
        yield from self.sidebar.press("posedub.server_setup_cancel(")
        yield from self.ended()
        self.require("incomplete")
        yield from self.picture("cancelled")
        yield from self.ask("fast index")

    def fault(self, name, values):
        """A step that meets a fault."""

        def step():
            usual = {key: getattr(preferences(), key) for key in values}
            yield from self.ask(f"break {name}")
            for key, value in values.items():
                setattr(preferences(), key, value)
            yield from self.anew()
            yield from self.press()
            yield from self.ended()
            if not shown().error:
                raise Stuck(f"{name}: no error was shown")
            self.result["sentences"][name] = shown().error
            yield from self.picture(f"fault-{name}")
            for key, value in usual.items():
                setattr(preferences(), key, value)
            yield from self.ask(f"mend {name}")

        step.__doc__, step.__name__ = f"Meet a fault: {name}.", name
        return step

    def ready(self):
        """Set it up."""
        yield from self.press()
        yield from self.ended()
        self.require("ready")
        yield from self.picture("ready")

    def update(self):
        """Find a server of an older version, update it."""
        yield from self.mend("older server", "outdated", "update")

    def repair(self):
        """Find a server without its Python, repair it."""
        yield from self.mend("damaged server", "broken", "repair")

    def mend(self, harm, condition, offer):
        """Have the server harmed, and do what the panel then offers."""
        yield from self.ask(harm)
        yield from self.anew()
        self.require(condition)
        yield from self.picture(f"{offer}-offered")
        yield from self.press(f"asking-{offer}")
        yield from self.ended()
        self.require("ready")

    def look_at_preferences(self):
        """Open the preferences."""
        bpy.ops.preferences.addon_show(module=ADDON)
        yield from self.photograph_preferences()

    def remove(self):
        """Remove it; the button stands in the preferences, so the operator is called."""
        bpy.ops.posedub.server_remove()
        yield from self.ended()
        self.require("absent")
        yield from self.picture("removed")


class WholeWay(SettingUp):
    """With the real wheels, to a dub that is finished."""

    def all_steps(self):
        """All steps in order."""
        return (self.lay_out, self.go_online, self.set_up, self.example)

    def set_up(self):
        """Press Set Up Server, watch every phase."""
        preferences().wheels = self.job["wheels"]
        yield from self.anew()
        began = time.monotonic()
        yield from self.press("asking")
        seen = set()
        while setup().working:
            phase = shown().text.partition(" ")[0]
            if phase and (
                phase not in seen or (phase == "Downloading" and "left" in shown().text and "ETA" not in seen)
            ):
                seen |= {phase, "ETA"} if "left" in shown().text else {phase}
                self.result["phases"].append([round(time.monotonic() - began, 1), shown().text])
                yield from self.picture(f"phase-{len(self.result['phases'])}")
            yield
        yield from self.anew()
        self.result["set_up_seconds"] = round(time.monotonic() - began, 1)
        self.require("ready")
        yield from self.picture("ready")

    def example(self):
        """Press Try an Example, wait for the dub."""
        began = time.monotonic()
        yield from self.sidebar.scroll("WHEELUPMOUSE", 30)
        yield from self.sidebar.press("posedub.try_example(")
        book = host("tasks.runtime").current().book
        yield from until(lambda: list(book), "Try an Example started nothing", SOON)
        record = list(book)[-1]
        yield from until(lambda: record.saved or record.error, "No frame came")
        self.result["first_frame_seconds"] = round(time.monotonic() - began, 1)
        yield from self.picture("example-begun")
        yield from until(
            lambda: not host("tasks.runtime").current().active(record.plan.uid), "The dub did not end", 1200
        )
        if record.state != "done":
            raise Stuck(f"The example is {record.state}: {record.error}")
        self.result |= {"example_seconds": round(time.monotonic() - began, 1), "frames": record.saved}
        scene().frame_set(40)
        yield from self.view(area("SEQUENCE_EDITOR"))
        yield from self.picture("example-done")


# The job tells which of the two it is.
perform({"states": States, "whole way": WholeWay}[JOB["kind"]])
