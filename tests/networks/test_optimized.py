"""Networks prepared for inference draw what they drew before."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model_server.networks.pcavs.model import Networks, build
from model_server.networks.pcavs.optimized import optimize
from model_server.networks.pcavs.presets import PRESETS, PresetName

# In a picture's [-1, 1]; a level of 255 is 8e-3.
TOLERANCE = 1e-3


def some_networks(preset: PresetName) -> Networks:
    """Random values that leave nothing out: noise, norms and flows too; the same each time."""
    torch.manual_seed(3)
    networks = Networks(preset)
    for name, values in networks.state_dict().items():
        if name.endswith("noise_strength"):
            values.fill_(0.2)
        if name.endswith("running_mean"):
            values.normal_(0, 0.1)
        if name.endswith("running_var"):
            values.uniform_(0.5, 2)
        if name.endswith(("head.weight", "fields")):
            values.normal_(0, 0.02)
    return networks.eval()


def drawn(networks: Networks, count: int, bf16: bool = False) -> dict[str, Tensor]:
    """What all parts make of `count` inputs, which are the same each time."""
    torch.manual_seed(5)
    images = torch.rand(count, 3, 224, 224).to(memory_format=torch.channels_last) * 2 - 1
    windows, pose = torch.rand(count, 1, 80, 20), torch.randn(count, 12)
    noise = [torch.randn(1, 1, size, size) for size in networks.generator.noise_sizes]
    with torch.inference_mode():
        vector, feature_map = networks.identity_encoder(images)
        feature = networks.nonidentity_encoder(images)
        style = networks.style(vector, windows, pose, 1.2, networks.own_codes(feature))
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            image = networks.draw(feature_map, style, noise, images)
    return {"vector": vector, "map": feature_map, "feature": feature, "style": style, "image": image.float()}


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("preset", ["lite", "full"])
def test_all_parts_give_what_they_gave(preset: PresetName, count: int) -> None:
    plain = drawn(some_networks(preset), count)
    fast = drawn(optimize(some_networks(preset)), count)
    for name, values in plain.items():
        scale = 1 if name == "image" else float(values.std())
        assert (fast[name] - values).abs().max() < TOLERANCE * scale, name
    assert plain["image"].std() > 0.05


def test_half_precision_stays_as_exact_as_it_was() -> None:
    exact = drawn(some_networks("lite"), 1)["image"]
    plain, fast = (
        float((drawn(networks, 1, bf16=True)["image"] - exact).norm() / exact.norm())
        for networks in (some_networks("lite"), optimize(some_networks("lite")))
    )
    assert 0 < fast < max(2e-2, 1.5 * plain)


def test_another_noise_gives_another_picture_and_the_first_one_comes_back() -> None:
    networks = optimize(some_networks("lite"))
    widths = PRESETS["lite"]
    style, feature_map = torch.randn(1, widths.style_size), torch.randn(1, widths.generator[0], 7, 7)
    noises = [[torch.randn(1, 1, size, size) for size in networks.generator.noise_sizes] for _ in range(2)]
    with torch.inference_mode():
        first, other, again = (
            networks.draw(feature_map, style, noise, torch.zeros(1, 3, 224, 224)) for noise in (*noises, noises[0])
        )
    assert not torch.equal(first, other)
    assert torch.equal(first, again)


def test_weights_survive_being_prepared_and_used() -> None:
    state = {name: value.clone() for name, value in some_networks("lite").state_dict().items()}
    kept = {name: value.clone() for name, value in state.items()}
    drawn(optimize(build("lite", {name: value for name, value in state.items() if "num_batches" not in name})), 1)
    assert all(torch.equal(state[name], kept[name]) for name in state)
