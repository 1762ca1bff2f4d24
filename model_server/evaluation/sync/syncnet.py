"""The official SyncNet (Chung and Zisserman, ACCVW 2016), filled with the `syncnet_v2.model` that a user supplies."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model_server.errors import ErrorKind, PoseDubError
from model_server.evaluation.clips import EvalClip
from model_server.evaluation.sync.mfcc import FRAME, HOP, mfcc
from model_server.evaluation.views import batches

FRAMES = 5
_BINS, _BINS_PER_FRAME = 20, 4
_SIXTEEN_BIT = 32768

Vectors = NDArray[np.float32]


class SyncNet(nn.Module):
    """Five 224x224 pictures and 0.2 s of MFCCs, each to 1024 numbers; the names are those of the published file."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = _sound_trunk()
        self.netfcaud = _head()
        self.netcnnlip = _picture_trunk()
        self.netfclip = _head()

    def sound(self, features: Tensor) -> Tensor:
        """Embeddings (n, 1024) of MFCCs (n, 13, 20)."""
        return self.netfcaud(self.netcnnaud(features[:, None]).flatten(1))

    def pictures(self, runs: Tensor) -> Tensor:
        """Embeddings (n, 1024) of runs of pictures (n, 3, 5, 224, 224), blue first, values 0 to 255."""
        return self.netfclip(self.netcnnlip(runs).flatten(1))


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024))


def _sound_trunk() -> nn.Sequential:
    return nn.Sequential(
        *_stage(nn.Conv2d(1, 64, 3, padding=1)), nn.MaxPool2d(1),
        *_stage(nn.Conv2d(64, 192, 3, padding=1)), nn.MaxPool2d(3, (1, 2)),
        *_stage(nn.Conv2d(192, 384, 3, padding=1)),
        *_stage(nn.Conv2d(384, 256, 3, padding=1)),
        *_stage(nn.Conv2d(256, 256, 3, padding=1)), nn.MaxPool2d(3, 2),
        *_stage(nn.Conv2d(256, 512, (5, 4))),
    )  # fmt: skip


def _picture_trunk() -> nn.Sequential:
    still = (1, 3, 3)
    return nn.Sequential(
        *_stage(nn.Conv3d(3, 96, (5, 7, 7), (1, 2, 2))), nn.MaxPool3d(still, (1, 2, 2)),
        *_stage(nn.Conv3d(96, 256, (1, 5, 5), (1, 2, 2), (0, 1, 1))), nn.MaxPool3d(still, (1, 2, 2), (0, 1, 1)),
        *_stage(nn.Conv3d(256, 256, still, padding=(0, 1, 1))),
        *_stage(nn.Conv3d(256, 256, still, padding=(0, 1, 1))),
        *_stage(nn.Conv3d(256, 256, still, padding=(0, 1, 1))), nn.MaxPool3d(still, (1, 2, 2)),
        *_stage(nn.Conv3d(256, 512, (1, 6, 6))),
    )  # fmt: skip


def _stage(convolution: nn.Conv2d | nn.Conv3d) -> tuple[nn.Module, nn.Module, nn.Module]:
    norm = nn.BatchNorm2d if isinstance(convolution, nn.Conv2d) else nn.BatchNorm3d
    return convolution, norm(convolution.out_channels), nn.ReLU()


def load_syncnet(path: Path) -> SyncNet:
    """Read the published file; only tensors are taken from it, nothing it holds is run.

    Raises:
        PoseDubError: missing, or not SyncNet's weights.
    """
    if not path.is_file():
        raise PoseDubError(f"There is no SyncNet at {path}; give the path of syncnet_v2.model.", ErrorKind.NOT_FOUND)
    network = SyncNet()
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError, pickle.UnpicklingError) as error:
        sentence = f"{path.name} does not hold SyncNet's weights; get syncnet_v2.model from its authors."
        raise PoseDubError(sentence, ErrorKind.CORRUPT) from error
    return network.eval()


def embed_pictures(network: SyncNet, runs: NDArray[np.uint8]) -> Vectors:
    """Embeddings (n, 1024) of runs of RGB views (n, 5, 224, 224, 3)."""
    with torch.inference_mode():
        blue_first = torch.tensor(np.ascontiguousarray(runs[..., ::-1])).float()
        return network.pictures(blue_first.permute(0, 4, 1, 2, 3)).numpy()


def embed_sound(network: SyncNet, take: EvalClip) -> Vectors | None:
    """Embeddings (n - 4, 1024) of a take's sound, each of the five frames from its own on; None without sound."""
    parts = list(_sound_parts(network, take))
    return np.concatenate(parts) if parts else None


def _sound_parts(network: SyncNet, take: EvalClip) -> Iterator[Vectors]:
    for first, end in batches(max(take.count - FRAMES + 1, 0)):
        begin, bins = first * _BINS_PER_FRAME * HOP, (end - first - 1) * _BINS_PER_FRAME + _BINS
        samples = take.samples(begin - 1, begin + (bins - 1) * HOP + FRAME)
        if samples is None:
            return
        loud = np.round(samples * _SIXTEEN_BIT)
        features = mfcc(loud[1:], float(loud[0])).T.astype(np.float32)
        runs = np.lib.stride_tricks.sliding_window_view(features, _BINS, axis=1)[:, ::_BINS_PER_FRAME]
        with torch.inference_mode():
            yield network.sound(torch.tensor(np.ascontiguousarray(runs.transpose(1, 0, 2)))).numpy()
