"""The sidebar's panels on dubbing into footage, and on whose face is meant."""

from __future__ import annotations

import bpy

from ...core.faces import Face
from ..bl import sequencer
from ..sources import face_choice, footage, select
from ..sources.select import Sources
from ..tasks import runtime
from .base import DubPanel, draw_error, draw_source

THUMBNAIL = 4.0
"""Size of a face's picture, in rows of text."""
OFFERED = 8


class POSEDUB_PT_output(DubPanel, bpy.types.Panel):
    """What the dub becomes: a picture of the face, or footage with the face in it."""

    bl_label = "Output"
    bl_parent_id = "POSEDUB_PT_dub"

    def draw(self, context: bpy.types.Context) -> None:
        """The mode; for footage its strip, and how the face lies in it."""
        layout, scene = self.layout, sequencer.edit_scene(context)
        values = scene.posedub
        layout.prop(values, "output", expand=True)
        if values.output != "crop":
            draw_footage(layout, scene)
        layout.prop(values, "presence_mark")
        layout.operator("posedub.consent", icon="USER")


class POSEDUB_PT_faces(DubPanel, bpy.types.Panel):
    """Whose face is meant where several people are seen."""

    bl_label = "Faces"
    bl_parent_id = "POSEDUB_PT_dub"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """The search and what it found."""
        layout, scene, search = self.layout, sequencer.edit_scene(context), runtime.current().faces
        row = layout.row(align=True)
        row.operator_menu_enum("posedub.find_faces", "role", icon="VIEWZOOM")
        row.operator_menu_enum("posedub.clear_face", "role", text="", icon="X")
        chosen = select.read(scene).chosen
        for role in ("footage", "portrait", "pose"):
            strip = chosen[role].strip
            if strip and face_choice.AT in strip:
                layout.label(text=f"{role.capitalize()}: a face is chosen", icon="CHECKMARK")
        if search.phase:
            layout.label(text=f"{search.phase}...", icon="TIME")
        if search.problem:
            draw_error(layout, context, search.problem)
        strip = search.strip()
        if strip and search.faces:
            layout.label(text=strip.name, icon="SEQUENCE")
            draw_faces(layout, strip)


def draw_footage(layout: bpy.types.UILayout, scene: bpy.types.Scene) -> None:
    """The strip that the face goes into, and how it lies there."""
    values, sources = scene.posedub, select.read(scene)
    draw_source(layout.column(align=True), sources, "footage")
    column = layout.column()
    column.use_property_split = True
    draw_mouth_only(column, scene, sources)
    column.prop(values, "feather")
    column.prop(values, "keep_where_absent")
    if runtime.current().link.offer(scene).engine.in_place:
        column.prop(values, "face_source")


def draw_mouth_only(layout: bpy.types.UILayout, scene: bpy.types.Scene, sources: Sources) -> None:
    """The amount of the selected dub strip, to be keyed; else that of the next dub."""
    sound = sources.chosen["audio"].strip
    keyed = footage.keyed(scene, sound, sources.dub) if sound else None
    strip = keyed or sources.dub
    layout.prop(strip or scene.posedub, footage.MOUTH_ONLY if strip else "mouth_only")
    if strip:
        layout.label(text=f"{'Keys' if keyed else 'To be keyed'} on {strip.name}", icon="KEY_HLT")
    if strip and not keyed:
        layout.prop(scene.posedub, "mouth_only", text="Without Keys")


def draw_faces(layout: bpy.types.UILayout, strip: bpy.types.Strip) -> None:
    """A picture and a button for each face."""
    search, chosen = runtime.current().faces, face_choice.read(strip)
    grid = layout.grid_flow(columns=0, even_columns=True, align=True)
    for index, (face, icon) in enumerate(zip(search.faces[:OFFERED], search.icons(), strict=False)):
        column = grid.column(align=True)
        column.template_icon(icon, scale=THUMBNAIL)
        depress = search.choice(strip, index) == chosen
        column.operator("posedub.choose_face", text=title(index, face), depress=depress).index = index


def title(index: int, face: Face) -> str:
    """A face's button."""
    return f"{index + 1}: turned away" if face.turned_away else f"{index + 1}"


CLASSES = (POSEDUB_PT_output, POSEDUB_PT_faces)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
