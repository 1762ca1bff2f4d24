"""The stage from speech to latents: stretches of sound, changed as rooms and lines change it."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from model_server.corpus.actor.statistics import AXES
from model_server.networks.dae_talker.speech2latent import Speech2Latent, SpeechFeatures
from model_server.networks.dae_talker.speech_features import SpeechReader
from model_server.training.dae_talker.data import EYES, LEAST_SHAPE
from model_server.training.dae_talker.losses import moved, standardized
from model_server.training.dae_talker.stages import Stage
from model_server.training.dae_talker.tasks import PoseTask, SpeechTask, Stretches
from model_server.training.losses import Losses, correlation
from model_server.training.recogniser.sound_augment import (
    amplified,
    background,
    banded,
    in_room,
    loudness,
    mixed,
    telephone,
)

Samples = NDArray[np.float32]

_ROOM, _NOISE, _BAND, _TELEPHONE = 0.3, 0.4, 0.15, 0.05  # shares of the stretches that are changed so
_SNR_DB, _HIGHEST, _GAIN_DB = (8.0, 35.0), (3400.0, 7500.0), 4.0
_JUDGED = 4  # unseen stretches
_LEAST_VARIANCE = 0.03  # of a component that is brought up, of the mean one's; smaller ones are mostly noise
_RIDGE = 1e-3  # of read-outs


class SpeechStage(Stage):
    """Speech to latents, and apart from it to pose.

    Attributes:
        latents, unseen_latents: c (frames, latent) of all frames.
        reader: reads features of speech.
    """

    name = "speech2latent"

    def __init__(self, *arguments: Any, latents: Tensor, unseen_latents: Tensor, reader: SpeechReader) -> None:
        super().__init__(*arguments)
        self.latents, self.reader = latents.float(), reader
        self.unseen_latents = unseen_latents.float() if len(unseen_latents) else self.latents
        for network in (self.network, self.models.averaged[self.name]):
            self._standardize(cast(Speech2Latent, network))
        self._whitening = whitening_of(self.latents).to(self.device)
        opening = torch.from_numpy(self.store.opening)[:, None]
        self._lip_opening = readout(self.latents, opening)[:, 0].to(self.device)
        lips = self.store.part_shapes[:, EYES:]  # speech tells nothing of the eyes
        self._shapes = readout(self.latents, lips, LEAST_SHAPE).to(self.device)
        network, weights = cast(Speech2Latent, self.network), self.models.config.speech2latent
        predictor = network.pose_predictor.requires_grad_(False)
        self.learners = {} if weights.only_pose else {"task": self._learner(self._task(network))}
        task = PoseTask(predictor.requires_grad_(True), weights)
        self.learners["pose"] = self._learner(task, weight_decay=weights.pose_decay)

    def sample(self, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Sounds (n, t), latents and poses as they are (n, frames, ...)."""
        return self._stretches(self.store, self.latents, rng, self.schedule.batch, True)

    def learn(self, batch: tuple[Tensor, Tensor, Tensor], step: int) -> Losses:
        """See `Stage.learn`."""
        stretches = self._read(batch)
        losses = self._learn_pose(stretches)
        return losses | self._learn_latents(stretches, step) if "task" in self.learners else losses

    def _learn_latents(self, stretches: Stretches, step: int) -> Losses:
        weights = self.models.config.speech2latent
        late = step >= weights.predicted_from * weights.steps
        total, losses = self.learners["task"].shared(stretches, weights.predicted if late else 0.0)
        total.backward()
        return losses | {"total": total}

    def _learn_pose(self, stretches: Stretches) -> Losses:
        features = cast(Speech2Latent, self.network).frame_features(stretches.speech, stretches.poses.shape[1])
        total, losses = self.learners["pose"].shared(features, stretches.poses)
        total.backward()
        return {"total": total} | losses

    def judge(self, step: int) -> dict[str, float]:
        """Losses on plain unseen stretches with the true pose and with the predicted one, and how the pose moves.

        `lips_r` is the correlation of the lips' opening as a linear read-out tells it of the latents that speech tells,
        and of the true ones; `lips_moved` how far they go, of the true ones.
        """
        batch = self._stretches(self.unseen, self.unseen_latents, np.random.default_rng(0), _JUDGED, False)
        stretches, network = self._read(batch), self.models.speech2latent
        task = self._task(network)
        total, losses = task(stretches, 0.0)
        figures = {name: float(value) for name, value in losses.items()} | {"total": float(total)}
        figures["pose"] = float(F.mse_loss(stretches.predicted, stretches.poses))
        figures["latent_own_pose"] = float(task(stretches, 1.0)[1]["latent"])
        spoken = network(stretches.speech, stretches.poses.shape[1])
        lips = [(latents.float() @ self._lip_opening).flatten() for latents in (spoken.latent, stretches.latents)]
        figures |= {"lips_r": correlation(*lips), "lips_moved": moved(*lips)}
        shares = stretches.predicted.std(1).mean(0) / stretches.poses.std(1).mean(0).clamp(min=1e-6)
        return figures | {f"moved_{axis}": float(value) for axis, value in zip(AXES, shares, strict=True)}

    def _task(self, network: Speech2Latent) -> SpeechTask:
        return SpeechTask(network, self.models.config.speech2latent, self._whitening, self._shapes)

    def _stretches(
        self, store: Any, latents: Tensor, rng: np.random.Generator, count: int, changes: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        weights = self.models.config.speech2latent
        frames = min(weights.frames, *(clip.frames for clip in store.clips))
        sounds, chosen, poses = [], [], []
        for clip in rng.integers(len(store.clips), size=count):
            first = int(rng.integers(store.clips[clip].frames - frames + 1))
            rows = store.rows_of(int(clip))[first : first + frames]
            sound = store.sound(int(clip), first, frames)
            sounds.append(changed_sound(sound, rng, weights.augmentation) if changes else sound)
            chosen.append(latents[rows])
            poses.append(torch.from_numpy(store.angles[rows]))
        return torch.from_numpy(np.stack(sounds)), torch.stack(chosen), torch.stack(poses)

    def _read(self, batch: tuple[Tensor, Tensor, Tensor]) -> Stretches:
        sounds, latents, poses = (value.to(self.device) for value in batch)
        network = cast(Speech2Latent, self.network)
        heard = self.reader.read(sounds)
        speech = SpeechFeatures(heard.layers.float(), heard.prosody.float())
        with torch.no_grad():
            predicted = self.models.speech2latent.predicted_pose(speech, poses.shape[1]).float()
        return Stretches(
            speech,
            (latents - network.latent_mean) / network.latent_deviation,
            (poses - network.pose_mean) / network.pose_deviation,
            predicted,
        )

    def _standardize(self, network: Speech2Latent) -> None:
        """Store mean and deviation of the training frames' latents and poses."""
        poses = torch.from_numpy(self.store.angles)
        for name, values in (("latent", self.latents), ("pose", poses)):
            getattr(network, f"{name}_mean").copy_(values.mean(0))
            getattr(network, f"{name}_deviation").copy_(values.std(0).clamp(min=1e-4))


def whitening_of(latents: Tensor) -> Tensor:
    """Matrix (latent, latent) from standardized latents to their principal components, each of deviation 1.

    Components of less than a thirtieth of the mean variance are noise; they are brought up no further than that.
    """
    standard = standardized(latents)
    values, vectors = torch.linalg.eigh(standard.T @ standard / len(standard))
    return vectors / values.clamp(min=_LEAST_VARIANCE).sqrt()


def readout(latents: Tensor, values: Tensor, least: float = 1e-4) -> Tensor:
    """Weights (latent, n) that read values (frames, n), standardized, off standardized latents, by least squares.

    Args:
        least: deviation below which values are not brought up.
    """
    standard, wanted = standardized(latents), standardized(values, least)
    gram = standard.T @ standard / len(standard) + _RIDGE * torch.eye(standard.shape[1])
    return torch.linalg.solve(gram, standard.T @ wanted / len(standard))


def changed_sound(samples: Samples, rng: np.random.Generator, strength: float) -> Samples:
    """Speech in another room, with noise beside it, of other loudness, without highs; its times stay as they are."""

    def happens(share: float) -> bool:
        return bool(rng.random() < share * strength)

    heard = in_room(samples, rng) if happens(_ROOM) else samples
    if happens(_NOISE):
        heard = mixed(heard, background(rng, len(heard)), rng.uniform(*_SNR_DB), loudness(samples))
    if happens(_BAND):
        heard = banded(heard, 20, rng.uniform(*_HIGHEST))
    heard = telephone(heard) if happens(_TELEPHONE) else heard
    return np.clip(amplified(heard, rng.normal(0, _GAIN_DB) * strength), -1, 1).astype(np.float32)
