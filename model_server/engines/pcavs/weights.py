"""PC-AVS's weights: the name in their files, and untrained ones. Does not import torch."""

from __future__ import annotations

from functools import partial

from model_server.engines import weights_file
from model_server.engines.base import WeightsInfo
from model_server.networks.pcavs.presets import PresetName

NAME = "pcavs"
write_weights = partial(weights_file.write_weights, engine=NAME)


def untrained(preset: PresetName = "lite") -> WeightsInfo:
    """The built-in untrained values of a preset; the same on every computer."""
    return WeightsInfo(
        id=f"untrained-{preset}-2", name=f"untrained {preset}", kind="untrained", preset=preset, engine=NAME
    )
