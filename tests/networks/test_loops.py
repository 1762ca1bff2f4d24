"""Loops compiled ahead by other processes are all that the networks call."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import model_server.networks.cpu

AHEAD = """
from model_server.networks.cpu import loops
print(len(loops.begin()))
loops.finish()
print(loops.busy())
"""
DRAW = """
import numpy as np
from model_server.engines.pcavs.precision import bf16
from model_server.engines.pcavs.weights import untrained
from model_server.engines.weights import load_engine
from model_server.networks.cpu import bf16_kernels, kernels, loops, pixel_kernels, warp_kernels

print(len(loops.begin()))
for precision in ("fp32", "bf16") if bf16.native() else ("fp32",):
    engine = load_engine(untrained(), "cpu", precision)
    identity = engine.identity(np.zeros((1, 224, 224, 3), np.uint8))
    engine.frames(identity, np.zeros((2, 80, 20), np.float32), np.zeros((2, 12), np.float32), 1.2, 0)
known = [loop for module in (kernels, pixel_kernels, warp_kernels, bf16_kernels) for loop in vars(module).values()]
stats = [loop.stats for loop in known if hasattr(loop, "stats")]
print(sum(sum(one.cache_hits.values()) for one in stats) > 0, sum(sum(one.cache_misses.values()) for one in stats))
"""
SOURCES = """
from model_server.networks.cpu import compiler, loops
print(*(file.name for file in compiler.sources()))
"""


def said(script: str, **environment: str) -> list[str]:
    """What a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.mark.slow
def test_a_dub_compiles_nothing_that_was_compiled_ahead(tmp_path: Path) -> None:
    kept = {"NUMBA_CACHE_DIR": str(tmp_path)}
    begun, busy = said(AHEAD, **kept)
    assert int(begun) > 0 and busy == "False"
    assert said(DRAW, **kept) == ["0", "True", "0"]


def test_where_nothing_is_compiled_nothing_begins() -> None:
    assert said(AHEAD, NUMBA_DISABLE_JIT="1") == ["0", "False"]


def test_a_change_of_any_file_of_loops_compiles_ahead_anew() -> None:
    files = Path(model_server.networks.cpu.__file__).parent.glob("*.py")
    with_loops = {file.name for file in files if "\n@compiled\n" in file.read_text()}
    assert len(with_loops) > 1
    assert set(said(SOURCES)) == with_loops | {"simd.py", "toom_cook.py"}
