"""Stages: which batches a task gets, which optimisers move it, and how one step goes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor, nn

from model_server.training.distributed import ProcessGroup
from model_server.training.learner import SLOWING, Learner
from model_server.training.losses import Losses
from model_server.training.pcavs.config import Config, Schedule, StageName
from model_server.training.pcavs.data import Chunks, ClipStore, Frames, Pairs
from model_server.training.pcavs.encoder_tasks import IdentityTask, PerceptualTask, SpeechTask, TrunkTask, chunk_length
from model_server.training.pcavs.generator_tasks import CriticTask, GeneratorTask
from model_server.training.pcavs.models import Models
from model_server.training.pcavs.samplers import sample_chunks, sample_frames, sample_pairs


class Stage(ABC):
    """One part of the training.

    Attributes:
        name: of the stage.
        schedule: its lengths.
        learners: by name, in the order in which checkpoints keep their optimisers.
    """

    name: StageName
    schedule: Schedule
    learners: dict[str, Learner]

    @abstractmethod
    def sample(self, store: ClipStore, rng: np.random.Generator) -> Any:
        """One micro-batch."""

    @abstractmethod
    def learn(self, batch: Any, step: int, last: bool) -> Losses:
        """Add one micro-batch's gradients; `last` of its step. Returns the losses without gradient."""

    @abstractmethod
    def judge(self, batch: Any, step: int) -> Losses:
        """Losses of a batch that is not learnt from."""

    def columns(self, batch: Any) -> list[Tensor]:
        """Pictures (n, 3, h, h) of each row of a batch, to be looked at side by side; none by default."""
        return []

    def update(self, step: int) -> None:
        """Move all weights by the gradients gathered, ever less towards the end."""
        left = (self.schedule.steps - step) / self.schedule.steps
        for learner in self.learners.values():
            learner.update(min(1.0, left / SLOWING))

    def state(self) -> dict[str, Any]:
        """The optimisers' states."""
        return {name: learner.optimizer.state_dict() for name, learner in self.learners.items()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        for name, learner in self.learners.items():
            learner.optimizer.load_state_dict(state[name])


class SupervisedStage(Stage):
    """One task and one optimiser."""

    _TASKS: dict[str, Callable[[Models, Config], nn.Module]] = {
        "trunk": TrunkTask,
        "identity": IdentityTask,
        "speech": SpeechTask,
        "perceptual": PerceptualTask,
    }

    def __init__(self, name: StageName, models: Models, config: Config, process_group: ProcessGroup) -> None:
        self.name = name
        self.schedule = getattr(config, name)
        speech = config.speech
        self._voices, self._strength = speech.voices, config.augmentation
        self.chunk = chunk_length(speech.window, speech.shifts, speech.stride)
        task = self._TASKS[name](models, config)
        self.learners = {"task": Learner(task, self.schedule.learning_rate, (0.9, 0.999), process_group)}

    def sample(self, store: ClipStore, rng: np.random.Generator) -> Frames | Chunks:
        """See `Stage.sample`."""
        if self.name == "speech":
            frames = sample_chunks(store, self.schedule.batch, self.chunk, rng)
            voices = store.voices.sample(self._voices, self._strength, rng) if store.voices else None
            return Chunks(frames, voices)
        return sample_frames(store, self.schedule.batch, rng)

    def learn(self, batch: Frames | Chunks, step: int, last: bool) -> Losses:
        """See `Stage.learn`."""
        learner = self.learners["task"]
        with learner.gathering(last):
            total, losses = learner.shared(batch)
            (total / self.schedule.accumulate).backward()
        return _detached(losses | {"total": total})

    def judge(self, batch: Frames | Chunks, step: int) -> Losses:
        """See `Stage.judge`."""
        total, losses = self.learners["task"].task(batch)
        return losses | {"total": total}


class AdversarialStage(Stage):
    """Generator and discriminator in turn, the generator at half and the discriminator at twice the rate (TTUR)."""

    name = "generator"

    def __init__(self, models: Models, config: Config, process_group: ProcessGroup) -> None:
        self.schedule = config.generator
        self.critic_start, self.targets = config.generator.critic_start, config.generator.targets
        rate = self.schedule.learning_rate
        task = GeneratorTask(models, config)
        models.discriminator.requires_grad_(True)
        self.learners = {
            "generator": Learner(task, rate / 2, (config.generator.momentum, 0.99), process_group),
            "critic": Learner(CriticTask(models, config), rate * 2, (0.0, 0.9), process_group),
        }
        self._discriminator = models.discriminator

    def sample(self, store: ClipStore, rng: np.random.Generator) -> Pairs:
        """See `Stage.sample`."""
        return sample_pairs(store, self.schedule.batch, self.targets, rng)

    def learn(self, batch: Pairs, step: int, last: bool) -> Losses:
        """See `Stage.learn`."""
        plays = step >= self.critic_start
        generator, critic = self.learners["generator"], self.learners["critic"]
        self._discriminator.requires_grad_(False)
        with generator.gathering(last):
            total, losses, drawn = generator.shared(batch, step, self._discriminator if plays else None)
            (total / self.schedule.accumulate).backward()
        self._discriminator.requires_grad_(True)
        losses["total"] = total
        return _detached(losses | (self._learn_critic(critic, batch.target.images, drawn, last) if plays else {}))

    def judge(self, batch: Pairs, step: int) -> Losses:
        """See `Stage.judge`."""
        total, losses, _ = self.learners["generator"].task(batch, step, None)
        return losses | {"total": total}

    def columns(self, batch: Pairs) -> list[Tensor]:
        """See `Stage.columns`: portrait, frame, bent portrait, painted part, mask and truth."""
        task: Any = self.learners["generator"].task
        drawing = task.draw(batch)
        mask = drawing.mask.expand(-1, 3, -1, -1) * 2 - 1
        portraits = batch.portrait.images.repeat_interleave(batch.each, 0)
        return [portraits, drawing.image, drawing.warped, drawing.rgb, mask, batch.target.images]

    def _learn_critic(self, critic: Learner, real: Tensor, drawn: Tensor, last: bool) -> Losses:
        with critic.gathering(last):
            loss, losses = critic.shared(real, drawn)
            (loss / self.schedule.accumulate).backward()
        return losses


def _detached(losses: Losses) -> Losses:
    return {name: value.detach() for name, value in losses.items()}
