"""The stage of the student: what the teacher draws of many latents from the shared noise, in one step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from model_server.networks.dae_talker.speech_features import SpeechReader
from model_server.networks.dae_talker.student import StudentDecoder
from model_server.training.bank import Bank
from model_server.training.dae_talker.losses import psnr
from model_server.training.dae_talker.models import DaeModels
from model_server.training.dae_talker.spoken_stage import changed_sound
from model_server.training.dae_talker.stages import CriticStage
from model_server.training.dae_talker.tasks import Judges, Pairs, StudentTask
from model_server.training.losses import Losses
from model_server.training.run_log import grid

_CHUNK = 128  # pairs made at once
# Shares of the pairs' latents: of frames, between two frames, with noise of a tenth of their deviation; the rest is
# what speech says. Between near and far frames alike, as speech does not hit the frames' own latents.
_OWN, _BETWEEN, _NOISY = 0.35, 0.25, 0.15
_NOISE = 0.1
_SHOWN = 6


class StudentStage(CriticStage):
    """The student.

    Attributes:
        pairs, unseen: what the teacher drew.
    """

    name = "student"

    def __init__(self, *arguments: Any, pairs: Pairs, unseen_pairs: Pairs) -> None:
        super().__init__(*arguments)
        self.pairs, self.unseen_pairs = pairs, unseen_pairs
        weights = self.models.config.student
        self.learners["task"] = self._learner(StudentTask(cast(StudentDecoder, self.network), weights))
        self._add_critic(weights.critic_width, weights.critic_from)
        self._judges = Judges(self.models.face, self.models.pictures)

    def sample(self, rng: np.random.Generator) -> Pairs:
        """See `Stage.sample`."""
        rows = rng.integers(len(self.pairs.latents), size=self.schedule.batch)
        return Pairs(self.pairs.latents[rows], self.pairs.drawn[rows])

    def learn(self, batch: Pairs, step: int) -> Losses:
        """See `Stage.learn`."""
        weights, plays = self.models.config.student, self._plays(step)
        looks = step >= weights.pictures_from * weights.steps
        self.critic.requires_grad_(False)
        total, losses, seen = self.learners["task"].shared(
            self._given(batch), self._judges if looks or plays else None, self.critic if plays else None
        )
        total.backward()
        self.critic.requires_grad_(True)
        return losses | {"total": total} | (self._learn_critic(*seen) if plays else {})

    def judge(self, step: int) -> dict[str, float]:
        """PSNR between student and teacher on latents not learnt from."""
        given = self._given(self.unseen_pairs)
        drawn = self.models.student(given.latents).float()
        likeness = psnr(self.models.decoded(drawn), self.models.decoded(given.drawn).clamp(-1, 1))
        return {"drawn": float((drawn - given.drawn).abs().mean()), "psnr": float(likeness)}

    def picture(self) -> Tensor:
        """What teacher and student draw."""
        given = self._given(Pairs(self.unseen_pairs.latents[:_SHOWN], self.unseen_pairs.drawn[:_SHOWN]))
        drawn = self.models.student(given.latents).float()
        return grid([self.models.decoded(x).clamp(-1, 1) for x in (given.drawn, drawn)])

    def _given(self, pairs: Pairs) -> Pairs:
        return Pairs(pairs.latents.to(self.device).float(), pairs.drawn.to(self.device).float())


class Teacher:
    """Makes pairs for the student, chunk by chunk, kept in a bank of the run.

    Args:
        models: trained autoencoder; speech2latent too where speech shall say some of the latents.
        run: folder of the run.
        latents: c of the training frames.
        sounds: gives a random stretch of speech (t,) of the actor's corpora and its poses (frames, 3).
        reader: reads its features; None for latents of frames alone.
    """

    def __init__(
        self,
        models: DaeModels,
        run: Path,
        latents: Tensor,
        sounds: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]],
        reader: SpeechReader | None,
    ) -> None:
        self._models, self._latents, self._sounds, self._reader = models, latents.float(), sounds, reader
        config = models.config
        self._bank = Bank(run, models.autoencoder, f"-pairs-{config.student.teacher_steps}-{config.start_seed}")

    def pairs(self, count: int, seed: int, over: Callable[[], bool]) -> Pairs | None:
        """So many pairs; None if there was no time for all of them: the next call goes on."""
        chunks = []
        for number in range(-(-count // _CHUNK)):
            if over():
                return None
            chunks.append(self._bank.value(f"{seed}-{number:05}", partial(self._chunk, seed, number)))
        latents, drawn = (torch.cat([chunk[name] for chunk in chunks])[:count] for name in ("latents", "drawn"))
        return Pairs(latents, drawn)

    @torch.no_grad()
    def _chunk(self, seed: int, number: int) -> dict[str, Tensor]:
        latents = self._various(np.random.default_rng([seed, number]))
        drawn = [self._models.rendered(part, self._models.config.student.teacher_steps) for part in latents.split(16)]
        return {"latents": latents.half(), "drawn": torch.cat(drawn).half()}

    def _various(self, rng: np.random.Generator) -> Tensor:
        spoken = self._spoken(rng) if self._reader else self._latents[:0]
        own, between, noisy = (round(share * _CHUNK) for share in (_OWN, _BETWEEN, _NOISY))
        own = _CHUNK - between - noisy - len(spoken)
        share = torch.from_numpy(rng.uniform(0, 1, (between, 1)).astype(np.float32))
        noise = torch.from_numpy(rng.standard_normal((noisy, self._latents.shape[1])).astype(np.float32))
        parts = [
            self._some(rng, own),
            torch.lerp(self._some(rng, between), self._some(rng, between), share),
            self._some(rng, noisy) + _NOISE * noise * self._latents.std(0),
            spoken,
        ]
        return torch.cat(parts).to(next(self._models.autoencoder.parameters()).device)

    def _some(self, rng: np.random.Generator, count: int) -> Tensor:
        return self._latents[rng.integers(len(self._latents), size=count)]

    def _spoken(self, rng: np.random.Generator) -> Tensor:
        """Latents that speech2latent tells of a stretch of speech, every third one, at its own pose or another's."""
        assert self._reader is not None
        count = _CHUNK - round(_OWN * _CHUNK) - round(_BETWEEN * _CHUNK) - round(_NOISY * _CHUNK)
        sound, poses = self._sounds(rng)
        features = self._reader.read(torch.from_numpy(changed_sound(sound, rng, 1.0))[None])
        given = torch.from_numpy(poses)[None] if rng.random() < 0.5 else None
        latents = self._models.speech2latent.speak(features, len(poses), given).latent[0]
        return latents[rng.permutation(len(latents))[:count]].float().cpu()
