# mypy: disable-error-code="valid-type"
"""Operators on the model server: start, stop, ask, look at its log, and copy a diagnostics report.

No postponed annotations here: Blender reads them as values.
"""

import platform

import bpy

from ...core import diagnostics
from ...core.errors import AddonError
from ...core.version import VERSION
from .. import preferences
from ..tasks import main_loop, runtime
from ..tasks.server_link import ServerLink
from .base import FINISHED, WAIT, SentenceOperator

LOG_TEXT = "PoseDub server log"


class POSEDUB_OT_server_start(SentenceOperator, bpy.types.Operator):
    """Start the model server on this computer, or use the one that runs"""

    bl_idname = "posedub.server_start"
    bl_label = "Start Server"

    wait: bpy.props.BoolProperty(**WAIT)

    @classmethod
    def problem(cls, scene: bpy.types.Scene) -> str:
        """Only a server on this computer can be started."""
        local = preferences.settings().mode == "local"
        return "" if local else "The preferences name a server at an address; start it there."

    def run(self, context: bpy.types.Context) -> set[str]:
        """Start it; when asked, wait until it answers."""
        link = runtime.current().link
        link.start_server()
        if self.wait:
            _await_answer(link)
        return FINISHED


class POSEDUB_OT_server_stop(SentenceOperator, bpy.types.Operator):
    """Stop the model server that the add-on started; its jobs go on when it starts again"""

    bl_idname = "posedub.server_stop"
    bl_label = "Stop Server"

    @classmethod
    def problem(cls, scene: bpy.types.Scene) -> str:
        """Only a server that the add-on started can be stopped."""
        owned = runtime.current().link.server.owned
        return "" if owned else "The server was not started by this Blender; stop it where it was started."

    def run(self, context: bpy.types.Context) -> set[str]:
        """Stop it in the background."""
        runtime.current().link.stop_server()
        return FINISHED


class POSEDUB_OT_server_check(SentenceOperator, bpy.types.Operator):
    """Ask the server which version it is and which weights it has"""

    bl_idname = "posedub.server_check"
    bl_label = "Connect"

    wait: bpy.props.BoolProperty(**WAIT)

    def run(self, context: bpy.types.Context) -> set[str]:
        """Shake hands; when asked, wait for the answer."""
        link = runtime.current().link
        link.check()
        if self.wait:
            _await_answer(link)
        return FINISHED


class POSEDUB_OT_show_log(SentenceOperator, bpy.types.Operator):
    """Show the last lines of the local server's log, as a text in the Text Editor too"""

    bl_idname = "posedub.show_log"
    bl_label = "Server Log"

    def run(self, context: bpy.types.Context) -> set[str]:
        """Copy the log into a text data-block."""
        text = bpy.data.texts.get(LOG_TEXT) or bpy.data.texts.new(LOG_TEXT)
        text.from_string(runtime.current().link.server.log_tail() or "The server has not been started here yet.")
        self.report({"INFO"}, f'The log is the text "{LOG_TEXT}"')
        return FINISHED

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Show it in a pop-up."""
        self.execute(context)
        return context.window_manager.invoke_popup(self, width=700)

    def draw(self, context: bpy.types.Context) -> None:
        """The last lines."""
        column = self.layout.column(align=True)
        for line in bpy.data.texts[LOG_TEXT].lines[-30:]:
            column.label(text=line.body)


class POSEDUB_OT_copy_diagnostics(SentenceOperator, bpy.types.Operator):
    """Copy a report for a bug tracker; it holds no names and no secrets"""

    bl_idname = "posedub.copy_diagnostics"
    bl_label = "Copy Diagnostics"

    def run(self, context: bpy.types.Context) -> set[str]:
        """Put the report into the clipboard."""
        context.window_manager.clipboard = report()
        self.report({"INFO"}, "The diagnostics report is in the clipboard")
        return FINISHED


def report() -> str:
    """Versions, server and jobs as redacted text."""
    link, settings = runtime.current().link, preferences.settings()
    system = {"add-on": VERSION, "Blender": bpy.app.version_string, "system": platform.platform()}
    server = {
        "mode": settings.mode,
        "address": settings.target,
        "state": link.server.state.value,
        "info": link.info,
        "problem": link.problem,
    }
    jobs = {
        record.plan.name: f"{record.state}, {record.saved}/{record.plan.frames_wanted} frames {record.error}".strip()
        for record in runtime.current().book
    }
    sections = {"PoseDub": system, "Server": server, "Dubs": jobs}
    return diagnostics.report(sections, link.server.log_tail(), [settings.token])


def _await_answer(link: ServerLink) -> None:
    main_loop.run_until(lambda: not link.changing)
    if link.problem:
        raise AddonError(link.problem)


CLASSES = (
    POSEDUB_OT_server_start,
    POSEDUB_OT_server_stop,
    POSEDUB_OT_server_check,
    POSEDUB_OT_show_log,
    POSEDUB_OT_copy_diagnostics,
)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
