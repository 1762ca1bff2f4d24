"""Whether lips and sound belong together: two encoders into one space (Chung and Zisserman, ACCVW 2016, SyncNet)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from model_server.errors import ErrorKind, PoseDubError, first_line

FRAMES = 5
MOUTH_SIDE = 48
EMBEDDING = 128
FORMAT = "posedub-sync-judge-2"
OPENING_UNIT = 0.1  # of the distance between the eyes: lips of speech open by about so much
# The alignment keeps the mouth at one place of the network view: (112, 140), a little above this window's middle.
TOP, LEFT, SIDE = 100, 68, 88


class SyncNetwork(nn.Module):
    """Two encoders into one space of 128 dimensions, unit vectors, which also tell how far the lips are open.

    The vectors say what is spoken and when, however far the lips move; the opening, seen in the middle picture and
    expected of the sound, says whether they move far enough (our addition).
    """

    def __init__(self) -> None:
        super().__init__()
        self.picture_encoder = _encoder(FRAMES, ((48, 2), (64, 2), (96, 2), (128, 2)), 3 * 3)
        self.sound_encoder = _encoder(1, ((32, (2, 1)), (64, 2), (96, 2), (128, 2)), 5 * 3)
        self.log_scale = nn.Parameter(torch.tensor(2.3))

    def pictures(self, mouths: Tensor) -> Tensor:
        """Embeddings (n, 128) of mouths (n, 5, 48, 48) in [0, 1]; light and contrast do not count."""
        return self.seen(mouths)[0]

    def sound(self, windows: Tensor) -> Tensor:
        """Embeddings (n, 128) of mel windows (n, 80, 20) in [0, 1]."""
        return self.heard(windows)[0]

    def seen(self, mouths: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (n, 128) of mouths (n, 5, 48, 48), and lip opening (n,) over the distance between the eyes."""
        level = mouths.mean(dim=(1, 2, 3), keepdim=True)
        spread = mouths.std(dim=(1, 2, 3), keepdim=True) + 0.02
        return _split(self.picture_encoder((mouths - level) / spread))

    def heard(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (n, 128) of mel windows (n, 80, 20), and the lip opening (n,) that their sound lets expect."""
        return _split(self.sound_encoder(windows[:, None] * 2 - 1))


def _split(values: Tensor) -> tuple[Tensor, Tensor]:
    return F.normalize(values[:, :EMBEDDING], dim=1), values[:, EMBEDDING] * OPENING_UNIT


def _encoder(channels: int, stages: Iterable[tuple[int, int | tuple[int, int]]], places: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width, stride in stages:
        layers += [nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels * places, EMBEDDING + 1))


def load_sync_network(path: Path) -> tuple[SyncNetwork, dict[str, Any]]:
    """A trained network in evaluation mode, and what is known of its training.

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
        return network.eval(), json.loads(metadata["facts"])
    except (OSError, SafetensorError, ValueError, KeyError, RuntimeError) as error:
        sentence = f"The sync judge {path} cannot be read ({first_line(error)}); train it again."
        raise PoseDubError(sentence, ErrorKind.CORRUPT) from error
