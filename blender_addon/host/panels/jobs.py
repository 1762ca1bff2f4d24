"""The sidebar's panel on the dubs of the file: how far they are, and what deserves a look."""

from __future__ import annotations

import bpy

from ...core import timebase
from ...core.events import JobWarning
from ...core.jobs import JobRecord
from .. import preferences
from ..strips import results
from ..tasks import runtime
from .base import DubPanel, draw_error, draw_sentence

STATES = {"done": "CHECKMARK", "failed": "ERROR", "cancelled": "X", "starting": "TIME", "running": "RENDER_ANIMATION"}
WARNINGS_SHOWN = 3


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
        if preferences.settings().mode != "local":
            row = self.layout.row(align=True)
            row.operator("posedub.send_to_farm", icon="EXPORT")
            row.operator("posedub.fetch_all", icon="IMPORT")


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


register, unregister = bpy.utils.register_classes_factory((POSEDUB_PT_jobs,))
