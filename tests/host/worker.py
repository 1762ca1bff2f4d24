"""A Blender process under test: installs the built zip, then runs one function after another.

Reads lines of JSON {"call": name, "args": {...}} and answers with lines
{"result": ...} or {"error": traceback}. Blender prints to standard output, so
answers go to a copy of it made before.
"""

import faulthandler
import importlib
import json
import os
import sys
import traceback

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
faulthandler.enable()

import bpy  # noqa: E402


def install(zip_path: str) -> None:
    """Install and enable the zip as Blender's own extension manager does."""
    import addon_utils  # only there once bpy is

    addon_utils.enable("bl_pkg")
    bpy.ops.extensions.package_install_files(
        filepath=zip_path, repo="user_default", enable_on_install=True, overwrite=True
    )


MODULES = (
    *("scenes_copies", "scenes_curves", "scenes_effects", "scenes_undo", "scenes_takes", "scenes_output"),
    *("scenes_setup", "scenes_sound", "scenes_threads", "scenes"),
)


def answer(line: str) -> dict:
    """Run one call."""
    try:
        request = json.loads(line)
        modules = map(importlib.import_module, MODULES)
        module = next(one for one in modules if hasattr(one, request["call"]))
        return {"result": getattr(module, request["call"])(**request["args"])}
    except Exception:  # noqa: BLE001 - boundary: the test shows it
        return {"error": traceback.format_exc()}


if __name__ == "__main__":
    install(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(answer(line), default=str), file=answers, flush=True)
