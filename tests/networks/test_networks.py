"""Shapes, sizes and names of the networks."""

from __future__ import annotations

import pytest
import torch
from name_seeded_weights import manifest

from model_server.networks.layers.modulation import ModulatedConv, upsample
from model_server.networks.pcavs.checkpoint_keys import published_key
from model_server.networks.pcavs.model import Networks, OwnCodes, parameter_counts, parameter_shapes
from model_server.networks.pcavs.presets import PRESETS

UNUSED = ("num_batches_tracked", ".kernel")
UNUSED_PREFIXES = ("style.", "input.", "noises.", "classifier.", "fc.", "mouth_fc.", "headpose_fc.", "model.fc.")


def test_every_used_entry_of_the_checkpoint_has_exactly_one_name() -> None:
    named = [published_key(name) for name in parameter_shapes("full")]
    used = {
        (network, key)
        for network, entries in manifest().items()
        for key in entries
        if not key.endswith(UNUSED) and not key.startswith(UNUSED_PREFIXES)
    }
    read_outs = {(network, f"model.fc.{part}") for network in ("E", "A_sync") for part in ("weight", "bias")}
    assert len(named) == len(set(named))
    assert set(named) == used | read_outs


def test_parameter_counts() -> None:
    full, lite = parameter_counts("full"), parameter_counts("lite")
    print(full, lite)
    assert full["generator"] == pytest.approx(37e6, rel=0.01)
    assert full["identity_encoder"] == pytest.approx(38.0e6 - 12e6 - 2.05e6, rel=0.01)
    assert sum(lite.values()) == pytest.approx(5.13e6, rel=0.01)
    assert lite["nonidentity_encoder"] == pytest.approx(0.93e6, rel=0.01)
    assert lite["speech_encoder"] == pytest.approx(0.9e6, rel=0.05)


def test_lite_draws_pictures_from_its_own_encodings() -> None:
    networks = Networks("lite").eval()
    images = torch.rand(2, 3, 224, 224) * 2 - 1
    with torch.inference_mode():
        vector, feature_map = networks.identity_encoder(images)
        pose = networks.nonidentity_encoder.pose_code(networks.nonidentity_encoder(images))
        style = networks.style(vector, torch.rand(2, 1, 80, 20), pose, 1.2, OwnCodes(torch.rand(2, 116), pose))
        noise = [torch.randn(1, 1, size, size) for size in networks.generator.noise_sizes]
        drawn = networks.draw(feature_map, style, noise, images)
    assert feature_map.shape == (2, 192, 7, 7)
    assert style.shape == (2, 512) and pose.shape == (2, 12)
    assert drawn.shape == (2, 3, 224, 224) and drawn.abs().max() <= 1


def test_wrong_shapes_are_refused() -> None:
    networks = Networks("lite").eval()
    with pytest.raises(ValueError, match="224"):
        networks.identity_encoder(torch.zeros(1, 3, 192, 192))
    with pytest.raises(ValueError, match="80"):
        networks.speech_encoder(torch.zeros(1, 80, 20))
    with pytest.raises(ValueError, match="512"):
        networks.draw(torch.zeros(1, 192, 7, 7), torch.zeros(1, 384), [torch.zeros(1)], torch.zeros(1, 3, 224, 224))
    with pytest.raises(ValueError, match="own codes"):
        networks.style(torch.zeros(1, 256), torch.zeros(1, 1, 80, 20), torch.zeros(1, 12), 1.2)


def test_modulated_convolution_equals_the_papers_form() -> None:
    """Karras et al. 2020, equations 1 and 3: modulate and demodulate the weights of each image."""
    layer = ModulatedConv(6, 5, 3, style=7)
    x, style = torch.randn(2, 6, 8, 8), torch.randn(2, 7)
    scales = layer.modulation(style)
    weights = layer.scale * layer.weight * scales[:, None, :, None, None]
    weights = weights * torch.rsqrt(weights.square().sum((2, 3, 4), keepdim=True) + 1e-8)
    expected = torch.cat([torch.nn.functional.conv2d(x[n : n + 1], weights[n], padding=1) for n in range(2)])
    torch.testing.assert_close(layer(x, style), expected, rtol=1e-4, atol=1e-5)


def test_upsampling_keeps_a_flat_picture_flat() -> None:
    doubled = upsample(torch.full((1, 3, 6, 6), 0.7))
    assert doubled.shape == (1, 3, 12, 12)
    torch.testing.assert_close(doubled[..., 1:-1, 1:-1], torch.full((1, 3, 10, 10), 0.7))


@pytest.mark.parametrize("preset", ["lite", "full"])
def test_style_vector_is_identity_mouth_and_pose(preset: str) -> None:
    widths = PRESETS[preset]
    assert widths.style_size == {"full": 2048 + 500 + 12, "lite": 256 + 2 * (116 + 12)}[preset]
