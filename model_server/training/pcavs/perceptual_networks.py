"""Networks whose features measure how alike two pictures look: our own face network, or a user's VGG-19."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.errors import ErrorKind, PoseDubError
from model_server.networks.layers.blocks import ConvNorm
from model_server.networks.pcavs.nonidentity_encoder import LANDMARKS
from model_server.networks.pcavs.presets import IMAGE_SIZE

VISEMES = 17
ANGLE_UNIT = 30.0  # degrees that read-outs call 1
EMBEDDING = 128


@dataclass(frozen=True)
class FaceReading:
    """What the face network says of pictures.

    Attributes:
        features: maps of growing depth, the perceptual space.
        embedding: (n, 128) of the person.
        landmarks: (n, 68, 2) in view pixels.
        angles: (n, 3) in units of 30 degrees.
        opening: (n,) lip opening over inter-ocular distance.
        visemes: (n, 17) logits.
    """

    features: tuple[Tensor, ...]
    embedding: Tensor
    landmarks: Tensor
    angles: Tensor
    opening: Tensor
    visemes: Tensor


class FaceNetwork(nn.Module):
    """Plain convolutional network with one read-out per label.

    Args:
        width: channels of the first of five levels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [3, width, 2 * width, 4 * width, 6 * width, 8 * width]
        self.levels = nn.ModuleList(
            [
                _level(inputs, outputs, stride=1 if n == 0 else 2)
                for n, (inputs, outputs) in enumerate(zip(widths[:-1], widths[1:], strict=True))
            ]
        )
        flat = widths[-1] * 49
        self.embedding = nn.Linear(flat, EMBEDDING)
        self.readout = nn.Linear(flat, 2 * LANDMARKS + 3 + 1 + VISEMES)

    def forward(self, images: Tensor) -> FaceReading:
        """Read pictures (n, 3, s, s) in [-1, 1] with s at least 112."""
        features = self.features(images)
        flat = F.adaptive_avg_pool2d(features[-1], 7).flatten(1)
        points, angles, opening, visemes = self.readout(flat).split([2 * LANDMARKS, 3, 1, VISEMES], 1)
        landmarks = (points.view(-1, LANDMARKS, 2) + 1) * (IMAGE_SIZE / 2)
        return FaceReading(features, self.embedding(flat), landmarks, angles, opening[:, 0], visemes)

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps at full, half, quarter, ... resolution."""
        features = []
        for level in self.levels:
            images = level(images)
            features.append(images)
        return tuple(features)


class Vgg19(nn.Module):
    """VGG-19 up to relu5_1 (Simonyan and Zisserman 2014), from a user's file of the usual state dict."""

    _PLAN = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512)
    _TAPS = (1, 6, 11, 20, 29)

    def __init__(self, path: Path) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for outputs in self._PLAN:
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()] if outputs else [nn.MaxPool2d(2)]
            inputs = outputs or inputs
        self.layers = nn.Sequential(*layers)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)
        self.layers.load_state_dict(_vgg_state(path, self.layers.state_dict()))

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """relu1_1, relu2_1, ... relu5_1 of pictures (n, 3, h, w) in [-1, 1]."""
        x = ((images + 1) / 2 - self.get_buffer("mean")) / self.get_buffer("deviation")
        features = []
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index in self._TAPS:
                features.append(x)
        return tuple(features)


def _vgg_state(path: Path, wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {name: state[f"features.{name}"] for name in wanted}
    except (OSError, RuntimeError, KeyError, TypeError, pickle.UnpicklingError) as error:
        sentence = f"The file {path} holds no VGG-19 weights ({error}); give a state dict of the usual layout."
        raise PoseDubError(sentence, ErrorKind.CORRUPT) from error


def _level(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(ConvNorm(inputs, outputs, 3, stride), nn.ReLU(), ConvNorm(outputs, outputs, 3), nn.ReLU())
