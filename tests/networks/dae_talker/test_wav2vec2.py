"""wav2vec 2.0: its arithmetic against one written out plainly, its timing, and the names in published files."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model_server.networks.dae_talker.speech_features import RecogniserReader, Wav2Vec2Reader, reader_of
from model_server.networks.dae_talker.wav2vec2 import STEP, Wav2Vec2, Wav2Vec2Size
from model_server.networks.dae_talker.wav2vec2_keys import fairseq_key, published_state, transformers_key
from model_server.networks.speech_recogniser.recogniser import Recogniser, RecogniserSize

SMALL = Wav2Vec2Size(channels=8, width=12, inside=20, blocks=2, heads=3, kernel=6, groups=2)
Array = NDArray[np.float64]
Tensors = dict[str, torch.Tensor]


@pytest.fixture
def network() -> Wav2Vec2:
    torch.manual_seed(3)
    made = Wav2Vec2(SMALL).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


def samples(steps: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(1, steps * STEP, generator=torch.Generator().manual_seed(seed))


def gelu(x: Array) -> Array:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def normed(x: Array, weight: Array, bias: Array) -> Array:
    """Layer norm over the last axis."""
    middle = x - x.mean(-1, keepdims=True)
    return middle / np.sqrt((middle**2).mean(-1, keepdims=True) + 1e-5) * weight + bias


def convolved(x: Array, weight: Array, stride: int) -> Array:
    """Convolution of (channels, t) by (out, channels, kernel), step by step."""
    kernel = weight.shape[2]
    starts = range(0, x.shape[1] - kernel + 1, stride)
    return np.stack([np.einsum("ock,ck->o", weight, x[:, start : start + kernel]) for start in starts], 1)


def reference(given: Tensors, sound: Array) -> list[Array]:
    """What the paper says, in loops: features (t, width) before and after each block."""
    of = {name: value.double().numpy() for name, value in given.items()}
    x = np.pad(10 * sound, 40)[None]
    for n, stride in enumerate((5, 2, 2, 2, 2, 2, 2)):
        x = convolved(x, of[f"convolutions.{n}.weight"], stride)
        if n == 0:
            x = normed(x, 1.0, 0.0) * of["first_norm.weight"][:, None] + of["first_norm.bias"][:, None]
        x = gelu(x)
    x = normed(x.T, of["features_norm.weight"], of["features_norm.bias"])
    x = x @ of["projection.weight"].T + of["projection.bias"]
    x = normed(x + positions(of, x), of["entry_norm.weight"], of["entry_norm.bias"])
    outputs = [x]
    for n in range(SMALL.blocks):
        part = {name.removeprefix(f"blocks.{n}."): value for name, value in of.items()}
        x = block(part, x)
        outputs.append(x)
    return outputs


def positions(of: dict[str, Array], x: Array) -> Array:
    """Grouped convolution around each step, the later one of its two middles being the step."""
    width, kernel, groups = SMALL.width, SMALL.kernel, SMALL.groups
    padded = np.pad(x, ((kernel // 2, kernel // 2), (0, 0)))
    size, out = width // groups, np.zeros_like(x)
    for group in range(groups):
        part = slice(group * size, (group + 1) * size)
        out[:, part] = convolved(padded[:, part].T, of["position.weight"][part], 1).T[: len(x)]
    return gelu(out + of["position.bias"])


def block(of: dict[str, Array], x: Array) -> Array:
    def through(name: str, y: Array) -> Array:
        return y @ of[f"{name}.weight"].T + of[f"{name}.bias"]

    heads = []
    parts = (np.split(through(name, x), SMALL.heads, 1) for name in ("query", "key", "value"))
    for q, k, v in zip(*parts, strict=True):
        scores = np.exp(q @ k.T / math.sqrt(q.shape[1]))
        heads.append(scores / scores.sum(1, keepdims=True) @ v)
    x = normed(x + through("out", np.concatenate(heads, 1)), of["attention_norm.weight"], of["attention_norm.bias"])
    return normed(x + through("narrow", gelu(through("widen", x))), of["norm.weight"], of["norm.bias"])


@torch.no_grad()
def test_arithmetic_is_that_of_the_plain_form(network: Wav2Vec2) -> None:
    sound = samples(5)
    expected = reference(network.state_dict(), sound[0].double().numpy())
    found = network(sound)
    assert len(found) == 1 + SMALL.blocks
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours[0].numpy(), theirs, atol=2e-4)


@torch.no_grad()
def test_a_step_lies_around_its_samples(network: Wav2Vec2) -> None:
    network.first_norm = torch.nn.Identity()  # which hears the whole sound
    before, after = samples(9), samples(9)
    after[:, 4 * STEP + 100 : 4 * STEP + 220] += 0.1
    changed = (network._extracted(after) != network._extracted(before)).any(2)[0]
    assert changed.nonzero().flatten().tolist() == [4]


@torch.no_grad()
def test_features_come_in_whole_steps(network: Wav2Vec2) -> None:
    reader = reader_of(network)
    read = reader.read(torch.nn.functional.pad(samples(6), (0, 1)))
    assert isinstance(reader, Wav2Vec2Reader) and (reader.layers, reader.features, reader.prosody) == (3, 12, 0)
    assert read.layers.shape == (1, 3, 7, 12) and read.prosody.shape == (1, 7, 0)
    with pytest.raises(ValueError, match="whole steps"):
        network(torch.zeros(1, 500))


@torch.no_grad()
def test_the_recogniser_tells_prosody_beside_its_blocks() -> None:
    torch.manual_seed(0)
    reader = reader_of(Recogniser(RecogniserSize(5, 16, 2, 2, 8, 5)).eval())
    assert isinstance(reader, RecogniserReader)
    read = reader.read(samples(20))
    assert read.layers.shape == (1, reader.layers, 20, reader.features)
    assert read.prosody.shape == (1, 20, reader.prosody)
    assert ((read.prosody[..., 1] > 0) & (read.prosody[..., 1] < 1)).all()


def as_published(network: Wav2Vec2, key: Callable[[str], str], prefix: str, names: tuple[str, str]) -> Tensors:
    """The network's tensors in a published layout, beside others that are not needed."""
    found = {prefix + key(name): value for name, value in network.state_dict().items()}
    layer = prefix + key("position.weight").removesuffix("weight")
    weight = found.pop(f"{layer}weight")
    length, direction = names
    found[layer + length] = 2 * weight.norm(dim=(0, 1), keepdim=True)
    found[layer + direction] = 7 * weight
    return found | {"quantizer.vars": torch.zeros(3), f"{prefix}mask_emb": torch.zeros(4)}


