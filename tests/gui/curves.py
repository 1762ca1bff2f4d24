"""How long keyframes take on ten minutes at 29.97 fps: 17982 keys on each of the 12 curves of a pose code.

`python -m tests.gui.curves` installs the add-on into the bpy module and prints
seconds for the bake, for an edit of all frames, and for reading every frame.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

FRAMES = 600 * 30000 // 1001
RUNS = 5


def main() -> int:
    """Build the zip and measure in a process of its own, as Blender's configuration must be a fresh one."""
    import build_addon

    build_addon.write_stubs()
    with tempfile.TemporaryDirectory() as folder:
        platform = build_addon.PLATFORMS["linux-x64"]
        archive = build_addon.build(platform, Path(folder), ["{}.{}".format(*sys.version_info)])
        environment = os.environ | {"BLENDER_USER_RESOURCES": str(Path(folder) / "user")}
        command = [sys.executable, "-m", "tests.gui.curves", str(archive)]
        return subprocess.run(command, env=environment, check=False).returncode


def measure(archive: str) -> None:
    """Print the median seconds of each operation."""
    import bpy

    from tests.demo import edit

    edit.install(archive)
    keys, sequencer = edit.host("sources.pose_keys"), edit.host("bl.sequencer")
    bpy.ops.wm.read_homefile(use_empty=True)
    scene = bpy.context.scene
    scene.render.fps, scene.render.fps_base = 30, 1.001
    strip = scene.sequence_editor_create().strips.new_image("Dub", "000000.png", 1, 1)
    strip.frame_final_duration = FRAMES
    strip[sequencer.JOB] = "job"
    track = [tuple((frame * 7919 + index * 104729) % 1000 / 500 - 1 for index in range(12)) for frame in range(FRAMES)]
    strip.select = True

    def edit_all() -> None:
        with sequencer.override(scene):
            bpy.ops.posedub.pose_scale(amount=0.99)

    operations: dict[str, Callable[[], object]] = {
        "bake": lambda: keys.bake(scene, strip, keys.FIRST, 1, track, 0.0),
        "edit": edit_all,
        "read": lambda: keys.codes(scene, strip, 1, FRAMES + 1),
    }
    seconds = {name: _median(operation) for name, operation in operations.items()}
    edited = keys.codes(scene, strip, 1, FRAMES + 1)
    assert len(edited) == FRAMES and edited != track
    edit.say(blender=bpy.app.version_string, frames=FRAMES, curves=12, seconds=seconds)


def _median(operation: Callable[[], object]) -> dict[str, float]:
    """Seconds on the clock, and of the processor: they differ on a busy machine."""
    times: dict[str, list[float]] = {"clock": [], "processor": []}
    for _ in range(RUNS):
        began, used = time.perf_counter(), time.process_time()
        operation()
        times["clock"].append(time.perf_counter() - began)
        times["processor"].append(time.process_time() - used)
    return {name: round(sorted(values)[RUNS // 2], 3) for name, values in times.items()}


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit(main())
    measure(sys.argv[1])
    os._exit(0)  # Blender's teardown as a module is not part of it
