"""Our own sync judge: a small network that places lips and sound of the same fifth of a second close together.

It is trained on true clips alone, apart from the generator and its encoders, with the idea of SyncNet (Chung and
Zisserman, ACCVW 2016): five mouth pictures against 0.2 s of sound; it uses a contrastive loss over all pairs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from model_server.errors import ErrorKind, PoseDubError
from model_server.files import replacing

FRAMES = 5
MARGIN = FRAMES // 2
MOUTH_SIDE = 48
EMBEDDING = 128
FORMAT = "posedub-sync-judge-1"
BUILT_IN = Path(__file__).parent / "data" / "sync_judge.safetensors"
# The alignment keeps the mouth at one place of the network view: (112, 140), a little above this window's middle.
_TOP, _LEFT, _SIDE = 100, 68, 88

Mouths = NDArray[np.uint8]
Vectors = NDArray[np.float32]


def mouths(views: NDArray[np.uint8]) -> Mouths:
    """Grey mouth regions (n, 48, 48) of network views (n, 224, 224, 3)."""
    cut = views[:, _TOP : _TOP + _SIDE, _LEFT : _LEFT + _SIDE]
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


class SyncNetwork(nn.Module):
    """Two encoders into one space of 128 dimensions, unit vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.picture_encoder = _encoder(FRAMES, ((48, 2), (64, 2), (96, 2), (128, 2)), 3 * 3)
        self.sound_encoder = _encoder(1, ((32, (2, 1)), (64, 2), (96, 2), (128, 2)), 5 * 3)
        self.log_scale = nn.Parameter(torch.tensor(2.3))

    def pictures(self, mouths: Tensor) -> Tensor:
        """Embeddings (n, 128) of mouths (n, 5, 48, 48) in [0, 1]; light and contrast do not count."""
        level = mouths.mean(dim=(1, 2, 3), keepdim=True)
        spread = mouths.std(dim=(1, 2, 3), keepdim=True) + 0.02
        return F.normalize(self.picture_encoder((mouths - level) / spread), dim=1)

    def sound(self, windows: Tensor) -> Tensor:
        """Embeddings (n, 128) of mel windows (n, 80, 20) in [0, 1]."""
        return F.normalize(self.sound_encoder(windows[:, None] * 2 - 1), dim=1)


def _encoder(channels: int, stages: Iterable[tuple[int, int | tuple[int, int]]], places: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width, stride in stages:
        layers += [nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels * places, EMBEDDING))


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
    if not path.is_file():
        sentence = f"There is no sync judge at {path}; train one with posedub evaluate --train-judge."
        raise PoseDubError(sentence, ErrorKind.NOT_FOUND)
    network = SyncNetwork()
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - the handle is no mapping
        if metadata.get("format") != FORMAT:
            raise ValueError("it is no sync judge")
        network.load_state_dict(state)
        return SyncJudge(network, json.loads(metadata["facts"]))
    except (OSError, SafetensorError, ValueError, KeyError, RuntimeError) as error:
        sentence = f"The sync judge {path} cannot be read ({str(error).splitlines()[0]}); train it again."
        raise PoseDubError(sentence, ErrorKind.CORRUPT) from error