@pytest.mark.parametrize("key", [transformers_key, fairseq_key])
@pytest.mark.parametrize("prefix", ["", "wav2vec2.", "w2v_encoder.w2v_model."])
@pytest.mark.parametrize(
    "names", [("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1")]
)
def test_published_files_are_read(
    network: Wav2Vec2, key: Callable[[str], str], prefix: str, names: tuple[str, str]
) -> None:
    state = published_state(as_published(network, key, prefix, names), SMALL)
    for name, value in network.state_dict().items():
        expected = 2 * value if name == "position.weight" else value
        torch.testing.assert_close(state[name], expected)


def test_names_in_published_files() -> None:
    """As they stand in the files of wav2vec 2.0 base."""
    with torch.device("meta"):
        own = set(Wav2Vec2().state_dict())
    assert {
        "feature_extractor.conv_layers.0.conv.weight", "feature_extractor.conv_layers.0.layer_norm.bias",
        "feature_projection.layer_norm.weight", "feature_projection.projection.bias",
        "encoder.pos_conv_embed.conv.bias", "encoder.layer_norm.weight",
        "encoder.layers.11.attention.q_proj.weight", "encoder.layers.11.layer_norm.weight",
        "encoder.layers.0.feed_forward.intermediate_dense.bias", "encoder.layers.0.feed_forward.output_dense.weight",
        "encoder.layers.5.final_layer_norm.bias",
    } <= set(map(transformers_key, own))  # fmt: skip
    assert {
        "feature_extractor.conv_layers.6.0.weight", "feature_extractor.conv_layers.0.2.weight",
        "layer_norm.bias", "post_extract_proj.weight", "encoder.pos_conv.0.bias", "encoder.layer_norm.bias",
        "encoder.layers.11.self_attn.v_proj.bias", "encoder.layers.11.self_attn_layer_norm.weight",
        "encoder.layers.0.fc1.weight", "encoder.layers.0.fc2.bias", "encoder.layers.5.final_layer_norm.weight",
    } <= set(map(fairseq_key, own))  # fmt: skip


def test_the_base_network_is_as_large_as_published() -> None:
    """94.4 million parameters, quantizer and heads left out."""
    with torch.device("meta"):
        assert sum(one.numel() for one in Wav2Vec2().parameters()) == pytest.approx(94.37e6, rel=0.001)


def test_what_does_not_fit_is_named(network: Wav2Vec2) -> None:
    found = as_published(network, transformers_key, "", ("weight_g", "weight_v"))
    del found["encoder.layers.1.attention.k_proj.bias"]
    with pytest.raises(ValueError, match="encoder.layers.1.attention.k_proj.bias is missing"):
        published_state(found, SMALL)
    with pytest.raises(ValueError, match=r"encoder.layer_norm.weight is \(12,\) instead of \(24,\)"):
        published_state(found, replace(SMALL, width=24))
