"""What an actor's weights file says of all the networks of one trained actor. Does not import torch.

Metadata `actor` is JSON of `Actor`; tensors are named by the network they belong to: `speech.` (what it hears with,
unless that is the package's own recogniser), `speech2latent.`, and of the decoders `autoencoder.` with `pictures.`
where it works in latents, `student.`, or both; `start_noise` is the x_T that all frames share.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from model_server.engines import weights_file
from model_server.engines.base import ANGLES, WeightsInfo
from model_server.engines.pose_map import PoseMap
from model_server.errors import ErrorKind, PoseDubError

NAME = "dae_talker"
KEY = "actor"
START_NOISE = "start_noise"
SPEECH = "speech."  # begins names of tensors of what it hears with
_SAME = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
# Pose codes are the head angles themselves.
POSE_MAP = PoseMap(_SAME, (0.0, 0.0, 0.0), _SAME, (0.0, 0.0, 0.0))

Angles = tuple[float, float, float]


@dataclass(frozen=True)
class Actor:
    """What an actor's weights file says besides its tensors.

    Attributes:
        name: of the actor.
        pose_low, pose_high: 1st and 99th percentile of yaw, pitch and roll of the training frames, degrees: what was
            never seen cannot be drawn. Signs as of `PoseMap`.
        pose_rescale: factors that bring the deviation of predicted yaw, pitch and roll back to the training frames',
            which regression shrinks; 1 where it was not measured.
        resolution: width and height of the pictures.
        sizes: of the networks, as `ActorNetworks.sizes` gives them.
        recogniser: SHA-256 of the package's speech recogniser where that is what it hears with and the file leaves it
            out; "" where the file holds what it hears with.
        licence: lines on what it was trained with and under which terms.
        facts: whatever else is known of the training: steps, hours, figures.
    """

    name: str
    pose_low: Angles
    pose_high: Angles
    pose_rescale: Angles = (1.0, 1.0, 1.0)
    resolution: int = 0
    sizes: Mapping[str, Any] = field(default_factory=dict)
    recogniser: str = ""
    licence: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("pose_low", "pose_high", "pose_rescale"):
            values = tuple(float(value) for value in getattr(self, name))
            if len(values) != len(ANGLES):
                raise ValueError(f"{name} must be {len(ANGLES)} numbers")
            object.__setattr__(self, name, values)
        object.__setattr__(self, "licence", tuple(self.licence))
        if any(low > high for low, high in zip(self.pose_low, self.pose_high, strict=True)):
            raise ValueError("pose_low lies above pose_high")

    def to_json(self) -> str:
        """Text for the file's metadata."""
        return json.dumps(asdict(self))

    def holds(self, tensor: str) -> bool:
        """Whether a tensor of the networks, by its name, is in the file."""
        return not (self.recogniser and tensor.startswith(SPEECH))

    @staticmethod
    def from_json(text: str) -> Actor:
        """Inverse of `to_json`; ValueError for anything else."""
        try:
            return Actor(**json.loads(text))
        except TypeError as problem:
            raise ValueError(str(problem)) from problem


def read_actor(weights: WeightsInfo) -> Actor:
    """What the file of some weights says of its actor.

    Raises:
        PoseDubError: it says nothing that can be understood.
    """
    assert weights.path is not None, "every actor has a file"
    return _read(weights.path, weights.id)


@lru_cache(maxsize=32)
def _read(path: Path, weights_id: str) -> Actor:
    return actor_in(path)


def actor_in(path: Path) -> Actor:
    """The same of a file that is not known yet."""
    try:
        return Actor.from_json(weights_file.read_metadata(path).get(KEY, ""))
    except ValueError as problem:
        raise PoseDubError(
            f"The weights file {path} does not say whom it draws ({problem}); export the actor again.",
            ErrorKind.CORRUPT,
        ) from problem
