# mypy: disable-error-code="valid-type"
"""The sidebar's panels on what the next dub looks like and on the takes there are.

No postponed annotations here: Blender reads them as values.
"""

import bpy

from ..bl import preview_image, sequencer
from ..planning import redub
from ..sources import pose_keys
from ..strips import takes
from ..tasks import main_loop, runtime
from .base import DubPanel, draw_error

SCALE = 8.0
APPROXIMATE = "The pose source or footage is not read yet: the head may sit a little differently"


class PoseDubTake(bpy.types.PropertyGroup):
    """A row of the list of takes."""

    folder: bpy.props.StringProperty(name="Folder", description="Where the take's frames lie")
    text: bpy.props.StringProperty(name="Frames", description="How many frames, and what they took")
    settings: bpy.props.StringProperty(name="Settings", description="What the take was made with")


class POSEDUB_UL_takes(bpy.types.UIList):
    """Takes, newest first."""

    def draw_item(
        self,
        context: bpy.types.Context,
        layout: bpy.types.UILayout,
        data: bpy.types.WindowManager,
        item: PoseDubTake,
        icon: int,
        active_data: bpy.types.WindowManager,
        active_property: str,
    ) -> None:
        """Version, and what it is."""
        strip = pose_keys.active(sequencer.edit_scene(context))
        shown = strip is not None and strip.get(sequencer.VERSION) == item.name
        layout.label(text=f"{item.name}: {item.text}", icon="HIDE_OFF" if shown else "BLANK1")


class POSEDUB_PT_preview(DubPanel, bpy.types.Panel):
    """The frame at the playhead, before the dub is made."""

    bl_label = "Preview"
    bl_parent_id = "POSEDUB_PT_dub"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """The button, then the last picture."""
        layout, previews = self.layout, runtime.current().previews
        if previews.previewing:
            layout.label(text="Making the frame...", icon="TIME")
        else:
            layout.operator("posedub.preview", icon="IMAGE_DATA")
        if previews.problem:
            draw_error(layout, context, previews.problem)
        if preview_image.icon():
            layout.template_icon(icon_value=preview_image.icon(), scale=SCALE)
        if previews.shown and previews.shown.approximate:
            layout.label(text=APPROXIMATE, icon="INFO")


class POSEDUB_PT_takes(DubPanel, bpy.types.Panel):
    """The takes of the selected dub, or of the sound."""

    bl_label = "Takes"
    bl_parent_id = "POSEDUB_PT_dub"
    bl_order = 2

    def draw(self, context: bpy.types.Context) -> None:
        """The range to make anew, then the list and what can be done with a take."""
        layout, scene = self.layout, sequencer.edit_scene(context)
        strip, manager = pose_keys.active(scene), context.window_manager
        runtime.current().takes.look(scene)
        main_loop.wake()
        layout.operator("posedub.redub_range", text=_range(scene, strip), icon="FILE_REFRESH")
        layout.template_list("POSEDUB_UL_takes", "", manager, "posedub_takes", manager, "posedub_take", rows=3)
        if manager.posedub_take < len(manager.posedub_takes):
            layout.label(text=manager.posedub_takes[manager.posedub_take].settings)
        beside = strip is not None and takes.compared(scene, strip) is not None
        row = layout.row(align=True)
        row.operator("posedub.take_switch", text="Switch")
        row.operator("posedub.take_compare", text="End Comparison" if beside else "Compare")
        row = layout.row(align=True)
        row.operator("posedub.take_restore")
        row.operator("posedub.take_delete", text="Delete", icon="TRASH")


def _range(scene: bpy.types.Scene, strip: bpy.types.Strip | None) -> str:
    """The button's text, with what it would make anew."""
    if strip is None:
        return "Re-dub Range"
    first, end = redub.span(scene, strip)
    where = "preview range" if scene.use_preview_range else "strip"
    return f"Re-dub Frames {first} to {end - 1} ({where})"


CLASSES = (PoseDubTake, POSEDUB_UL_takes, POSEDUB_PT_preview, POSEDUB_PT_takes)


def register() -> None:
    """Panels, and the list behind them."""
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.WindowManager.posedub_takes = bpy.props.CollectionProperty(type=PoseDubTake)
    bpy.types.WindowManager.posedub_take = bpy.props.IntProperty(name="Take", description="The take chosen in the list")


def unregister() -> None:
    """Take them back."""
    del bpy.types.WindowManager.posedub_takes, bpy.types.WindowManager.posedub_take
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
