"""Our networks reproduce the published ones; `pytest -rP` shows the errors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from model_server.networks.pcavs.model import Networks
from tests.networks.half_precision import half_precision

pytestmark = pytest.mark.slow

FLOAT32, STORED_AS_FLOAT16, BFLOAT16 = 1e-4, 1e-3, 2e-2

ENCODED = [
    "V.identity",
    "V.feature_map",
    "A_sync.content",
    "E.non_identity",
    "E.to_headpose",
    "E.pose_code",
    "E.to_mouth",
    "E.mouth_embed(1.2*content)",
]
DRAWN = ["G.image", "G.image_frontal(pose=0)"]


def relative_error(name: str, ours: Tensor, golden: Mapping[str, NDArray]) -> float:
    expected = golden[name].astype(np.float32)
    assert ours.shape == expected.shape
    error = float(np.linalg.norm(ours.float().numpy() - expected) / np.linalg.norm(expected))
    print(f"{name}: relative L2 error {error:.2e}")
    return error


def picture(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1)


def outputs(networks: Networks, golden: Mapping[str, NDArray], bf16_encoders: bool, bf16_generator: bool) -> dict:
    """Every tensor of the golden file, ours."""
    windows = torch.from_numpy(golden["spectrogram"].astype(np.float32))
    motion = networks.nonidentity_encoder
    with torch.inference_mode():
        with half_precision(bf16_encoders):
            identity, feature_map = networks.identity_encoder(picture(golden["ref"]))
            feature = motion(picture(golden["drive"]))
            content = networks.speech_encoder(windows)
            pose = motion.pose_code(feature)
            made = {
                "V.identity": identity,
                "V.feature_map": feature_map,
                "A_sync.content": content,
                "E.non_identity": feature,
                "E.to_headpose": motion.pose_head(feature),
                "E.pose_code": pose,
                "E.to_mouth": motion.mouth_feature(feature),
                "E.mouth_embed(1.2*content)": motion.mouth_code(1.2 * content),
            }
            styles = [networks.style(identity, windows, codes, 1.2) for codes in (pose, torch.zeros_like(pose))]
        with half_precision(bf16_generator):
            noise = [torch.zeros(1, 1, size, size) for size in networks.generator.noise_sizes]
            images = [networks.generator(feature_map, style, noise) for style in styles]
    return made | dict(zip(DRAWN, images, strict=True))


@pytest.fixture(scope="module")
def float32(networks: Networks, golden: Mapping[str, NDArray]) -> dict[str, Tensor]:
    return outputs(networks, golden, bf16_encoders=False, bf16_generator=False)


@pytest.fixture(scope="module")
def all_bfloat16(networks: Networks, golden: Mapping[str, NDArray]) -> dict[str, Tensor]:
    return outputs(networks, golden, bf16_encoders=True, bf16_generator=True)


@pytest.fixture(scope="module")
def bfloat16_generator(networks: Networks, golden: Mapping[str, NDArray]) -> dict[str, Tensor]:
    return outputs(networks, golden, bf16_encoders=False, bf16_generator=True)


@pytest.mark.parametrize("name", ENCODED)
def test_encoders_in_float32(name: str, float32: dict[str, Tensor], golden: Mapping[str, NDArray]) -> None:
    assert relative_error(name, float32[name], golden) <= FLOAT32


@pytest.mark.parametrize("name", DRAWN)
def test_generator_in_float32(name: str, float32: dict[str, Tensor], golden: Mapping[str, NDArray]) -> None:
    assert relative_error(name, float32[name], golden) <= STORED_AS_FLOAT16


@pytest.mark.parametrize("name", [*ENCODED, *DRAWN])
def test_all_networks_in_bfloat16(name: str, all_bfloat16: dict[str, Tensor], golden: Mapping[str, NDArray]) -> None:
    assert relative_error(name, all_bfloat16[name], golden) <= BFLOAT16


@pytest.mark.parametrize("name", DRAWN)
def test_the_engines_bfloat16_path(
    name: str, bfloat16_generator: dict[str, Tensor], golden: Mapping[str, NDArray]
) -> None:
    assert relative_error(name, bfloat16_generator[name], golden) <= BFLOAT16
