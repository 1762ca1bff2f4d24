"""Our own sync judge: a small network that places lips and sound of the same fifth of a second close together.

It is trained on true clips alone, apart from the generator and its encoders, with the idea of SyncNet (Chung and
Zisserman, ACCVW 2016): five mouth pictures against 0.2 s of sound; it uses a contrastive loss over all pairs. Beside
that it reads how far lips are open and how far the sound lets expect them to be, so that lips that follow but hardly
move are told from true ones.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from model_server.evaluation.comparison import Acceptance, Pair
from model_server.files import replacing, share_as_usual
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
    def acceptance(self) -> Acceptance | None:
        """From where on clips are accepted; None of a judge that was trained without."""
        value = self.facts.get("accepts_from")
        return Acceptance(**value) if isinstance(value, dict) else None

    def pictures(self, runs: NDArray[np.uint8]) -> Vectors:
        """What is seen in runs of mouths (n, 5, 48, 48): embeddings and, last, lip opening (n, 129)."""
        with torch.inference_mode():
            return _rows(*self._network.seen(torch.tensor(np.ascontiguousarray(runs)).float() / 255))

    def sound(self, windows: NDArray[np.float32]) -> Vectors:
        """What is heard in mel windows (n, 80, 20), each centred on its frame: embeddings and, last, the lip opening
        to be expected (n, 129)."""
        with torch.inference_mode():
            return _rows(*self._network.heard(torch.tensor(windows)))

    def save(self, path: Path) -> None:
        """Write the judge as safetensors."""
        # Vectors are few, and half precision's range may be too small for the variances among them.
        state = self._network.state_dict()
        halved = {name: (value.half() if value.ndim > 1 else value).contiguous() for name, value in state.items()}
        with replacing(path) as part:
            save_file(halved, part, {"format": FORMAT, "facts": json.dumps(self.facts)})
            share_as_usual(part)


def _rows(vectors: torch.Tensor, opening: torch.Tensor) -> Vectors:
    return torch.cat([vectors, opening[:, None]], 1).numpy()


def paired(pictures: Vectors, sound: Vectors) -> Pair:
    """The pair of what a judge sees (n, 129) and hears (n, 129)."""
    return Pair(pictures[:, :-1], sound[:, :-1], pictures[:, -1], sound[:, -1])


def load_judge(path: Path = BUILT_IN) -> SyncJudge:
    """Read a judge that `SyncJudge.save` wrote; the package's own by default.

    Raises:
        PoseDubError: missing, damaged or something else.
    """
    return SyncJudge(*load_sync_network(path))
