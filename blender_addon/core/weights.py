"""What is known of the networks' weights that a server offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .engines import EngineTraits, Sizes
from .pose_map import PoseMap

WeightsKind = Literal["untrained", "trained", "imported", "unknown"]


@dataclass(frozen=True)
class WeightsInfo:
    """A weights file of the server.

    Attributes:
        weights_id: SHA-256 of its values.
        pose_map: only of weights on offer, and None where it is not known.
        engine: name of the engine that draws with them, "" where it is not known.
        sizes: pictures that they draw; only of weights on offer, and None where it is not known.
        traits: what they want of a dub; only of weights on offer, and None where it is what their engine wants.
    """

    weights_id: str
    name: str
    kind: WeightsKind
    preset: str = ""
    pose_map: PoseMap | None = None
    engine: str = ""
    sizes: Sizes | None = None
    traits: EngineTraits | None = None
