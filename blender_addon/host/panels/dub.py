"""The sidebar tab *Dub* of the sequencer: sources and settings of the next dub."""

from __future__ import annotations

import bpy

from ...core import schema
from .. import copies, preferences, setup_view
from ..bl import sequencer
from ..planning.scene_reading import SceneReading
from ..sources import audio_tracks
from ..tasks import main_loop, runtime
from .base import ICONS, ROLE_WIDTH, ROLES, DubPanel, draw_error, draw_optional, draw_sentence, draw_source
from .presets import POSEDUB_PT_presets

FIRST_STEPS = (
    "Add a portrait, a sound and a head movement as strips",
    "Select them (Shift-click)",
    "Press Dub",
)


class POSEDUB_PT_dub(DubPanel, bpy.types.Panel):
    """Sources, and the button that dubs them."""

    bl_label = "Dub"

    def draw(self, context: bpy.types.Context) -> None:
        """Sources, then what is missing or went wrong, then the button."""
        layout, scene = self.layout, sequencer.edit_scene(context)
        reading = runtime.current().link.read(scene)
        draw_setup(layout, context)
        draw_first_steps(layout, reading)
        column = layout.column(align=True)
        draw_weights(column, reading)
        if reading.takes_portrait and not reading.needs("portrait"):
            draw_optional(column, "portrait")
        for role in filter(reading.needs, ("portrait", "audio")):
            draw_source(column, reading.sources, role)
        draw_audio_track(column, reading)
        draw_pose_choice(column, reading)
        if reading.needs("pose"):
            draw_source(column, reading.sources, "pose")
        draw_source_refs(layout, reading)
        if copies.waiting():
            draw_sentence(layout, context, copies.sentence(preferences.ADDON), "ERROR")
        if runtime.current().error not in ("", setup_view.shown.error):
            draw_error(layout, context, runtime.current().error)
        if runtime.current().marks.problem:
            draw_sentence(layout, context, runtime.current().marks.problem, "ERROR")
        draw_server_line(layout, reading)
        draw_estimate(layout, reading)
        row = layout.row()
        row.scale_y = 1.5
        row.operator("posedub.dub", icon="PLAY").sounds = "active"
        if not reading.source("audio").of_dub:
            draw_several(layout, len(reading.sources.sounds))


class POSEDUB_PT_settings(DubPanel, bpy.types.Panel):
    """Parameters of the next dub."""

    bl_label = "Settings"
    bl_parent_id = "POSEDUB_PT_dub"
    bl_options = {"DEFAULT_CLOSED"}

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        """The presets' button."""
        POSEDUB_PT_presets.draw_panel_header(self.layout)

    def draw(self, context: bpy.types.Context) -> None:
        """All parameters."""
        self.layout.use_property_split = True
        self.layout.use_property_decorate = False  # read once for a dub, so no keyframes
        scene = sequencer.edit_scene(context)
        reading = runtime.current().link.read(scene)
        values, offer = scene.posedub, reading.offer
        belongs = {
            "portrait_crop": offer.engine.portrait or reading.takes_portrait,
            "pose_crop": "strip" in offer.poses,
            "pose_reading": "strip" in offer.poses and offer.heeds("pose_reading"),
            "size": bool(offer.size_choices),
        }
        for name in schema.IN_SETTINGS:
            if belongs.get(name, offer.heeds(name)):
                self.layout.prop(values, name)


