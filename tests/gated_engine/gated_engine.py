"""The toy engine at a gate, in whatever process it draws: each one draws as many frames as `tests.gate` lets through.

Found by its entry point when this folder and the toy engine's are on the path; the variable GATE holds the gate's port.
"""

from __future__ import annotations

import os
from pathlib import Path

from toy_engine import TRAITS, Toy, check_tensors, parameter_counts, sizes
from toy_engine import write_weights as write_toy

from tests.gate import ask

__all__ = ["GATE", "TRAITS", "check_tensors", "load", "parameter_counts", "sizes", "write_weights"]
GATE = "POSEDUB_TEST_GATE"


def load(weights, device, precision, choices):
    return Gated(weights, device)


def write_weights(path: Path) -> Path:
    """A weights file of this engine."""
    return write_toy(path, "gated")


class Gated(Toy):
    drawn = 0

    def draw(self, size, conditions, seed):
        ask(int(os.environ[GATE]), self.drawn)
        self.drawn += len(conditions)
        return super().draw(size, conditions, seed)
