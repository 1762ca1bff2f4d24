"""`posedub` with a fault, as POSEDUB_FAULT says.

memory: a device has none left, once a job; slow: a frame takes POSEDUB_PACE seconds; clock: the time is off by as many
seconds as the file POSEDUB_CLOCK holds; protocol: another one is spoken.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "toy_engine"))


def without_memory() -> None:
    """The toy engine's 20th frame of each new seed finds no memory."""
    import torch
    import toy_engine

    draw, lacked = toy_engine.Toy.draw, {}

    def lacking(self, size, conditions, seed):  # noqa: ANN001, ANN202
        lacked[seed] = lacked.get(seed, 0) + len(conditions)
        if lacked[seed] - len(conditions) < 20 <= lacked[seed]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return draw(self, size, conditions, seed)

    toy_engine.Toy.draw = lacking


def slow() -> None:
    """Frames come over a time that does not depend on how busy the computer is, as from networks."""
    import toy_engine

    draw, pace = toy_engine.Toy.draw, float(os.environ["POSEDUB_PACE"])

    def waiting(self, size, conditions, seed):  # noqa: ANN001, ANN202
        time.sleep(pace * len(conditions))
        return draw(self, size, conditions, seed)

    toy_engine.Toy.draw = waiting


def another_time() -> None:
    """What `time.time` says follows a file."""
    real, file = time.time, Path(os.environ["POSEDUB_CLOCK"])
    time.time = lambda: real() + float(file.read_text() or 0)


def another_protocol() -> None:
    """One version on."""
    from model_server.service import wire

    wire.PROTOCOL += int(os.environ["POSEDUB_PROTOCOL"])


FAULTS = {"memory": without_memory, "slow": slow, "clock": another_time, "protocol": another_protocol}


if __name__ == "__main__":
    FAULTS[os.environ["POSEDUB_FAULT"]]()
    from model_server.cli.main import main

    sys.exit(main())
