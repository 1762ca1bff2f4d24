"""Names of wav2vec 2.0's tensors in published files: those of its authors (fairseq) and those of transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from model_server.networks.dae_talker.wav2vec2 import BASE, Wav2Vec2, Wav2Vec2Size

# Our names of a block's layers, theirs in transformers, theirs in fairseq.
_BLOCK = {
    "query": ("attention.q_proj", "self_attn.q_proj"),
    "key": ("attention.k_proj", "self_attn.k_proj"),
    "value": ("attention.v_proj", "self_attn.v_proj"),
    "out": ("attention.out_proj", "self_attn.out_proj"),
    "attention_norm": ("layer_norm", "self_attn_layer_norm"),
    "widen": ("feed_forward.intermediate_dense", "fc1"),
    "narrow": ("feed_forward.output_dense", "fc2"),
    "norm": ("final_layer_norm", "final_layer_norm"),
}
_OTHERS = {
    "first_norm": ("feature_extractor.conv_layers.0.layer_norm", "feature_extractor.conv_layers.0.2"),
    "features_norm": ("feature_projection.layer_norm", "layer_norm"),
    "projection": ("feature_projection.projection", "post_extract_proj"),
    "position": ("encoder.pos_conv_embed.conv", "encoder.pos_conv.0"),
    "entry_norm": ("encoder.layer_norm", "encoder.layer_norm"),
}
# What stands before all names of files that hold more than this network: recognisers made of it.
_PREFIXES = ("", "wav2vec2.", "w2v_encoder.w2v_model.", "w2v_model.")
# The position's weight is kept as length and direction; newer files name them otherwise.
_LENGTHS = ("weight_g", "parametrizations.weight.original0")
_DIRECTIONS = ("weight_v", "parametrizations.weight.original1")


def published_state(found: Mapping[str, Tensor], size: Wav2Vec2Size = BASE) -> dict[str, Tensor]:
    """Tensors for `Wav2Vec2.load_state_dict` out of those of a published file, whichever its layout.

    What else the file holds (masks, quantizer, heads) is left alone.

    Raises:
        ValueError: naming every tensor that is missing or of another shape.
    """
    with torch.device("meta"):
        wanted = {name: tuple(value.shape) for name, value in Wav2Vec2(size).state_dict().items()}
    layout, prefix = _layout(found)
    state, problems = {}, []
    for name, shape in wanted.items():
        key = prefix + layout(name)
        value = _value(found, key)
        if value is None:
            problems.append(f"{key} is missing")
        elif tuple(value.shape) != shape:
            problems.append(f"{key} is {tuple(value.shape)} instead of {shape}")
        else:
            state[name] = value.float()
    if problems:
        raise ValueError(", ".join(problems))
    return state


def transformers_key(name: str) -> str:
    """Name of a tensor of `Wav2Vec2` in the layout of transformers."""
    return _key(name, 0)


def fairseq_key(name: str) -> str:
    """Name of a tensor of `Wav2Vec2` in the layout of its authors."""
    return _key(name, 1)


def _key(name: str, layout: int) -> str:
    layer, _, kind = name.rpartition(".")
    head, _, rest = layer.partition(".")
    if head == "convolutions":
        return f"feature_extractor.conv_layers.{rest}.{('conv', '0')[layout]}.{kind}"
    if head == "blocks":
        number, _, part = rest.partition(".")
        return f"encoder.layers.{number}.{_BLOCK[part][layout]}.{kind}"
    return f"{_OTHERS[layer][layout]}.{kind}"


def _layout(found: Mapping[str, Tensor]) -> tuple[Callable[[str], str], str]:
    """The layout and the prefix under which most of a file's tensors are known."""
    probe = "convolutions.1.weight"
    for layout in (transformers_key, fairseq_key):
        for prefix in _PREFIXES:
            if prefix + layout(probe) in found:
                return layout, prefix
    return transformers_key, ""


def _value(found: Mapping[str, Tensor], key: str) -> Tensor | None:
    """A tensor, put together from length and direction where the file keeps it so."""
    if key in found:
        return found[key]
    layer, _, kind = key.rpartition(".")
    if kind != "weight":
        return None
    for length, direction in zip(_LENGTHS, _DIRECTIONS, strict=True):
        g, v = found.get(f"{layer}.{length}"), found.get(f"{layer}.{direction}")
        if g is not None and v is not None:
            # One length for each place of the kernel (weight_norm over dimension 2).
            return v.float() * (g.float() / v.float().norm(dim=(0, 1), keepdim=True))
    return None
