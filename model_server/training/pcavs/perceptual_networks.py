"""A user's VGG-19, whose features measure how alike two pictures look."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

from model_server.errors import ErrorKind, PoseDubError


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
