"""What the tests have Blender do; runs in the worker process, arguments and results are JSON."""

import importlib
import time
from pathlib import Path

import bpy

LIMIT = 900
"""Seconds after which a job that does not get on fails the test."""

ADDON = "bl_ext.user_default.posedub"


def host(name):
    return importlib.import_module(f"{ADDON}.host.{name}")


def scene():
    return bpy.context.scene


def strip(name):
    return scene().sequence_editor.strips_all[name]


def version():
    return list(bpy.app.version)


def is_registered():
    return {"operator": hasattr(bpy.types, "POSEDUB_OT_dub"), "panel": hasattr(bpy.types, "POSEDUB_PT_dub")}


def toggle(enabled):
    import addon_utils

    (addon_utils.enable if enabled else addon_utils.disable)(ADDON)


def new_scene(fps=24, fps_base=1.0):
    """An empty, unsaved file with a sequencer."""
    bpy.ops.wm.read_homefile(use_empty=True)
    render = scene().render
    render.fps, render.fps_base = fps, fps_base
    render.resolution_x = render.resolution_y = 64
    scene().view_settings.view_transform = "Standard"
    scene().sequence_editor_create()
    bpy.ops.ed.undo_push(message="new scene")


def add(kind, file, name, channel, start, **values):
    """Add an image, movie or sound strip; `values` are set on it afterwards."""
    strips = scene().sequence_editor.strips
    options = {} if kind == "sound" else {"fit_method": "FIT"}
    made = getattr(strips, f"new_{kind}")(name, file, channel, start, **options)
    for key, value in values.items():
        setattr(made, key, value)
    made.select = False
    bpy.ops.ed.undo_push(message=f"add {name}")
    return describe(made)


def add_adjusted_movie(file, start):
    """Add a movie as the user interface does, played at its own rate."""
    window = bpy.context.window_manager.windows[0]
    area = window.screen.areas[0]
    area.type = "SEQUENCE_EDITOR"
    context = {"scene": scene(), "window": window, "area": area, "region": area.regions[-1]}
    options = {}
    if bpy.app.version >= (5, 0):
        context["sequencer_scene"], options["move_strips"] = scene(), False
    with bpy.context.temp_override(**context):
        bpy.ops.sequencer.movie_strip_add(
            filepath=file,
            directory=f"{Path(file).parent}/",
            files=[{"name": Path(file).name}],
            frame_start=start,
            channel=1,
            sound=False,
            adjust_playback_rate=True,
            use_framerate=False,
            **options,
        )
    return describe(scene().sequence_editor.strips_all[-1])


def add_image_sequence(files, name, channel, start):
    made = scene().sequence_editor.strips.new_image(name, files[0], channel, start, fit_method="FIT")
    for file in files[1:]:
        made.elements.append(Path(file).name)
    return describe(made)


def set_strip(name, **values):
    for key, value in values.items():
        setattr(strip(name), key, value)
    bpy.ops.ed.undo_push(message=f"set {name}")
    return describe(strip(name))


def retime(name):
    """Give a strip retiming keys, with the operators, as the API crashes in 4.5 and 5.0."""
    select([name])
    with host("bl.sequencer").override(scene()):
        bpy.ops.sequencer.retiming_segment_speed_set(speed=200)
    return len(strip(name).retiming_keys)


def pack_sounds():
    for sound in bpy.data.sounds:
        sound.pack()


def lock(channel, locked=True):
    scene().sequence_editor.channels[channel].lock = locked


def select(names):
    editor = scene().sequence_editor
    for one in editor.strips_all:
        one.select = one.name in names
    editor.active_strip = editor.strips_all[names[0]] if names else None


def settings(**values):
    for key, value in values.items():
        setattr(scene().posedub, key, value)


def preferences(**values):
    chosen = bpy.context.preferences.addons[ADDON].preferences
    for key, value in values.items():
        setattr(chosen, key, value)


