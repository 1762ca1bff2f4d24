"""What a run leaves to be looked at: TensorBoard curves, the same as JSON lines, and grids of sample pictures."""

from __future__ import annotations

import json
import time
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from model_server.training.losses import Losses

GRID_ROWS = 6


class RunLog:
    """Writes curves and pictures to a run's folder.

    Args:
        folder: the run's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "samples").mkdir(parents=True, exist_ok=True)
        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def write(self, stage: str, step: int, values: dict[str, float]) -> None:
        """Add one point to each curve of a stage."""
        for name, value in values.items():
            self._writer.add_scalar(f"{stage}/{name}", value, step)
        line = {"stage": stage, "step": step, "time": round(time.time(), 1)} | values
        with (self.folder / "losses.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def picture(self, stage: str, step: int, grid: Tensor) -> None:
        """Save a picture (3, h, w) in [-1, 1]."""
        pixels = ((grid.float().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(self.folder / "samples" / f"{stage}-{step:07}.png")
        self._writer.add_image(stage, pixels, step)

    def close(self) -> None:
        """Write what is still waiting."""
        self._writer.close()


def grid(columns: list[Tensor]) -> Tensor:
    """Pictures side by side (3, rows * h, columns * w): row n holds the n-th picture (n, 3, h, w) of each column."""
    side = columns[0].shape[-1]
    resized = [torch.nn.functional.interpolate(c[:GRID_ROWS].float(), (side, side)) for c in columns]
    return torch.cat([torch.cat(list(column), 1) for column in resized], 2)


def means(history: list[Losses]) -> dict[str, float]:
    """Mean of each loss over some steps."""
    names = {name for losses in history for name in losses}
    present = {name: [losses[name] for losses in history if name in losses] for name in sorted(names)}
    return {name: float(torch.stack([v.float() for v in values]).mean()) for name, values in present.items()}
