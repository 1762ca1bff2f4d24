"""Stages: which batches a network gets, what moves it, and what it is judged by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from model_server.errors import ErrorKind, PoseDubError
from model_server.networks.dae_talker.autoencoder import DiffusionAutoencoder
from model_server.networks.dae_talker.diffusion import NoiseSchedule
from model_server.networks.dae_talker.picture_autoencoder import PictureAutoencoder
from model_server.networks.dae_talker.semantic_encoder import SemanticEncoder
from model_server.training.averaging import average
from model_server.training.dae_talker.config import Schedule, StageName
from model_server.training.dae_talker.data import LEAST_SHAPE, ActorStore, Frames
from model_server.training.dae_talker.losses import moved, part_weights, psnr, standardized
from model_server.training.dae_talker.models import DaeModels
from model_server.training.dae_talker.tasks import AutoencoderTask, CriticTask, FaceTask, PicturesTask
from model_server.training.discriminator import Discriminator
from model_server.training.distributed import ProcessGroup
from model_server.training.face_network import FaceNetwork
from model_server.training.learner import GRADIENT_NORM, Learner
from model_server.training.losses import Losses, correlation
from model_server.training.run_log import grid

_BETAS = (0.9, 0.999)
_CRITIC_BETAS = (0.0, 0.9)
_JUDGED, _COMPARED, _SHOWN = 16, 12, 6  # unseen frames for figures, for those of a sampler, frames of a grid
_JUDGE_STEPS = 10  # of the sampler, for figures on the way
_STANDARDIZED, _ENCODED = 512, 32  # frames that statistics are taken over, and those encoded at once
_LEAST_SWAP = 0.3  # dB by which another frame's latent must draw worse


class Stage(ABC):
    """One network's training.

    Args:
        models: all networks.
        store: frames to learn from.
        unseen: frames to judge by; may be empty.
        process_group: the processes that train together.
    """

    name: StageName
    learners: dict[str, Learner]

    def __init__(self, models: DaeModels, store: ActorStore, unseen: ActorStore, process_group: ProcessGroup) -> None:
        self.models, self.store, self.process_group = models, store, process_group
        self.unseen = unseen if len(unseen) else store
        self.device = process_group.device
        self.learners = {}

    @property
    def schedule(self) -> Schedule:
        """Its lengths."""
        return cast(Schedule, getattr(self.models.config, self.name))

    @property
    def network(self) -> nn.Module:
        """What learns."""
        return self.models.networks[self.name]

    def begin(self) -> None:  # noqa: B027 - most stages have nothing to prepare
        """Prepare what learns, before the stage's first step."""

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Any:
        """A batch; made in a thread."""

    @abstractmethod
    def learn(self, batch: Any, step: int) -> Losses:
        """Gather a batch's gradients; the losses without gradient."""

    def update(self, step: int) -> Tensor:
        """Move the weights and their average; the norm of the main gradients."""
        norms = [learner.update(self._pace(step)) for learner in self.learners.values() if _moved(learner)]
        average(self.models.averaged[self.name], self.network, self.schedule.ema_decay, step)
        return norms[0]

    def judge(self, step: int) -> dict[str, float]:
        """Figures of the averaged network on frames not learnt from."""
        return {}

    def picture(self) -> Tensor | None:
        """A grid of samples (3, h, w) in [-1, 1], if there is something to look at."""
        return None

    def finish(self) -> None:
        """Take the average for what was learnt."""
        self.models.finish(self.name)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of the stage beside the networks."""
        return {name: learner.optimizer.state_dict() for name, learner in self.learners.items()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        for name, learner in self.learners.items():
            learner.optimizer.load_state_dict(state[name])

    def _learner(
        self, task: nn.Module, gradient_norm: float = GRADIENT_NORM, weight_decay: float | None = None
    ) -> Learner:
        """By the stage's schedule, but for a weight decay that is given."""
        schedule = self.schedule
        decay = schedule.weight_decay if weight_decay is None else weight_decay
        return Learner(task, schedule.learning_rate, _BETAS, self.process_group, gradient_norm, decay)

    def _pace(self, step: int) -> float:
        """Part of the learning rate."""
        left = (self.schedule.steps - step) / self.schedule.steps
        return min(1.0, left / self.schedule.falling) if self.schedule.falling else 1.0

    def _frames(self, store: ActorStore, rows: np.ndarray) -> Frames:
        return on_device(store.frames(rows), self.device)

    def _fixed(self, count: int) -> np.ndarray:
        """Unseen frames, the same ones each time, far from each other."""
        return np.linspace(0, len(self.unseen) - 1, count).astype(int)


class FaceStage(Stage):
    """The face network."""

    name = "face"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        weights = self.models.config.face
        self.learners = {"task": self._learner(FaceTask(cast(FaceNetwork, self.network), weights))}

    def sample(self, rng: np.random.Generator) -> Frames:
        """See `Stage.sample`."""
        return self.store.frames(self.store.draw(rng, self.schedule.batch))

    def learn(self, batch: Frames, step: int) -> Losses:
        """See `Stage.learn`."""
        total, losses = self.learners["task"].shared(on_device(batch, self.device))
        total.backward()
        return losses | {"total": total}

    def judge(self, step: int) -> dict[str, float]:
        """See `Stage.judge`."""
        frames = self._frames(self.unseen, self._fixed(_JUDGED))
        total, losses = FaceTask(self.models.face, self.models.config.face)(frames)
        return {name: float(value) for name, value in (losses | {"total": total}).items()}