def op(name, **arguments):
    """Run posedub.<name>; {"result": ...} or {"error": sentence}."""
    try:
        return {"result": sorted(getattr(bpy.ops.posedub, name)(**arguments))}
    except RuntimeError as error:
        return {"error": str(error)}


def describe(one):
    sequencer = host("bl.sequencer")
    return {
        "name": one.name,
        "type": one.type,
        "channel": one.channel,
        "left": sequencer.left(one),
        "right": sequencer.right(one),
        "select": one.select,
        "mute": one.mute,
        "elements": [element.filename for element in one.elements] if one.type == "IMAGE" else [],
        "directory": one.directory if one.type == "IMAGE" else "",
        "color_tag": one.color_tag,
        "uid": one.get("posedub_uid", ""),
        "job": one.get("posedub_job", ""),
        "version": one.get("posedub_version", ""),
    }


def strips():
    return sorted(map(describe, scene().sequence_editor.strips_all), key=lambda one: one["channel"])


def playhead(frame):
    scene().frame_set(frame)


def editing_state():
    """All that a dub must leave alone."""
    render = scene().render
    return {
        "rate": [render.fps, render.fps_base],
        "range": [scene().frame_start, scene().frame_end],
        "playhead": scene().frame_current,
        "active": getattr(scene().sequence_editor.active_strip, "name", None),
        "strips": [one for one in strips() if not one["job"]],
    }


def plan():
    """Plan a dub without starting it."""
    return host("planning.scene_plan").draft(scene()).plan.to_json()


def cut(name, target):
    """Write the sound of a strip as a dub would."""
    mix([name], target)


def mix(names, target):
    """Write the sound of strips as a dub of all of them would; its first frame and its frames."""
    audio = host("sources.audio")
    found = audio.read_mix(scene(), list(map(strip, names)), scene().posedub.audio_track)
    audio.write_mix(found, Path(target))
    return [found.first, found.frames]


def mute_channel(channel, muted=True):
    scene().sequence_editor.channels[channel].mute = muted


def jobs():
    return [record.to_json() | {"active": runtime().active(record.plan.uid)} for record in runtime().book]


def runtime():
    return host("tasks.runtime").current()


def pump_until_saved(frames):
    """Pump until the newest job has shown this many frames; the lengths its strip had on the way."""
    record, lengths, limit = list(runtime().book)[-1], [], time.monotonic() + LIMIT
    while record.saved < frames or not lengths or lengths[-1] < frames:
        assert time.monotonic() < limit, record
        assert not record.error, record.error
        host("tasks.main_loop").pump(0.02)
        shown = [len(one.elements) for one in scene().sequence_editor.strips_all if one.get("posedub_job")]
        if shown and (not lengths or lengths[-1] != shown[0]):
            lengths.append(shown[0])
    return lengths


def finish():
    """Pump until nothing is left to do."""
    limit = time.monotonic() + LIMIT
    while host("tasks.main_loop").pump(0.02):
        assert time.monotonic() < limit, jobs()
    return jobs()


def pump(budget=0.02):
    return host("tasks.main_loop").pump(budget)


def progress():
    return list(runtime().progress(list(runtime().book)[-1]))


def server():
    link = runtime().link
    return {"state": link.server.state.value, "owned": link.server.owned, "problem": link.problem, "info": link.info}


def forget_server():
    """As if none had ever answered."""
    runtime().link.info = None


def diagnostics():
    return host("operators.server").report()


def texts():
    return {text.name: text.as_string() for text in bpy.data.texts}


def save(path):
    bpy.ops.wm.save_as_mainfile(filepath=path)


def load(path):
    bpy.ops.wm.open_mainfile(filepath=path)


def undo():
    bpy.ops.ed.undo()
    pump()


def redo():
    bpy.ops.ed.redo()
    pump()


def undo_push(message):
    bpy.ops.ed.undo_push(message=message)


