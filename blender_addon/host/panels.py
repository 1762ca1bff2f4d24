"""The sidebar tab *Dub* of the sequencer. Panels only read; what changes anything is an operator."""

from __future__ import annotations

import textwrap

import bpy

from ..core import timebase
from ..core.events import JobWarning
from ..core.jobs import JobRecord
from . import audio_tracks, copies, pose_keys, preferences, pump, results, runtime, sequencer, sources
from .presets import POSEDUB_PT_presets

ICONS = {"portrait": "IMAGE_DATA", "audio": "SOUND", "pose": "ARMATURE_DATA", "footage": "SEQUENCE"}
ROLES = {"portrait": "Portrait", "audio": "Sound", "pose": "Pose", "footage": "Footage"}
ROLE_WIDTH = 0.25
"""Of a row of the sidebar."""
STATES = {"done": "CHECKMARK", "failed": "ERROR", "cancelled": "X", "starting": "TIME", "running": "RENDER_ANIMATION"}
PIXELS_PER_LETTER = 7
WARNINGS_SHOWN = 3


class DubPanel:
    """What the panels of the tab share."""

    bl_space_type = "SEQUENCE_EDITOR"
    bl_region_type = "UI"
    bl_category = "Dub"
    bl_order = 0


class POSEDUB_PT_dub(DubPanel, bpy.types.Panel):
    """Sources, and the button that dubs them."""

    bl_label = "Dub"

    def draw(self, context: bpy.types.Context) -> None:
        """Sources, then what is missing or went wrong, then the button."""
        layout, scene = self.layout, sequencer.edit_scene(context)
        column = layout.column(align=True)
        for role in ("portrait", "audio"):
            draw_source(column, scene, role)
        draw_audio_track(column, scene)
        column.prop(scene.posedub, "pose_kind")
        if scene.posedub.pose_kind == "strip":
            draw_source(column, scene, "pose")
        draw_origin(layout, scene)
        if copies.waiting():
            draw_sentence(layout, context, copies.sentence(preferences.ADDON), "ERROR")
        if runtime.current().error:
            draw_error(layout, context, runtime.current().error)
        draw_server_line(layout)
        draw_estimate(layout, scene)
        row = layout.row()
        row.scale_y = 1.5
        row.operator("posedub.dub", icon="PLAY").sounds = "active"
        if not sources.choose(scene, "audio").of_dub:
            draw_several(layout, len(sources.sounds(scene)))


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
        values = sequencer.edit_scene(context).posedub
        for name in ("mouth_strength", "size", "portrait_crop", "pose_crop", "seed", "precision"):
            self.layout.prop(values, name)


class POSEDUB_PT_jobs(DubPanel, bpy.types.Panel):
    """The dubs of this file."""

    bl_label = "Dubs"
    bl_parent_id = "POSEDUB_PT_dub"
    bl_order = 1  # the list grows: below the panels with settings

    def draw(self, context: bpy.types.Context) -> None:
        """One box for each dub, newest first."""
        records = list(runtime.current().book)
        if not records:
            self.layout.label(text="None yet")
        for record in reversed(records):
            draw_job(self.layout.box(), context, record)


class POSEDUB_PT_server(DubPanel, bpy.types.Panel):
    """The model server."""

    bl_label = "Server"
    bl_parent_id = "POSEDUB_PT_dub"
    bl_order = 3
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """What answers, and what can be done about it."""
        layout, link, settings = self.layout, runtime.current().link, preferences.settings()
        layout.label(text=settings.target, icon="URL")
        if link.problem:
            draw_error(layout, context, link.problem)
        if link.info:
            layout.label(text=f"PoseDub {link.info.version} on {link.info.device}")
            for weights in link.info.weights:
                layout.label(text=f"Weights {weights.name} ({weights.kind})")
        row = layout.row(align=True)
        if settings.mode == "local":
            row.operator("posedub.server_stop" if link.server.owned else "posedub.server_start")
        row.operator("posedub.server_check")
        row = layout.row(align=True)
        row.operator("posedub.show_log")
        row.operator("posedub.copy_diagnostics")
        layout.operator("preferences.addon_show", text="Preferences").module = preferences.ADDON


