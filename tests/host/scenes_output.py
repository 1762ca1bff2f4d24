"""What the tests of output, faces and panels have Blender do; beside `scenes`, in the same process."""

import time
from pathlib import Path

import bpy
from scenes import ADDON, LIMIT, host, jobs, runtime, scene, strip, written_by


def resolution(width, height):
    scene().render.resolution_x, scene().render.resolution_y = width, height


def faces():
    """What was found, and the thumbnails' sizes as Blender reads them."""
    search = runtime().faces
    list(search.icons())
    sizes = [list(preview.image_size) for preview in search._thumbnails.values()]
    return [{"centre": face.centre, "thumbnail": size} for face, size in zip(search.faces, sizes, strict=True)]


def place(name, transform, crop):
    for part, values in (("transform", transform), ("crop", crop)):
        for key, value in values.items():
            setattr(getattr(strip(name), part), key, value)


def placed(name):
    """Transform and crop of a strip, with the keys of its position."""
    one = strip(name)
    path = one.transform.path_from_id("offset_x")
    fcurves = host("bl.fcurves")
    keys = [fcurves.read(curve)["co"].tolist() for curve in fcurves.find(scene(), path).values()]
    transform = {key: getattr(one.transform, key) for key in ("offset_y", "scale_x", "scale_y", "rotation", "filter")}
    return [transform, list(one.transform.origin), [one.crop.min_x, one.crop.max_y], keys]


def key_transform(name, prop, keys):
    for frame, value in keys:
        setattr(strip(name).transform, prop, value)
        strip(name).transform.keyframe_insert(prop, frame=frame)


def linear_keys():
    """Straight lines between all keys."""
    fcurves = host("bl.fcurves")
    for path in fcurves.paths(scene()):
        for curve in fcurves.find(scene(), path).values():
            for point in curve.keyframe_points:
                point.interpolation = "LINEAR"
            curve.update()


def described(name, props):
    return [getattr(strip(name), prop) for prop in props]


def preferences_panel():
    """What the add-on's preferences show."""
    chosen = bpy.context.preferences.addons[ADDON].preferences
    return written_by(lambda drawn, context: type(chosen).draw(_with(chosen, drawn.layout), context))


def _with(chosen, layout):
    """The preferences, drawn into this layout."""
    members = {
        "layout": layout,
        "mode": chosen.mode,
        "device": chosen.device,
        "settings": chosen.settings,
        "bl_rna": chosen.bl_rna,
    }
    return type("Drawn", (), members)()


def panel_orders(names):
    return [getattr(bpy.types, name).bl_order for name in names]


def forget_handlers():
    """As Blender does when another application template is loaded."""
    for name in host("handlers").HANDLERS:
        getattr(bpy.app.handlers, name).clear()


def parent(name):
    return getattr(strip(name).parent_meta(), "name", None)


def pump_until_queued():
    """Pump until one job waits in the server's queue while all others are drawn; the one that waits."""
    limit = time.monotonic() + LIMIT
    while True:
        phases = {record.plan.uid: record.phase for record in runtime().book}
        queued = [uid for uid, phase in phases.items() if phase == "queued"]
        if len(queued) == 1 and set(phases.values()) == {"queued", "frames"}:
            return queued[0]
        assert time.monotonic() < limit, jobs()
        host("tasks.main_loop").pump(0.02)


def status_bar():
    """What the add-on appends to Blender's status bar."""
    return written_by(host("panels.statusbar").draw)


def operators():
    return [getattr(bpy.types, name) for name in dir(bpy.types) if name.startswith("POSEDUB_OT_")]


def operator_options():
    return {one.__name__.partition("_OT_")[2]: sorted(getattr(one, "bl_options", ())) for one in operators()}


def without_tooltip():
    """Operators, and properties that panels show, whose description is empty."""
    owners = [getattr(bpy.ops.posedub, name).get_rna_type() for name in operator_options()]
    found = [rna.identifier for rna in owners if not rna.description]
    for rna in [*owners, type(scene().posedub).bl_rna]:
        shown = [prop for prop in rna.properties if not prop.is_hidden and prop.type != "POINTER"]
        found += [f"{rna.identifier}.{prop.identifier}" for prop in shown if not prop.description]
    props = bpy.types.Strip.bl_rna.properties
    return found + [name for name, prop in props.items() if name.startswith("posedub_") and not prop.description]


def tooltip(name, **arguments):
    """What Blender shows over the button of posedub.<name>."""
    cls = getattr(bpy.types, f"POSEDUB_OT_{name}")
    return cls.description(bpy.context, type("Properties", (), arguments)())


def setting(name):
    return getattr(scene().posedub, name)


def keep_preset(preset, **options):
    bpy.ops.posedub.preset_add(name=preset, **options)


def presets():
    return [str(path) for folder in bpy.utils.preset_paths("posedub") for path in Path(folder).glob("*.py")]


def apply_preset(name):
    (file,) = [path for path in presets() if Path(path).stem.lower() == name.replace(" ", "_").lower()]
    bpy.ops.script.execute_preset(filepath=file, menu_idname="POSEDUB_PT_presets")


def grade(name):
    """Give a strip modifiers of three kinds, one of them keyed, with a curve that is bent."""
    modifiers, made = strip(name).modifiers, []
    for kind in ("BRIGHT_CONTRAST", "CURVES", "COLOR_BALANCE"):
        with host("bl.sequencer").override(scene()):
            made.append(modifiers.new(kind.title(), kind))
    bright, curves, balance = made
    bright.contrast = 12.0
    for frame, value in ((1, 0.0), (100, 60.0)):
        bright.bright = value
        bright.keyframe_insert("bright", frame=frame)
    mapping = curves.curve_mapping
    mapping.curves[3].points.new(0.4, 0.7)
    mapping.update()
    balance.color_balance.gain = (0.6, 1.0, 1.3)


def ungrade(name):
    for modifier in strip(name).modifiers:
        modifier.mute = True


def add_adjustment(name, channel, start, end):
    """A strip whose modifiers grade all that lies below it."""
    span = {"length": end - start} if bpy.app.version >= (5, 0) else {"frame_end": end}
    scene().sequence_editor.strips.new_effect(name, "ADJUSTMENT", channel, start, **span)


def key_strip(name, prop, keys):
    for frame, value in keys:
        setattr(strip(name), prop, value)
        strip(name).keyframe_insert(prop, frame=frame)


def strip_keys(name, prop):
    fcurves = host("bl.fcurves")
    found = fcurves.find(scene(), strip(name).path_from_id(prop)).values()
    return [fcurves.read(curve)["co"].tolist() for curve in found]


def render_range(target, first, end, movie=False):
    """Render frames `first <= f < end` of the sequence, to a movie or to PNGs."""
    render, image = scene().render, scene().render.image_settings
    if hasattr(image, "media_type"):
        image.media_type = "VIDEO" if movie else "IMAGE"
    image.file_format = "FFMPEG" if movie else "PNG"
    if movie:
        render.ffmpeg.format = "MPEG4"
    scene().frame_start, scene().frame_end, render.filepath = first, end - 1, target
    bpy.ops.render.render(animation=True)


def marks():
    """(file or folder that was marked last, why the last render has no mark)."""
    found = runtime().marks
    return [found.marked and str(found.marked), found.problem]
