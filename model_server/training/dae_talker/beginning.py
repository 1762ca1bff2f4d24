"""What a run begins with: stages of another run as they are, or an actor's networks to train further."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from model_server.engines import weights_file
from model_server.engines.dae_talker.weights import NAME
from model_server.errors import ErrorKind, PoseDubError
from model_server.training import checkpoint as checkpoints
from model_server.training.checkpoint import Checkpoint
from model_server.training.dae_talker.config import STAGES, DaeConfig, StageName
from model_server.training.dae_talker.models import AVERAGED

# An actor's networks that learn, by the stage that they have here and in the file.
_OF_ACTOR = ("pictures", "autoencoder", "speech2latent", "student")


@dataclass(frozen=True)
class Beginning:
    """What a new run of equal networks begins with.

    Attributes:
        source: another run's folder: what it handed on before `stage` is taken over, the rest is trained anew. Or an
            actor's weights file: all its networks are taken, `stage` and those after it are trained further.
        stage: the first stage that is trained.
    """

    source: Path
    stage: StageName

    @property
    def further(self) -> bool:
        """Whether stages go on from the values that they are given."""
        return self.source.is_file()

    def checkpoint(self, config: DaeConfig) -> Checkpoint:
        """What a run of `config` takes over; PoseDubError where there is no checkpoint or no actor."""
        return self._of_actor(config) if self.further else self._of_run(config)

    def _of_run(self, config: DaeConfig) -> Checkpoint:
        path = checkpoints.latest(self.source)
        if path is None:
            raise PoseDubError(f"There is no checkpoint in {self.source}; train it first.", ErrorKind.NOT_FOUND)
        found, names = checkpoints.load(path), self._before()
        models = {key: value for key, value in found.models.items() if key.split(".")[1] in names}
        steps = {name: count for name, count in found.steps.items() if name in names}
        for name in steps:
            if steps[name] >= found.settings.get(name, {}).get("steps", 0):  # finished there is finished here
                steps[name] = max(steps[name], getattr(config, name).steps)
        return Checkpoint("", self.stage, steps, models, {})

    def _of_actor(self, config: DaeConfig) -> Checkpoint:
        weights = weights_file.describe(self.source)
        if weights.engine != NAME:
            raise PoseDubError(
                f"{self.source} holds no actor of DAE-Talker but weights of {weights.engine}; give an actor's file.",
                ErrorKind.UNSUPPORTED,
            )
        state = weights_file.read_state(self.source)
        models: dict[str, Tensor] = {
            f"{AVERAGED}{name}": value.float() for name, value in state.items() if name.split(".")[0] in _OF_ACTOR
        }
        steps = {name: getattr(config, name).steps for name in self._before() if name in _OF_ACTOR}
        return Checkpoint("", self.stage, steps, models, {})

    def _before(self) -> Sequence[str]:
        return STAGES[: STAGES.index(self.stage)]