def draw_source(layout: bpy.types.UILayout, scene: bpy.types.Scene, role: str) -> None:
    """A row: the role, its strip or what is missing, and the buttons that set and clear it."""
    choice, assigned = sources.choose(scene, role), scene.posedub.source(role).ref is not None
    missing = choice.problem if assigned or choice.of_dub else f"Select {sources.WANTED[role]}"
    split = layout.split(factor=ROLE_WIDTH, align=True)
    split.label(text=ROLES[role])
    row = split.row(align=True)
    label = row.row()
    label.alert = choice.strip is None
    label.label(text=choice.strip.name if choice.strip else missing, icon=ICONS[role])
    icon = "PINNED" if assigned else "LINKED" if choice.of_dub else "UNPINNED"
    row.operator("posedub.assign_source", text="", icon=icon).role = role
    if assigned:
        row.operator("posedub.clear_source", text="", icon="X").role = role


def draw_audio_track(layout: bpy.types.UILayout, scene: bpy.types.Scene) -> None:
    """Which track of the sound's file is meant, where there are several."""
    strip, number = sources.choose(scene, "audio").strip, scene.posedub.audio_track
    count = len(audio_tracks.names(strip)) if strip else 0
    if strip is None or count < 2:
        return
    layout.prop(scene.posedub, "audio_track")
    meant = number or audio_tracks.played(strip)
    if meant <= count:
        why = "" if number else ", as Blender plays"
        layout.label(text=f"Track {audio_tracks.title(strip, meant)} of {count}{why}", icon="SOUND")


def draw_origin(layout: bpy.types.UILayout, scene: bpy.types.Scene) -> None:
    """A line when sources are those of the selected dub."""
    dub = pose_keys.active(scene)
    roles = [ROLES[role].lower() for role in ICONS if sources.choose(scene, role).of_dub and _needed(scene, role)]
    if dub and roles:
        layout.label(text=f"As in {dub.name}: {', '.join(roles)}", icon="LINKED")


def _needed(scene: bpy.types.Scene, role: str) -> bool:
    values = scene.posedub
    return {"pose": values.pose_kind == "strip", "footage": values.output != "crop"}.get(role, True)


def draw_several(layout: bpy.types.UILayout, sounds: int) -> None:
    """What else can be done with several sound strips."""
    if sounds > 1:
        row = layout.row(align=True)
        row.operator("posedub.dub", text=f"Dub Each of {sounds}").sounds = "each"
        row.operator("posedub.dub", text=f"Dub {sounds} as One").sounds = "together"


def draw_server_line(layout: bpy.types.UILayout) -> None:
    """A line when the weights are not trained, or the server is about to start."""
    link = runtime.current().link
    if link.server.starting:
        layout.label(text="The server starts...", icon="TIME")
    if link.info and link.info.weights and link.info.weights[0].kind == "untrained":
        layout.label(text="Untrained weights: no speech, no movement", icon="INFO")


def draw_estimate(layout: bpy.types.UILayout, scene: bpy.types.Scene) -> None:
    """How many frames a dub would generate; counted in the background."""
    if sources.problem(scene):
        return
    glances = runtime.current().glances
    glances.look(scene)
    pump.wake()
    for text, icon in zip(glances.text(), ("RENDERLAYERS", "INFO"), strict=True):
        if text:
            layout.label(text=text, icon=icon)


def draw_error(layout: bpy.types.UILayout, context: bpy.types.Context, sentence: str) -> None:
    """A red box with a sentence."""
    box = layout.box()
    box.alert = True
    draw_sentence(box, context, sentence, "ERROR")


