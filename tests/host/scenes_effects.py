"""What the tests of effects and meta strips have Blender do; beside `scenes`, in the same process."""

from pathlib import Path

import bpy
from scenes import host, scene, select, strip


def add_effect(kind, name, channel, start, end, inputs=(), **values):
    """An effect strip over other strips; `values` are set on it afterwards."""
    span = {"length": end - start} if bpy.app.version >= (5, 0) else {"frame_end": end}
    given = {f"input{number + 1}": strip(one) for number, one in enumerate(inputs)}
    made = scene().sequence_editor.strips.new_effect(name, kind, channel, start, **span, **given)
    for key, value in values.items():
        setattr(made, key, value)


def effect_kinds():
    """All effects that this Blender has."""
    return list(bpy.types.StripsTopLevel.bl_rna.functions["new_effect"].parameters["type"].enum_items.keys())


def input_count(kind):
    """Strips that an effect of a kind takes."""
    one = scene().sequence_editor.strips.new_meta("for a while", 30, 1)
    made = scene().sequence_editor.strips
    for count in (0, 1, 2):
        try:
            add_effect(kind, "tried", 31, 1, 2, [one.name] * count)
        except RuntimeError:
            continue
        break
    for name in ("tried", "for a while"):
        made.remove(strip(name))
    return count


def refresh():
    host("bl.sequencer").refresh(scene())


def in_sequencer():
    """Context of the sequencer's operators; some ask for its window."""
    window = bpy.context.window_manager.windows[0]
    area = window.screen.areas[0]
    area.type = "SEQUENCE_EDITOR"
    members = {"scene": scene(), "window": window, "area": area, "region": area.regions[-1]}
    if bpy.app.version >= (5, 0):
        members["sequencer_scene"] = scene()
    return bpy.context.temp_override(**members)


def make_meta(names):
    """As Ctrl G does; the meta strip's name."""
    select(names)
    with in_sequencer():
        bpy.ops.sequencer.meta_make()
    return next(one.name for one in scene().sequence_editor.strips if one.type == "META")


def retime_in_window(name, speed):
    """As the user interface does; meta strips too."""
    select([name])
    with in_sequencer():
        bpy.ops.sequencer.retiming_segment_speed_set(speed=speed)


def remove_strip(name):
    one = strip(name)
    (one.parent_meta() or scene().sequence_editor).strips.remove(one)


def seen(name, frames):
    """Seconds of its file that a strip shows at timeline frames."""
    return [str(host("sources.media").moment(scene(), strip(name), frame)[1]) for frame in frames]


def looked_at():
    """The next dub as it would be planned."""
    return host("planning.scene_plan").of(host("planning.scene_reading").read(scene()), Path())


def remarks():
    """What a dub would be started with."""
    return [[one.first, one.end, one.text] for one in looked_at().remarks]


def dub_start():
    """Timeline frame of a dub's frame 0."""
    return looked_at().placement.start


def error_of_plan():
    """Why no dub of the selected sound can be planned."""
    try:
        looked_at()
    except host("bl.sequencer").AddonError as error:
        return str(error)
    return ""