class CriticStage(Stage):
    """A stage in whose last part a patch critic plays."""

    critic_width: int
    critic_from: float

    def _add_critic(self, width: int, start: float) -> None:
        torch.manual_seed(self.models.config.seed)
        self.critic = Discriminator(width).to(self.device)
        self.critic_from = start
        rate = 2 * self.schedule.learning_rate  # two time-scales (Heusel et al. 2017)
        self.learners["critic"] = Learner(CriticTask(self.critic), rate, _CRITIC_BETAS, self.process_group)

    def _plays(self, step: int) -> bool:
        return step >= self.critic_from * self.schedule.steps

    def _learn_critic(self, real: Tensor, drawn: Tensor) -> Losses:
        loss, losses = self.learners["critic"].shared(real, drawn)
        loss.backward()
        return losses

    def state(self) -> dict[str, Any]:
        """See `Stage.state`."""
        return super().state() | {"critic weights": self.critic.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """See `Stage.load_state`."""
        super().load_state(state)
        self.critic.load_state_dict(state["critic weights"])


class PicturesStage(CriticStage):
    """The small autoencoder of pictures."""

    name = "pictures"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        weights = self.models.config.pictures
        self.learners["task"] = self._learner(PicturesTask(cast(PictureAutoencoder, self.network), weights))
        self._add_critic(weights.critic_width, weights.critic_from)

    def sample(self, rng: np.random.Generator) -> Frames:
        """See `Stage.sample`."""
        return self.store.frames(self.store.draw(rng, self.schedule.batch))

    def learn(self, batch: Frames, step: int) -> Losses:
        """See `Stage.learn`."""
        frames, plays = on_device(batch, self.device), self._plays(step)
        self.critic.requires_grad_(False)
        critic = self.critic if plays else None
        total, losses, drawn = self.learners["task"].shared(frames, self.models.face, critic)
        total.backward()
        self.critic.requires_grad_(True)
        return losses | {"total": total} | (self._learn_critic(frames.images, drawn) if plays else {})

    def judge(self, step: int) -> dict[str, float]:
        """See `Stage.judge`."""
        frames = self._frames(self.unseen, self._fixed(_JUDGED))
        task = PicturesTask(cast(PictureAutoencoder, self.models.averaged["pictures"]), self.models.config.pictures)
        total, losses, drawn = task(frames, self.models.face, None)
        figures = {name: float(value) for name, value in losses.items()}
        return figures | {"total": float(total), "psnr": float(psnr(drawn, frames.images))}

    def picture(self) -> Tensor:
        """See `Stage.picture`."""
        images = self.unseen.images(self._fixed(_SHOWN)).to(self.device)
        network = cast(PictureAutoencoder, self.models.averaged["pictures"])
        return grid([images, network(images).float().clamp(-1, 1)])

    def finish(self) -> None:
        """Store the latents' statistics, too."""
        network = cast(PictureAutoencoder, self.models.averaged["pictures"])
        rows = np.linspace(0, len(self.store) - 1, _STANDARDIZED).astype(int)
        network.standardize(self.store.images(rows).to(self.device))
        super().finish()


class AutoencoderStage(Stage):
    """The diffusion autoencoder, in pixels or in the latents of pictures, which are then given.

    Attributes:
        clean, unseen_clean: what it draws, (frames, channels, h, w) in half precision; None for pixels.
        codes, unseen_codes: c of all frames (frames, latent) that stands in for the encoder's; None for that.
        reads_lips: whether the face network is trained, so that it can judge what is drawn.
    """

    name = "autoencoder"

    def __init__(
        self,
        *arguments: Any,
        clean: Tensor | None = None,
        unseen_clean: Tensor | None = None,
        codes: Tensor | None = None,
        unseen_codes: Tensor | None = None,
        reads_lips: bool = True,
    ) -> None:
        super().__init__(*arguments)
        self.clean, self.unseen_clean = clean, unseen_clean
        self.codes, self.unseen_codes = codes, unseen_codes
        self.reads_lips = reads_lips
        if codes is not None:
            cast(DiffusionAutoencoder, self.network).encoder.requires_grad_(False)
        weights, shapes = self.models.config.autoencoder, self.store.part_shapes
        self._shapes = standardized(shapes, LEAST_SHAPE)
        torch.manual_seed(self.models.config.seed)
        network, schedule = cast(DiffusionAutoencoder, self.network), NoiseSchedule.linear()
        self._task = AutoencoderTask(network, schedule, weights, shapes.shape[1]).to(self.device)
        self.learners = {"task": self._learner(self._task, weights.gradient_norm)}

    def state(self) -> dict[str, Any]:
        """See `Stage.state`."""
        reader = self._task.shape_reader
        return super().state() | ({"shape reader": reader.state_dict()} if reader else {})

    def load_state(self, state: dict[str, Any]) -> None:
        """See `Stage.load_state`."""
        super().load_state(state)
        if self._task.shape_reader:
            self._task.shape_reader.load_state_dict(state["shape reader"])

    def begin(self) -> None:
        """See `Stage.begin`: latents that differ from frame to frame."""
        if self.models.config.autoencoder.spread and self.codes is None:
            rows = np.linspace(0, len(self.store) - 1, _STANDARDIZED).astype(int)
            clean = self.store.images(rows) if self.clean is None else self.clean[rows].float()
            spread_latents(cast(DiffusionAutoencoder, self.network).encoder, clean.to(self.device))
            self.models.averaged[self.name].load_state_dict(self.network.state_dict())

    def sample(self, rng: np.random.Generator) -> tuple[Tensor | None, ...]:
        """What is to be drawn, latents that stand in for the encoder's, how much each place counts, and shapes."""
        config = self.models.config
        rows = self.store.draw_balanced(rng, self.schedule.batch, config.autoencoder.balanced)
        clean = self.store.images(rows) if self.clean is None else self.clean[rows].float()
        codes = None if self.codes is None else self.codes[rows]
        importance, parts = None, config.autoencoder.parts
        if parts:
            importance = part_weights(self.store.landmarks(rows), config.resolution, parts, clean.shape[-1])
        return clean, codes, importance, self._shapes[rows]

    def learn(self, batch: tuple[Tensor | None, ...], step: int) -> Losses:
        """See `Stage.learn`."""
        given = (value if value is None else value.to(self.device) for value in batch)
        total, losses, latent = self.learners["task"].shared(*given)
        total.backward()
        gradient = torch.zeros((), device=self.device) if latent.grad is None else latent.grad.float().norm()
        return losses | {"total": total, "log_gradient_of_c": gradient.clamp(min=1e-12).log10()}

    def judge(self, step: int) -> dict[str, float]:
        """PSNR with the own latent and with another frame's, and how lips open; stops a run that ignores c.

        The face network reads lips: `drawn_lips_r` is the correlation with what it reads of the frames themselves,
        `drawn_lips_moved` how far they go, of that.
        """
        rows = self._opening(_COMPARED)
        own, swapped = self._drawn(rows), self._drawn(np.roll(rows, 1))
        real = self._real(rows)
        figures = {"psnr": float(psnr(own, real)), "swapped_psnr": float(psnr(swapped, real))}
        if self.reads_lips:
            drawn, true = (self.models.face(images).opening.float() for images in (own, real))
            figures |= {"drawn_lips_r": correlation(drawn, true), "drawn_lips_moved": moved(drawn, true)}
        told = figures["psnr"] - figures["swapped_psnr"]
        if step >= self.models.config.autoencoder.guard_steps and told < _LEAST_SWAP:
            raise PoseDubError(
                f"After {step} steps the autoencoder draws the same whatever frame its latent c is from; begin it anew "
                "with a smaller autoencoder.learning_rate or another seed.",
                ErrorKind.UNSUPPORTED,
            )
        return figures

    def picture(self) -> Tensor:
        """Truth, drawn with its own latent, and with the one of the frame before it in the list."""
        rows = self._opening(_SHOWN)
        return grid([self._real(rows), self._drawn(rows), self._drawn(np.roll(rows, 1))])

    def _real(self, rows: np.ndarray) -> Tensor:
        return self.unseen.images(rows).to(self.device)

    def _opening(self, count: int) -> np.ndarray:
        """Unseen frames, the same ones each time, from lips that are closed to the widest open ones."""
        wanted = np.linspace(self.unseen.opening.min(), self.unseen.opening.max(), count)
        return np.abs(self.unseen.opening[None] - wanted[:, None]).argmin(1)

    def _drawn(self, rows: np.ndarray) -> Tensor:
        """What the averaged network draws of unseen frames' latents, as pictures."""
        if self.unseen_codes is not None:
            latents = self.unseen_codes[rows].to(self.device)
        else:
            clean = self.unseen.images(rows) if self.unseen_clean is None else self.unseen_clean[rows].float()
            latents = self.models.autoencoder.encoder(clean.to(self.device)).float()
        return self.models.decoded(self.models.rendered(latents, _JUDGE_STEPS)).clamp(-1, 1)


@torch.no_grad()
def spread_latents(encoder: SemanticEncoder, clean: Tensor) -> None:
    """Scale and shift an encoder's last layer until its latents have mean 0 and deviation 1 over pictures."""
    latents = torch.cat([encoder(part) for part in clean.split(_ENCODED)])
    deviation = latents.std(0).clamp(min=1e-8)
    encoder.out.weight.div_(deviation[:, None])
    encoder.out.bias.sub_(latents.mean(0)).div_(deviation)


def on_device(frames: Frames, device: torch.device) -> Frames:
    """Frames whose tensors lie there."""
    return Frames(*(value.to(device) for value in vars(frames).values()))


def _moved(learner: Learner) -> bool:
    return any(weight.grad is not None for weight in learner.weights)