def shown_picture(frame, target):
    """Render one frame of the edit to a PNG."""
    scene().frame_set(frame)
    scene().render.image_settings.file_format = "PNG"
    scene().render.filepath = target
    bpy.ops.render.render(write_still=True)
    return target


def mixdown(name, target):
    """What Blender itself plays from the left to the right handle of a strip; as WAV."""
    one = describe(strip(name))
    scene().frame_start, scene().frame_end = one["left"], one["right"] - 1
    with host("bl.sequencer").edited(scene()):
        bpy.ops.sound.mixdown(filepath=target, container="WAV", codec="PCM", format="S16")
    return target


def rename(name, to):
    one = strip(name)
    one.name = to
    return one.name


def duplicate(name, file):
    """A copy with the same PoseDub uid, as splitting or pasting makes it."""
    original = strip(name)
    copy = scene().sequence_editor.strips.new_movie(f"{name}.001", file, 20, 1)
    copy["posedub_uid"] = original["posedub_uid"]


def delete(name):
    scene().sequence_editor.strips.remove(strip(name))


def wrap_in_meta(name, channel):
    """Put a strip into a meta strip, which shows all of it."""
    meta, one = scene().sequence_editor.strips.new_meta("meta", channel, 1), describe(strip(name))
    strip(name).move_to_meta(meta)
    meta.frame_final_end, meta.frame_final_start = one["right"], one["left"]


def placement_channel():
    """The channel above which a dub would go."""
    return host("planning.scene_plan").draft(scene()).placement.above


def finds_edited_scene():
    """Whether the edited scene is found when the window shows another one; since 5.0 the two may differ."""
    other = bpy.data.scenes.new("other")
    members = {"scene": other}
    if bpy.app.version >= (5, 0):
        members["sequencer_scene"] = scene()
    edited = scene()
    with bpy.context.temp_override(**members):
        return host("bl.sequencer").edit_scene(bpy.context) == edited


def set_scene_key(key, value):
    scene()[key] = value


def save_raw(path):
    """Save as a Blender without the add-on would."""
    toggle(enabled=False)
    save(path)
    toggle(enabled=True)


def stop_server_and_wait():
    link = runtime().link
    link.server.stop()
    if link.server._server:
        link.server._server.wait(LIMIT)


class Layout:
    """Stands in for bpy.types.UILayout, which exists in windows only: keeps what panels write.

    Takes only the functions, arguments and icons that Blender's own layout has.
    """

    def __init__(self, written=None, root=None):
        self.written = [] if written is None else written
        self.root = root or self

    def __getattr__(self, name):
        return lambda *arguments, **options: self._written(name, arguments, options)

    def _written(self, name, arguments, options):
        known = bpy.types.UILayout.bl_rna.functions[name].parameters
        icon = options.get("icon", "NONE")
        assert set(options) <= set(known.keys()), (name, options)
        assert icon == "NONE" or icon in known["icon"].enum_items, icon
        if name == "label":
            self.root.written.append(options["text"])
        elif name == "prop":
            self.root.written.append(options.get("text") or arguments[0].bl_rna.properties[arguments[1]].name)
        elif name in ("menu", "prop_enum"):
            assert name == "prop_enum" or hasattr(bpy.types, arguments[0])
            self.root.written.append(options.get("text", arguments[-1]))
        elif name in ("operator", "operator_menu_enum"):
            self.root.written.append(f"[{arguments[0]}]")
        elif name == "progress":
            self.root.written.append(f"{options['factor']:.2f} {options['text']}")
        return Layout(root=self.root)


def panel(name):
    """What a panel shows: labels, names of properties, [operators], progress."""
    return written_by(getattr(bpy.types, name).draw)


def menu():
    """What the add-on appends to Blender's strip menus."""
    return written_by(host("panels.menus").draw)


