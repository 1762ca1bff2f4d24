"""Asks the graphics drivers what is there, without PyTorch.

A driver may crash the process that asks it: this file is run as a program, in a process of its own.
"""

from __future__ import annotations

import ctypes
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

LIMIT = 30.0
CUDA_DRIVERS = ("nvcuda.dll",) if sys.platform == "win32" else ("libcuda.so.1", "libcuda.so")
ROCM_NODES = Path("/sys/class/kfd/kfd/topology/nodes")
NAME_BYTES = 256


def probe(program: str | None = sys.executable) -> dict[str, Any]:
    """What `machine_of` understands, from another process; empty when nothing answers.

    Args:
        program: a Python; Blender's own serves, where it knows that.
    """
    program = program or shutil.which("python3")
    if program is None:
        return {}
    try:
        asked = subprocess.run(
            [program, "-I", __file__],
            capture_output=True,
            timeout=LIMIT,
            check=False,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        told = json.loads(asked.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return {}
    return told if isinstance(told, dict) else {}


def _cuda(names: tuple[str, ...] = CUDA_DRIVERS) -> dict[str, Any]:
    """The driver's CUDA version and its cards, by the calls that every version of it has."""
    for name in names:
        try:
            driver = ctypes.CDLL(name)
        except OSError:
            continue
        version, count = ctypes.c_int(), ctypes.c_int()
        if driver.cuInit(0) or driver.cuDriverGetVersion(ctypes.byref(version)):
            return {}
        if driver.cuDeviceGetCount(ctypes.byref(count)):
            return {"cuda": version.value}
        return {"cuda": version.value, "nvidia": [_card(driver, number) for number in range(count.value)]}
    return {}


def _card(driver: ctypes.CDLL, number: int) -> dict[str, Any]:
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(NAME_BYTES)
    driver.cuDeviceGet(ctypes.byref(device), number)
    driver.cuDeviceGetName(name, NAME_BYTES, device)
    driver.cuDeviceComputeCapability(ctypes.byref(major), ctypes.byref(minor), device)
    return {"name": name.value.decode(errors="replace"), "major": major.value, "minor": minor.value}


def _rocm(nodes: Path = ROCM_NODES) -> list[str]:
    """Instruction sets of AMD cards, as the kernel tells them: 110000 is gfx1100."""
    found = []
    for node in sorted(nodes.glob("*/properties")):
        told = re.search(r"^gfx_target_version (\d+)$", node.read_text(errors="replace"), re.MULTILINE)
        if told and (number := int(told[1])):
            found.append(f"gfx{number // 10000}{number // 100 % 100:x}{number % 100:x}")
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps({**_cuda(), "rocm": _rocm()}) + "\n")