def draw_sentence(layout: bpy.types.UILayout, context: bpy.types.Context, sentence: str, icon: str) -> None:
    """A sentence, broken into the panel's width."""
    column = layout.column(align=True)
    scale = context.preferences.system.ui_scale or 1.0  # 0 without a window
    letters = context.region.width / PIXELS_PER_LETTER / scale
    for number, line in enumerate(textwrap.wrap(sentence, max(20, int(letters) - 6))):
        column.label(text=line, icon=icon if number == 0 else "BLANK1")


def draw_job(box: bpy.types.UILayout, context: bpy.types.Context, record: JobRecord) -> None:
    """A dub: its name and state, then progress, warnings, or what went wrong."""
    plan, active = record.plan, runtime.current().active(record.plan.uid)
    marks = " (untrained)" if record.weights_kind == "untrained" else ""
    row = box.row()
    row.label(text=plan.name + marks, icon=STATES[record.state])
    if active:
        row.operator("posedub.cancel", text="", icon="X").uid = plan.uid
        share, text = runtime.current().progress(record)
        box.progress(factor=min(1.0, share), text=text)
    else:
        draw_ended(box, row, record)
    if record.error:
        draw_error(box, context, record.error)
    draw_absence(box, context, record)
    draw_warnings(box, context, record)


def draw_ended(box: bpy.types.UILayout, row: bpy.types.UILayout, record: JobRecord) -> None:
    """What can be done with a dub that does not run here."""
    uid, count = record.plan.uid, f"{record.saved}/{record.plan.frames_wanted} frames"
    words = {"cancelled": f"Cancelled at {count}", "failed": f"Failed at {count}", "done": count}
    box.label(text=words.get(record.state, f"{count}, left to the server"))
    if record.generated >= 0:
        box.label(text=f"{record.generated} generated in {record.seconds:.1f} s")
    if record.state != "done" and (record.retryable or record.state != "failed"):
        row.operator("posedub.retry", text="", icon="FILE_REFRESH").uid = uid
    if record.job_id:
        row.operator("posedub.fetch", text="", icon="IMPORT").uid = uid
    row.operator("posedub.remove", text="", icon="REMOVE").uid = uid


def draw_absence(box: bpy.types.UILayout, context: bpy.types.Context, record: JobRecord) -> None:
    """A sentence when there is nothing that a dub could be shown in."""
    placement = runtime.current().strips.placements.get(record.plan.uid)
    reason = results.absence(placement) if placement else ""
    if reason:
        draw_sentence(box, context, f"{reason} The frames lie in {record.plan.folder}.", "INFO")


def draw_warnings(box: bpy.types.UILayout, context: bpy.types.Context, record: JobRecord) -> None:
    """The first warnings, each with its timecodes and a button that goes there."""
    for index, warning in enumerate(record.warnings[:WARNINGS_SHOWN]):
        row = box.row()
        draw_sentence(row.column(align=True), context, f"{when(record, warning)}: {warning.message}", "INFO")
        jump = row.operator("posedub.show_warning", text="", icon="TRACKING_FORWARDS_SINGLE")
        jump.uid, jump.index = record.plan.uid, index
    more = len(record.warnings) - WARNINGS_SHOWN
    if more > 0:
        box.label(text=f"{more} more in manifest.json beside the frames")


def when(record: JobRecord, warning: JobWarning) -> str:
    """Timecodes of a warning's first and last frame, counted from the beginning of the timeline."""
    placement = runtime.current().strips.placements.get(record.plan.uid)
    frames = (results.timeline_frame(record, placement, index) for index in (warning.first, warning.end - 1))
    first, last = (timebase.timecode(frame, record.plan.fps) for frame in frames)
    return first if first == last else f"{first} to {last}"


CLASSES = (POSEDUB_PT_dub, POSEDUB_PT_settings, POSEDUB_PT_jobs, POSEDUB_PT_server)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
