"""Our own sync judge: a small network that places lips and sound of the same fifth of a second close together.

It is trained on true clips alone, apart from the generator and its encoders, with the idea of SyncNet (Chung and
Zisserman, ACCVW 2016): five mouth pictures against 0.2 s of sound; it uses a contrastive loss over all pairs.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from model_server.files import replacing
from model_server.networks.sync_network import (
    FORMAT,
    FRAMES,
    LEFT,
    MOUTH_SIDE,
    SIDE,
    TOP,
    SyncNetwork,
    load_sync_network,
)

MARGIN = FRAMES // 2
BUILT_IN = Path(__file__).parent / "data" / "sync_judge.safetensors"

Mouths = NDArray[np.uint8]
Vectors = NDArray[np.float32]


def mouths(views: NDArray[np.uint8]) -> Mouths:
    """Grey mouth regions (n, 48, 48) of network views (n, 224, 224, 3)."""
    cut = views[:, TOP : TOP + SIDE, LEFT : LEFT + SIDE]
    size = (MOUTH_SIDE, MOUTH_SIDE)
    return np.stack([cv2.resize(cv2.cvtColor(v, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA) for v in cut])


class Runs:
    """Runs of consecutive frames out of batches of frames."""

    def __init__(self, length: int = FRAMES) -> None:
        self._length = length
        self._held: NDArray | None = None

    def push(self, batch: NDArray) -> NDArray:
        """The runs (m, length, ...) that end in this batch (n, ...), m may be 0."""
        held = batch if self._held is None else np.concatenate([self._held, batch])
        ends = range(self._length, len(held) + 1)
        self._held = held[max(len(held) - self._length + 1, 0) :]
        runs = [held[end - self._length : end] for end in ends]
        return np.stack(runs) if runs else np.zeros((0, self._length, *batch.shape[1:]), batch.dtype)


class SyncJudge:
    """A trained sync network at work.

    Attributes:
        facts: what is known of its training, for the report.
    """

    def __init__(self, network: SyncNetwork, facts: dict[str, object]) -> None:
        self._network = network.eval()
        self.facts = facts

    @property
    def threshold(self) -> float | None:
        """Confidence from which clips are accepted; None of a judge that was trained without."""
        value = self.facts.get("threshold")
        return float(value) if isinstance(value, int | float) else None

    def pictures(self, runs: NDArray[np.uint8]) -> Vectors:
        """Embeddings (n, 128) of runs of mouths (n, 5, 48, 48)."""
        with torch.inference_mode():
            return self._network.pictures(torch.tensor(np.ascontiguousarray(runs)).float() / 255).numpy()

    def sound(self, windows: NDArray[np.float32]) -> Vectors:
        """Embeddings (n, 128) of mel windows (n, 80, 20), each centred on its frame."""
        with torch.inference_mode():
            return self._network.sound(torch.tensor(windows)).numpy()

    def save(self, path: Path) -> None:
        """Write the judge as safetensors."""
        # Vectors are few, and half precision's range may be too small for the variances among them.
        state = self._network.state_dict()
        halved = {name: (value.half() if value.ndim > 1 else value).contiguous() for name, value in state.items()}
        with replacing(path) as part:
            save_file(halved, part, {"format": FORMAT, "facts": json.dumps(self.facts)})


def load_judge(path: Path = BUILT_IN) -> SyncJudge:
    """Read a judge that `SyncJudge.save` wrote; the package's own by default.

    Raises:
        PoseDubError: missing, damaged or something else.
    """
    return SyncJudge(*load_sync_network(path))
