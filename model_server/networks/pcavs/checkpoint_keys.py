"""Names of the published PC-AVS checkpoint's entries for the names used here.

Each table is read from top to bottom: every fragment on the left that occurs in one of our names is replaced by the
one on the right. Entries of the checkpoint that no name leads to (class heads, the style network, fixed filters) are
not used for inference.
"""

from __future__ import annotations

Table = tuple[tuple[str, str], ...]

_HOURGLASS: Table = (
    ("hourglass.inner.inner.inner.inner.", "m0.b2_plus_1."),
    *(
        (f"hourglass.{'inner.' * (4 - level)}{ours}.", f"m0.{theirs}_{level}.")
        for level in (1, 2, 3, 4)
        for ours, theirs in (("skip", "b1"), ("down", "b2"), ("up", "b3"))
    ),
)

_IDENTITY: Table = (
    ("map_head.", "conv1x1."),
    ("stem.conv.", "model.conv1."),
    ("stem.norm.", "model.bn1."),
    *((f"stages.{n}.", f"model.layer{n + 1}.") for n in range(4)),
    *(
        pair
        for n, layer in enumerate(("reduce", "grouped", "expand"), 1)
        for pair in ((f"{layer}.conv.", f"conv{n}."), (f"{layer}.norm.", f"bn{n}."))
    ),
    ("shortcut.conv.", "downsample.0."),
    ("shortcut.norm.", "downsample.1."),
)

_NONIDENTITY: Table = (
    ("trunk.", "model."),
    *_HOURGLASS,
    ("stem.", "conv1."),
    ("stem_norm.", "bn1."),
    *((f"entry.{n}.", f"conv{n + 2}.") for n in range(3)),
    *(
        pair
        for n in range(3)
        for pair in ((f"branches.{n}.conv.", f"conv{n + 1}."), (f"branches.{n}.norm.", f"bn{n + 1}."))
    ),
    ("shortcut.norm.", "downsample.0."),
    ("shortcut.conv.", "downsample.2."),
    ("top.", "top_m_0."),
    ("bridge.", "conv_last0."),
    ("bridge_norm.", "bn_end0."),
    ("landmarks.", "l0."),
    ("landmarks_norm.", "bn5."),
    ("squeeze.", "conv6."),
    ("readout.", "fc."),
    ("mouth_head.", "to_mouth."),
    ("mouth_embedding.", "mouth_embed.1."),
    ("pose_head.", "to_headpose."),
    ("pose_embedding.", "headpose_embed.1."),
)

_SPEECH: Table = (
    ("stem.", "model.conv1."),
    ("stem_norm.", "model.bn1."),
    *((f"stages.{n}.", f"model.layer{n + 1}.") for n in range(4)),
    ("first.conv.", "conv1."),
    ("first.norm.", "bn1."),
    ("second.conv.", "conv2."),
    ("second.norm.", "bn2."),
    ("excitation.", "se.fc."),
    ("shortcut.conv.", "downsample.0."),
    ("shortcut.norm.", "downsample.1."),
    ("attention.", "model.attention."),
    ("readout.", "model.fc."),
)

_GENERATOR: Table = (
    ("first.", "conv1."),
    ("first_rgb.", "to_rgb1."),
    *(
        pair
        for n in range(5)
        for pair in (
            (f"blocks.{n}.up.", f"convs.{2 * n}."),
            (f"blocks.{n}.conv.", f"convs.{2 * n + 1}."),
            (f"blocks.{n}.to_rgb.", f"to_rgbs.{n}."),
        )
    ),
    ("noise_strength", "noise.weight"),
)

# Our network: the published network's letter and the table of its entries.
TABLES: dict[str, tuple[str, Table]] = {
    "identity_encoder": ("V", _IDENTITY),
    "nonidentity_encoder": ("E", _NONIDENTITY),
    "speech_encoder": ("A_sync", _SPEECH),
    "generator": ("G", _GENERATOR),
}


def published_key(name: str) -> tuple[str, str]:
    """Published network and entry, such as ("G", "conv1.noise.weight"), for one of our names."""
    network, _, key = name.partition(".")
    letter, table = TABLES[network]
    for ours, theirs in table:
        key = key.replace(ours, theirs)
    return letter, _activation_bias(key) if letter == "G" else key


def _activation_bias(key: str) -> str:
    """The published styled convolutions keep their bias in the activation, to-RGB and modulation in themselves."""
    styled = key.startswith("conv") and key.endswith(".bias") and "modulation" not in key
    return key.replace(".bias", ".activate.bias") if styled else key
