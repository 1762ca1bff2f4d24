"""Beginning with what another run has trained, so that an ablation trains only what it changes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from model_server.engines.weights_file import read_pose_map, read_state
from model_server.errors import ErrorKind, PoseDubError
from model_server.networks.pcavs.presets import FITTED_PARTS, LOWER_FACE, OPTIONAL_PARTS
from model_server.training import checkpoint as checkpoints
from model_server.training.face_network import ANGLE_UNIT
from model_server.training.pcavs.config import STAGES, StageName
from model_server.training.pcavs.models import Models

log = logging.getLogger(__name__)

_COVER = f"{LOWER_FACE}cover."
# What each stage leaves to the later ones; a stage that trains it further leaves it as it is then.
_TRAINED: dict[StageName, tuple[str, ...]] = {
    "trunk": ("nonidentity_encoder.trunk",),
    "identity": ("identity_encoder", "classifier"),
    "speech": (
        "speech_encoder",
        "nonidentity_encoder.mouth_head",
        "lip_readout",
        "content_readout",
        "phoneme_readout",
    ),
    "perceptual": ("face", "face_classifier"),
}


@dataclass(frozen=True)
class WarmStart:
    """Another run, or a weights file, of which the stages before one are taken over.

    Attributes:
        run: folder of that run; what its frozen encoders read is kept there and shared. Or the file, of which all
            networks that it has are taken, but a lower face's only by a preset that has one.
        first: the first stage that is trained anew.
    """

    run: Path
    first: StageName

    @property
    def stages(self) -> tuple[StageName, ...]:
        """The stages taken over."""
        return STAGES[: STAGES.index(self.first)]

    def give(self, models: Models) -> None:
        """Copy what those stages trained into `models`.

        Raises:
            PoseDubError: no checkpoint, or one of networks of other sizes.
        """
        if self.run.is_file():
            self._give_weights(models)
            return
        path = checkpoints.latest(self.run)
        if path is None:
            raise PoseDubError(f"There is no checkpoint in {self.run}; train that run first.", ErrorKind.NOT_FOUND)
        parts = tuple(f"{part}." for stage in self.stages for part in _TRAINED.get(stage, ()))
        every = checkpoints.load(path).models
        found = {name: value for name, value in every.items() if _inside(name).startswith(parts)}
        own = models.state_dict()
        if not found.keys() <= own.keys() or not models.load(own | found):
            raise PoseDubError(
                f"The encoders of {path} have other sizes or saw other people; train them anew.", ErrorKind.UNSUPPORTED
            )

    def _give_weights(self, models: Models) -> None:
        own, found = models.networks.state_dict(), read_state(self.run)
        # See `speech_gate` and `lip_shape_fit`.
        left_out = tuple(OPTIONAL_PARTS[part] for part in FITTED_PARTS)
        if models.networks.lower_face is None:
            left_out += (LOWER_FACE,)
        found = {name: value for name, value in found.items() if not name.startswith(left_out)}
        grown = [name for name in found if name.startswith(_COVER) and _misfits(name, found, own)]
        if grown:  # of before it saw more of what surrounds a thing
            log.warning("what covers a face is learnt anew: %s has a smaller network for it", self.run)
            found = {name: value for name, value in found.items() if not name.startswith(_COVER)}
        if any(_misfits(name, found, own) for name in found):
            raise PoseDubError(
                f"The weights {self.run} are of other networks than are trained; choose others.", ErrorKind.UNSUPPORTED
            )
        for networks in (models.networks, models.averaged):
            networks.load_state_dict(own | found)
        pose_map = read_pose_map(self.run)
        if pose_map:  # what a code meant when these weights were trained; the shortest way back, not the fitted one,
            # which makes much of directions that codes hardly use
            angles = torch.linalg.pinv(torch.tensor(pose_map.to_code)) / ANGLE_UNIT
            models.angle_readout.weight.data.copy_(angles.T)

    def bank_folder(self, run: Path) -> Path:
        """Where the run `run` keeps what frozen encoders read: with the other run, if that is one."""
        return run if self.run.is_file() else self.run


def _misfits(name: str, found: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    return name not in own or own[name].shape != found[name].shape


def _inside(name: str) -> str:
    """A tensor's name without the copy of the networks that it belongs to."""
    return name.removeprefix("networks.").removeprefix("averaged.")
