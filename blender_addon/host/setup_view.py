"""How the server on this computer is set up, as the preferences and the sidebar show it; `tasks.server_setup` tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import bpy

from ..core.installation import Condition, Installed, gigabytes
from ..core.torch_builds import TITLES, Choice
from .bl.layout import draw_error, draw_sentence

WORDS = {
    Condition.ABSENT: "The server is not set up on this computer yet.",
    Condition.ELSEWHERE: "Another Blender is setting up the server.",
    Condition.INCOMPLETE: "Setting up the server was broken off; what was downloaded is kept.",
    Condition.OUTDATED: "The server is of version {server}, the add-on of {addon}.",
    Condition.BROKEN: "The server is damaged: its Python is gone, or its folder was moved.",
    Condition.READY: "The server is set up, version {server}, for: {build}.",
}
BUTTONS = {Condition.OUTDATED: "Update Server", Condition.BROKEN: "Repair Server"}


@dataclass
class Shown:
    """What is known, for drawing.

    Attributes:
        found: whether another server's command was found, so that none need be set up.
        text: of the progress; "" when nothing goes on.
        choice: the build for this machine; None while the drivers are asked.
        size: (download, disk) in bytes of the build that would be installed; None where none is carried.
        offline: whether Blender may not go online, and has to.
    """

    condition: Condition = Condition.ABSENT
    installed: Installed | None = None
    found: bool = False
    text: str = ""
    share: float = 0.0
    error: str = ""
    choice: Choice | None = None
    size: tuple[int, int] | None = None
    addon: str = ""
    offline: bool = False

    @property
    def needed(self) -> bool:
        """Whether a dub has no server on this computer that it could use."""
        return self.condition is not Condition.READY and not self.found


shown = Shown()
look: list[Callable[[], None]] = []
"""What brings `shown` up to date, as long as the add-on is at work."""


def told() -> str:
    """How the server stands, a sentence."""
    installed = shown.installed
    version, build = (installed.version, TITLES.get(installed.build, "")) if installed else ("", "")
    return WORDS[shown.condition].format(server=version, build=build, addon=shown.addon)


def button_text() -> str:
    """What the button does, in its words."""
    return BUTTONS.get(shown.condition, "Set Up Server")


def cost() -> str:
    """What an installation takes, a sentence; "" where it is not known."""
    if shown.size is None:
        return ""
    download, disk = map(gigabytes, shown.size)
    return f"About {download} to download, {disk} on the disk."


def draw(layout: bpy.types.UILayout, context: bpy.types.Context, chosen: bpy.types.AddonPreferences) -> None:
    """The state, then progress or what can be done; `chosen` are the preferences."""
    for update in look:
        update()
    if shown.text:
        layout.progress(factor=shown.share, text=shown.text)
        layout.operator("posedub.server_setup_cancel", icon="X")
        return
    draw_sentence(layout, context, told(), "CHECKMARK" if shown.condition is Condition.READY else "INFO")
    if shown.installed and shown.installed.remark:
        draw_sentence(layout, context, shown.installed.remark, "INFO")
    if shown.error:
        draw_error(layout, context, shown.error)
        layout.operator("posedub.server_setup_log", icon="COPYDOWN")
    if shown.condition is not Condition.READY:
        draw_device(layout, context, chosen)
        draw_leave(layout, context)
        button = layout.row()
        button.scale_y = 1.5
        button.operator("posedub.server_setup", text=button_text(), icon="IMPORT")
    if shown.condition in (Condition.READY, Condition.INCOMPLETE, Condition.OUTDATED):
        row = layout.row(align=True)
        row.operator("posedub.server_setup", text="Repair Server").anew = True
        row.operator("posedub.server_remove")


def draw_leave(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Blender's leave to go online, where it is needed and was not given."""
    if shown.offline:
        draw_sentence(layout, context, "Blender may not go online yet:", "INTERNET_OFFLINE")
        layout.prop(context.preferences.system, "use_online_access")


def draw_device(layout: bpy.types.UILayout, context: bpy.types.Context, chosen: bpy.types.AddonPreferences) -> None:
    """The device the server would draw on, and what it costs."""
    layout.prop(chosen, "device")
    if chosen.device == "auto":
        why = f"{TITLES[shown.choice.build]}: {shown.choice.reason}" if shown.choice else "Asking the drivers..."
        draw_sentence(layout, context, why, "BLANK1")
    if text := cost():
        draw_sentence(layout, context, text, "BLANK1")


def draw_files(layout: bpy.types.UILayout) -> None:
    """Where its files are, and its log."""
    row = layout.row(align=True)
    row.operator("posedub.server_folder", icon="FILE_FOLDER")
    row.operator("posedub.server_setup_log", icon="COPYDOWN")
