"""The machine and the software that figures belong to."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

from model_server import __version__
from model_server.networks.cpu.bf16 import native
from model_server.networks.cpu.simd import LANES

_PROCESSORS = Path("/proc/cpuinfo")


def machine_facts(device: str) -> dict[str, str]:
    """Names of device, processor and software, and the threads at work."""
    facts = {
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
        "processor": f"{_processor()}, {os.cpu_count()} logical cores",
        "instructions": _instructions(),
        "threads": str(torch.get_num_threads()),
        "software": f"PoseDub {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
        "system": platform.platform(),
    }
    return facts | ({"CUDA": str(torch.version.cuda)} if device == "cuda" else {})


def _instructions() -> str:
    """The widest vectors that PyTorch uses here, and whether there are instructions for half precision."""
    half = "with" if native() else "without"
    return f"{torch.backends.cpu.get_cpu_capability()}, compiled loops of {LANES} lanes, {half} bfloat16"


def _processor() -> str:
    """Its name; Linux tells it only in a file."""
    if _PROCESSORS.is_file():
        for line in _PROCESSORS.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