def written_by(draw):
    layout = Layout()
    window = bpy.context.window_manager.windows[0]
    area = window.screen.areas[0]
    with bpy.context.temp_override(window=window, area=area, region=area.regions[-1]):
        draw(type("Drawn", (), {"layout": layout})(), bpy.context)
    return layout.written


def add_dub(file, name, channel, start, frames, uid="dub"):
    """A strip that shows a dub, as far as Blender is concerned."""
    made = scene().sequence_editor.strips.new_image(name, file, channel, start, fit_method="FIT")
    for _ in range(frames - 1):
        made.elements.append(Path(file).name)
    made["posedub_uid"], made["posedub_job"] = uid, "job"
    made.select = False
    bpy.ops.ed.undo_push(message=f"add {name}")
    return describe(made)


def bake_rows(name, start, rows, tolerance=0.0, prop="posedub_pose"):
    """Write pose codes as keyframes, and the seconds that took."""
    before = time.perf_counter()
    host("sources.pose_keys").bake(scene(), strip(name), prop, start, [tuple(row) for row in rows], tolerance)
    seconds = time.perf_counter() - before
    bpy.ops.ed.undo_push(message="bake")
    return seconds


def pose_rows(name, first, end, prop="posedub_pose"):
    """The rows of a pose property for timeline frames."""
    return host("sources.pose_keys").values(scene(), strip(name), prop, first, end)


def pose_keys(name, prop="posedub_pose"):
    """Keys by array index: [frame, value]."""
    fcurves = host("bl.fcurves")
    curves = fcurves.find(scene(), strip(name).path_from_id(prop))
    return {index: fcurves.read(curve)["co"].tolist() for index, curve in curves.items()}


def key(name, prop, frame, value, index=-1):
    """Key a property as the `I` key over its field does."""
    if index < 0:
        setattr(strip(name), prop, value)
    else:
        getattr(strip(name), prop)[index] = value
    strip(name).keyframe_insert(prop, index=index, frame=frame)
    bpy.ops.ed.undo_push(message=f"key {prop}")


def animated_paths():
    return sorted(host("bl.fcurves").paths(scene()))


def pose_source(name, first, end):
    """What a dub of these timeline frames reads, and whether the playhead stayed."""
    before = scene().frame_current_final
    pose = host("sources.pose_keys").pose_source(scene(), strip(name), first, end)
    assert scene().frame_current_final == before
    return {"codes": pose.codes, "angles": pose.angles}


def split(name, frame):
    """Cut a strip in two; the right part's name."""
    right = strip(name).split(frame, "SOFT")
    bpy.ops.ed.undo_push(message="split")
    return right.name


def copy_strip(name):
    """Duplicate a strip as Shift D does; the copy's name."""
    before = {one.name for one in scene().sequence_editor.strips_all}
    select([name])
    window = bpy.context.window_manager.windows[0]
    area = window.screen.areas[0]
    area.type = "SEQUENCE_EDITOR"
    members = {"scene": scene(), "window": window, "area": area, "region": area.regions[-1]}
    if bpy.app.version >= (5, 0):
        members["sequencer_scene"] = scene()
    with bpy.context.temp_override(**members):
        bpy.ops.sequencer.duplicate()
    (made,) = {one.name for one in scene().sequence_editor.strips_all} - before
    bpy.ops.ed.undo_push(message="duplicate")
    return made


def op_with_undo(name, **arguments):
    """Run posedub.<name> as a click does, with its undo step."""
    return sorted(getattr(bpy.ops.posedub, name)("EXEC_DEFAULT", True, **arguments))


def preview_range(first, last):
    scene().use_preview_range = True
    scene().frame_preview_start, scene().frame_preview_end = first, last


def timed(name, **arguments):
    """Run one of the functions above; its result's length, and the seconds it took."""
    before = time.perf_counter()
    result = globals()[name](**arguments)
    return len(result), time.perf_counter() - before
