# mypy: disable-error-code="valid-type"
"""Operators that set up, repair and remove the model server on this computer.

No postponed annotations here: Blender reads them as values.
"""

from pathlib import Path

import bpy

from ...core import diagnostics
from ...core.errors import AddonError
from .. import preferences, setup_view
from ..tasks import main_loop, runtime
from .base import CANCELLED, FINISHED, WAIT, SentenceOperator

DIALOG_WIDTH = 460


class POSEDUB_OT_server_setup(SentenceOperator, bpy.types.Operator):
    """Install the model server on this computer: a Python of its own, PyTorch for its device, and PoseDub's server"""

    bl_idname = "posedub.server_setup"
    bl_label = "Set Up Server"

    anew: bpy.props.BoolProperty(
        name="Anew", description="Download everything again", default=False, options={"SKIP_SAVE", "HIDDEN"}
    )
    wait: bpy.props.BoolProperty(**WAIT)

    @classmethod
    def problem(cls, scene: bpy.types.Scene) -> str:
        """It is at work, has nothing to install, or may not go online."""
        return runtime.current().setup.problem()

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask before anything is downloaded."""
        runtime.current().setup.look()
        does = "Repair Server" if self.anew else setup_view.button_text()
        return context.window_manager.invoke_props_dialog(self, width=DIALOG_WIDTH, title=does, confirm_text=does)

    def draw(self, context: bpy.types.Context) -> None:
        """What is going to happen."""
        chosen, settings = preferences.current(), preferences.setup_settings()
        setup_view.draw_device(self.layout, context, chosen)
        self.layout.label(text=f"Into {settings.root}", icon="FILE_FOLDER")
        source = settings.wheels or "the Python package index and PyTorch's own, over the network"
        self.layout.label(text=f"From {source}", icon="IMPORT")

    def run(self, context: bpy.types.Context) -> set[str]:
        """Begin; when asked, wait for the end."""
        setup = runtime.current().setup
        setup.begin(self.anew)
        return _outcome(self.wait)


class POSEDUB_OT_server_setup_cancel(SentenceOperator, bpy.types.Operator):
    """Break it off; what was downloaded is kept for the next try"""

    bl_idname = "posedub.server_setup_cancel"
    bl_label = "Cancel"

    wait: bpy.props.BoolProperty(**WAIT)

    def run(self, context: bpy.types.Context) -> set[str]:
        """Ask it to end."""
        runtime.current().setup.cancel()
        return _outcome(self.wait)


class POSEDUB_OT_server_remove(SentenceOperator, bpy.types.Operator):
    """Delete the server, its Python and the downloads from this computer; dubs and jobs stay"""

    bl_idname = "posedub.server_remove"
    bl_label = "Remove Server"

    wait: bpy.props.BoolProperty(**WAIT)

    @classmethod
    def problem(cls, scene: bpy.types.Scene) -> str:
        """It is at work."""
        return "The server is being set up or removed." if runtime.current().setup.working else ""

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask first."""
        return context.window_manager.invoke_confirm(self, event)

    def run(self, context: bpy.types.Context) -> set[str]:
        """Stop it, then delete."""
        runtime.current().setup.remove()
        return _outcome(self.wait)


class POSEDUB_OT_server_folder(SentenceOperator, bpy.types.Operator):
    """Show the folder that the server is installed in"""

    bl_idname = "posedub.server_folder"
    bl_label = "Open Folder"

    def run(self, context: bpy.types.Context) -> set[str]:
        """Hand it to the system's file manager."""
        folder = Path(preferences.setup_settings().root)
        if not folder.is_dir():
            raise AddonError(f"{folder} does not exist yet.", "Set up the server first.")
        bpy.ops.wm.path_open(filepath=str(folder))
        return FINISHED


class POSEDUB_OT_server_setup_log(SentenceOperator, bpy.types.Operator):
    """Copy what the last installation wrote"""

    bl_idname = "posedub.server_setup_log"
    bl_label = "Copy Log"

    def run(self, context: bpy.types.Context) -> set[str]:
        """Put it into the clipboard, without secrets."""
        text = runtime.current().setup.log()
        if not text:
            raise AddonError("There is no log: nothing has been installed here yet.")
        context.window_manager.clipboard = diagnostics.redact(text, [preferences.setup_settings().proxy])
        self.report({"INFO"}, "The log is in the clipboard")
        return FINISHED


def _outcome(wait: bool) -> set[str]:
    """Return at once, or block until it has ended; raises AddonError when it failed."""
    setup = runtime.current().setup
    if not wait:
        return FINISHED
    main_loop.run_until(lambda: not setup.working)
    if setup.error():
        raise AddonError(setup.error())
    return FINISHED if not setup.broken_off else CANCELLED


CLASSES = (
    POSEDUB_OT_server_setup,
    POSEDUB_OT_server_setup_cancel,
    POSEDUB_OT_server_remove,
    POSEDUB_OT_server_folder,
    POSEDUB_OT_server_setup_log,
)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
