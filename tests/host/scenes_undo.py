"""What the tests of undo, and of scenes that go away, have Blender do; beside `scenes`, in the same process."""

import logging

import bpy
from scenes import ADDON, host, menu, op, panel, pump, runtime, scene, written_by


def start_without_sequencer():
    """A file whose first undo step has no sequencer yet."""
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.scene.new(type="EMPTY")
    scene().render.fps, scene().render.fps_base = 24, 1.0
    bpy.ops.ed.undo_push(message="nothing yet")
    scene().sequence_editor_create()
    bpy.ops.ed.undo_push(message="a sequencer")


def undo_all():
    """Ctrl Z as often as there is something to undo; how often."""
    steps = 0
    while scene().sequence_editor:
        bpy.ops.ed.undo()
        steps += 1
    return steps


def redo_all(steps):
    for _ in range(steps):
        bpy.ops.ed.redo()


def may_redo():
    return bpy.ops.ed.redo.poll()


def remove_sequencer():
    scene().sequence_editor_clear()
    bpy.ops.ed.undo_push(message="remove sequencer")


def make_sequencer():
    scene().sequence_editor_create()


def second_scene(name):
    """A new scene like this one, shown in the window instead of it; this one's name."""
    before, made = scene(), bpy.data.scenes.new(name)
    made.render.fps, made.render.fps_base = before.render.fps, before.render.fps_base
    made.sequence_editor_create()
    show_scene(name)
    return before.name


def show_scene(name):
    bpy.context.window_manager.windows[0].scene = bpy.data.scenes[name]
    if bpy.app.version >= (5, 0):
        bpy.context.window_manager.windows[0].workspace.sequencer_scene = bpy.data.scenes[name]


def rename_scene(name):
    scene().name = name
    bpy.ops.ed.undo_push(message="rename")


def remove_scene(name):
    bpy.data.scenes.remove(bpy.data.scenes[name])
    bpy.ops.ed.undo_push(message="remove scene")


def has_sequencer():
    return scene().sequence_editor is not None


def draw_all():
    """Draw all panels, menu and status bar; how many panels."""
    names = [name for name in dir(bpy.types) if name.startswith("POSEDUB_PT_") and name != "POSEDUB_PT_presets"]
    for name in names:
        panel(name)
    menu(), written_by(host("panels.statusbar").draw)
    return len(names)


class Told(logging.Handler):
    """What the add-on logs, a line each."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def pump_with_a_fault(module, name, times=1):
    """Pump with a function of the add-on that raises for the newest job, or always; what is logged meanwhile."""
    owner, told = host(module), Told()
    newest, original = list(runtime().book)[-1].plan.uid if runtime().book else "", getattr(owner, name)

    def faulty(*arguments, **options):
        if module == "strips.results" and arguments[0].plan.uid != newest:
            return original(*arguments, **options)
        raise RuntimeError("out of order")

    setattr(owner, name, faulty)
    logging.getLogger(ADDON).addHandler(told)
    try:
        for _ in range(times):
            pump()
        while module == "strips.results" and pump():
            pass
    finally:
        setattr(owner, name, original)
        logging.getLogger(ADDON).removeHandler(told)
    return told.lines


def dub_with_a_fault():
    """Dub as a script does, while the add-on cannot hear its server; the error."""
    link = runtime().link

    def faulty():
        raise RuntimeError("out of order")

    link.step = faulty
    try:
        return op("dub", wait=True)["error"]
    finally:
        del link.step