def draw_setup(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The button that sets up the server on this computer, while a dub would find none."""
    if preferences.settings().mode != "local":
        return
    main_loop.look_at_setup()
    if runtime.current().setup.working or setup_view.shown.needed or setup_view.shown.error:
        setup_view.draw(layout.box(), context, preferences.current())


def draw_first_steps(layout: bpy.types.UILayout, reading: SceneReading) -> None:
    """What to do, as long as nothing is selected and nothing was dubbed."""
    chosen = (reading.source(role).strip for role in ICONS)
    if reading.sources.dub or any(chosen) or runtime.current().book.records:
        return
    box = layout.box()
    for number, step in enumerate(FIRST_STEPS, 1):
        box.label(text=f"{number}. {step}")
    box.operator("posedub.try_example", icon="PLAY")


def draw_audio_track(layout: bpy.types.UILayout, reading: SceneReading) -> None:
    """Which track of the sound's file is meant, where there are several."""
    strip, number = reading.source("audio").strip, reading.settings.audio_track
    count = len(audio_tracks.names(strip)) if strip else 0
    if strip is None or count < 2:
        return
    layout.prop(reading.scene.posedub, "audio_track")
    meant = number or audio_tracks.played(strip)
    if meant <= count:
        why = "" if number else ", as Blender plays"
        layout.label(text=f"Track {audio_tracks.title(strip, meant)} of {count}{why}", icon="SOUND")


def draw_weights(layout: bpy.types.UILayout, reading: SceneReading) -> None:
    """Which of the server's weights draw, where there are several: an actor, or the person of a portrait."""
    info = runtime.current().link.info
    chosen = info.offered(reading.offer.weights_id) if info else None
    if info is None or chosen is None or len(info.weights) < 2:
        return
    split = layout.split(factor=ROLE_WIDTH, align=True)
    split.label(text="Engine")
    split.menu("POSEDUB_MT_weights", text=info.title(chosen), icon="OUTLINER_OB_ARMATURE")


class POSEDUB_MT_weights(bpy.types.Menu):
    """Which of the server's weights draw: those of an actor, or some that draw the person of a portrait"""

    bl_label = "Engine"

    def draw(self, context: bpy.types.Context) -> None:
        """What the server offers."""
        if info := runtime.current().link.info:
            for weights in info.weights:
                self.layout.operator("posedub.choose_weights", text=info.title(weights)).weights = weights.weights_id


def draw_pose_choice(layout: bpy.types.UILayout, reading: SceneReading) -> None:
    """Where the head movement comes from, of what the engine takes."""
    split = layout.split(factor=ROLE_WIDTH, align=True)
    split.label(text=schema.PARAMETERS["pose_kind"].title)
    split.menu("POSEDUB_MT_pose", text=reading.offer.title(reading.settings.pose_kind))


class POSEDUB_MT_pose(bpy.types.Menu):
    """Where the head movement comes from"""

    bl_label = "Pose"

    def draw(self, context: bpy.types.Context) -> None:
        """What the engine takes."""
        scene = sequencer.edit_scene(context)
        offer = runtime.current().link.offer(scene)
        for pose in offer.poses:
            self.layout.prop_enum(scene.posedub, "pose_kind", pose, text=offer.title(pose))


def draw_source_refs(layout: bpy.types.UILayout, reading: SceneReading) -> None:
    """A line when sources are those of the selected dub."""
    dub = reading.sources.dub
    roles = [ROLES[role].lower() for role in ICONS if reading.source(role).of_dub and reading.needs(role)]
    if dub and roles:
        layout.label(text=f"As in {dub.name}: {', '.join(roles)}", icon="LINKED")


def draw_several(layout: bpy.types.UILayout, sounds: int) -> None:
    """What else can be done with several sound strips."""
    if sounds > 1:
        row = layout.row(align=True)
        row.operator("posedub.dub", text=f"Dub Each of {sounds}").sounds = "each"
        row.operator("posedub.dub", text=f"Dub {sounds} as One").sounds = "together"


def draw_server_line(layout: bpy.types.UILayout, reading: SceneReading) -> None:
    """A line when the weights are not trained, or the server is about to start."""
    link = runtime.current().link
    if link.server.starting:
        layout.label(text="The server starts...", icon="TIME")
    weights = link.info.offered(reading.offer.weights_id) if link.info else None
    if weights and weights.kind == "untrained":
        layout.label(text="Untrained weights: no speech, no movement", icon="INFO")


def draw_estimate(layout: bpy.types.UILayout, reading: SceneReading) -> None:
    """How many frames a dub would generate; counted in the background."""
    if reading.problem():
        return
    previews = runtime.current().previews
    previews.look(reading.scene)
    main_loop.wake()
    for text, icon in zip(previews.text(), ("RENDERLAYERS", "INFO"), strict=True):
        if text:
            layout.label(text=text, icon=icon)


CLASSES = (POSEDUB_MT_weights, POSEDUB_MT_pose, POSEDUB_PT_dub, POSEDUB_PT_settings)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
