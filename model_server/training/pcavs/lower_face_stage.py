"""The stage that learns to draw lower faces into frames: pixels, a patch critic, and an expert on lips that stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.errors import PoseDubError
from model_server.networks.pcavs.lower_face import LowerFace, LowerFaceGenerator, Speech, turned_alike
from model_server.networks.sync_network import FRAMES, OPENING_UNIT, SyncNetwork, load_sync_network
from model_server.training.distributed import ProcessGroup
from model_server.training.learner import Learner
from model_server.training.losses import (
    Losses,
    critic_hinge,
    feature_matching,
    generator_hinge,
    known_l1,
    perceptual,
    weighted,
)
from model_server.training.pcavs.config import Config
from model_server.training.pcavs.data import ClipStore
from model_server.training.pcavs.encoder_tasks import learn_only
from model_server.training.pcavs.lower_face_data import LowerFaces, sample_lower_faces
from model_server.training.pcavs.models import Models
from model_server.training.pcavs.stages import Stage

Critic = Callable[[Tensor], tuple[list[Tensor], list[list[Tensor]]]]

# Gain of speech contents, as in dubs that ask for nothing else.
GAIN = 1.2
_DETAIL = 5  # pixels; what is finer than their mean is detail
_GREY = (0.299, 0.587, 0.114)


class LowerFaceTask(nn.Module):
    """Draws lower faces and measures how far off they are."""

    def __init__(self, models: Models, config: Config) -> None:
        super().__init__()
        self.networks = models.networks
        self.face = models.face
        self.weights = config.lower_face
        network = models.networks.lower_face
        if network is None:
            raise PoseDubError(
                f"The preset {config.preset} has no network for lower faces; train one such as lite-in-place-cpu."
            )
        self.generator: LowerFaceGenerator = network
        learn_only(models, network.cover if self.weights.only_cover else network)
        expert = self.weights.expert
        # No part of this module, so that neither optimisers nor checkpoints know it.
        self._expert: list[SyncNetwork] = [load_sync_network(Path(expert))[0]] if expert else []
        for one in self._expert:
            one.requires_grad_(False)

    def train(self, mode: bool = True) -> LowerFaceTask:
        """Batch normalisation of the encoders stays as they learnt it."""
        return super().train(False)

    def forward(self, faces: LowerFaces, critic: Critic | None) -> tuple[Tensor, Losses, Tensor]:
        """Total loss, single losses, and the lower faces laid into their frames (n, 3, s, s), without gradient.

        Lips are shaped as they truly are, so that what is drawn follows what is asked, not the mean of all it may be.
        """
        if self.weights.only_cover:
            return self._only_cover(faces)
        content = self._content(faces)
        # Where nothing is said, the shape alone tells what to draw: else it would be overheard for long.
        said = torch.rand(len(faces.rows) // FRAMES, device=content.device) >= self.weights.unsaid
        said = (said & faces.heard[faces.rows[::FRAMES]]).to(content)
        drawn, composite = self._drawn(faces, content, faces.shapes, said.repeat_interleave(FRAMES)[:, None])
        losses = self._picture_losses(drawn, composite, faces) | self._read_losses(composite, faces)
        if critic:
            scores, features = critic(torch.cat([faces.target, composite]))
            losses |= {"gan": generator_hinge(scores), "feature": feature_matching(features)}
        return weighted(losses, self.weights), losses, composite.detach()

    def _only_cover(self, faces: LowerFaces) -> tuple[Tensor, Losses, Tensor]:
        """As `forward`, of the network that sees what covers a face, and nothing drawn."""
        pictures, angles = (x.repeat_interleave(FRAMES, 0) for x in (faces.references, faces.reference_angles))
        bare = turned_alike(pictures, angles, faces.angles)
        covered = self.generator.cover(faces.covered(faces.source), bare)
        losses = {"cover": _cover_loss(covered, faces)}
        return losses["cover"], losses, faces.target

    def draw(self, faces: LowerFaces) -> tuple[LowerFace, Tensor]:
        """Lower faces of true shapes, and frames (n, 3, s, s) with these in place of the old ones, nothing before."""
        return self._drawn(faces, self._content(faces) * faces.heard[:, None], faces.shapes)

    def _content(self, faces: LowerFaces) -> Tensor:
        if faces.content.shape[1]:
            return faces.content
        with torch.no_grad():
            return self.networks.speech_encoder(faces.windows)

    def _drawn(
        self, faces: LowerFaces, content: Tensor, shapes: Tensor, said: Tensor | float = 1.0
    ) -> tuple[LowerFace, Tensor]:
        known = self.generator.references(faces.references, faces.reference_angles).repeated(FRAMES)
        speech = Speech(content[faces.rows] * GAIN * said, shapes[faces.rows], faces.angles)
        drawn = self.generator(faces.covered(faces.source), faces.hidden, known, speech)
        return drawn, torch.lerp(faces.source, drawn.image.float(), faces.taken)

    def _picture_losses(self, drawn: LowerFace, composite: Tensor, faces: LowerFaces) -> Losses:
        inside = faces.hidden.expand_as(faces.target)
        return {
            "image": known_l1(drawn.image, faces.target, inside),
            "lips": known_l1(drawn.image, faces.target, faces.lips.expand_as(faces.target) * inside),
            "seam": F.l1_loss(composite, faces.target),
            "paint": known_l1(drawn.rgb, faces.target, (faces.lips * 0.9 + 0.1).expand_as(faces.target) * inside),
            "warped": known_l1(drawn.warped, faces.target, inside),
            "detail": known_l1(_detail(drawn.image.float()), _detail(faces.target), inside),
            "cover": _cover_loss(drawn.covered, faces),
        }

    def _read_losses(self, composite: Tensor, faces: LowerFaces) -> Losses:
        """What networks that do not learn here see in the frames."""
        losses: Losses = {}
        if self.weights.perceptual:
            pictures = F.interpolate(torch.cat([composite, faces.target]), (112, 112), mode="bilinear")
            made, true = zip(*(feature.chunk(2) for feature in self.face.features(pictures)), strict=True)
            losses["perceptual"] = perceptual(made, true)
        for expert in self._expert:
            losses |= _expert_losses(expert, composite, faces)
        return losses


class LowerFaceCritic(nn.Module):
    """Tells true frames from those with a drawn lower face by the hinge loss."""

    def __init__(self, models: Models) -> None:
        super().__init__()
        assert models.lower_face_critic is not None
        self.discriminator = models.lower_face_critic

    def forward(self, real: Tensor, drawn: Tensor) -> tuple[Tensor, Losses]:
        """Total and single losses of frames (n, 3, s, s)."""
        loss = critic_hinge(self.discriminator(torch.cat([real, drawn]))[0])
        return loss, {"critic": loss}


class LowerFaceStage(Stage):
    """Network and critic in turn, the network at half and the critic at twice the rate (TTUR)."""

    name = "lower_face"

    def __init__(self, models: Models, config: Config, process_group: ProcessGroup) -> None:
        self.schedule = self._settings = config.lower_face
        task = LowerFaceTask(models, config)
        critic = LowerFaceCritic(models)
        critic.requires_grad_(True)
        self._side, self._discriminator = task.generator.side, critic.discriminator
        rate = self.schedule.learning_rate
        self.learners = {
            "generator": Learner(task, rate / 2, (0.5, 0.99), process_group),
            "critic": Learner(critic, rate * 2, (0.0, 0.9), process_group),
        }

    def sample(self, store: ClipStore, rng: np.random.Generator) -> LowerFaces:
        """See `Stage.sample`."""
        settings = self._settings
        return sample_lower_faces(store, settings.batch, self._side, settings.covers, rng, settings.only_cover)

    def learn(self, batch: LowerFaces, step: int, last: bool) -> Losses:
        """See `Stage.learn`."""
        plays = step >= self._settings.critic_start and not self._settings.only_cover
        generator, critic = self.learners["generator"], self.learners["critic"]
        self._discriminator.requires_grad_(False)
        with generator.gathering(last):
            total, losses, drawn = generator.shared(batch, self._discriminator if plays else None)
            (total / self.schedule.accumulate).backward()
        self._discriminator.requires_grad_(True)
        losses["total"] = total
        if plays:
            with critic.gathering(last):
                loss, told = critic.shared(batch.target, drawn)
                (loss / self.schedule.accumulate).backward()
            losses |= told
        return {name: value.detach() for name, value in losses.items()}

    def judge(self, batch: LowerFaces, step: int) -> Losses:
        """See `Stage.judge`."""
        total, losses, _ = self.learners["generator"].task(batch, None)
        return losses | {"total": total}

    def columns(self, batch: LowerFaces) -> list[Tensor]:
        """See `Stage.columns`: a reference, frame, what is drawn of it, its parts, and the truth, one of each run."""
        task: Any = self.learners["generator"].task
        drawn, composite = task.draw(batch)
        shown = slice(FRAMES // 2, None, FRAMES)
        seen = batch.covered(batch.source) * (1 - batch.hidden)
        visible = drawn.visible.expand(-1, 3, -1, -1) * 2 - 1
        mask = drawn.mask.expand(-1, 3, -1, -1) * 2 - 1
        laid = torch.lerp(batch.covered(batch.source), composite, drawn.visible)
        pictures = (batch.source, seen, laid, drawn.image, drawn.warped, drawn.rgb, mask, visible, batch.target)
        return [batch.references[:, 0], *(picture[shown] for picture in pictures)]


def _cover_loss(covered: Tensor, faces: LowerFaces) -> Tensor:
    """Cross-entropy of logits (n, 1, k, k) of what covers the face."""
    cover = F.avg_pool2d(faces.covers[:, 3:], faces.covers.shape[-1] // covered.shape[-1])
    return F.binary_cross_entropy_with_logits(covered.float(), cover)


def _detail(pictures: Tensor) -> Tensor:
    """What is finer than the mean of some pixels."""
    return pictures - F.avg_pool2d(pictures, _DETAIL, 1, _DETAIL // 2, count_include_pad=False)


def _expert_losses(expert: SyncNetwork, composite: Tensor, faces: LowerFaces) -> Losses:
    """How much less the expert finds lips and sound to agree than in true frames (to please it more is no aim), and by
    how many tenths of the distance between the eyes it sees lips open further, or less, than there."""
    middle = slice(FRAMES // 2, None, FRAMES)
    heard = faces.heard[faces.rows[middle]].float()
    sound = expert.sound(faces.windows[faces.rows[middle], 0])
    drawn, opening = expert.seen(_mouths(composite, faces.mouth_places))
    with torch.no_grad():
        true, true_opening = expert.seen(_mouths(faces.target, faces.mouth_places))
    return {
        "sync": (heard * F.relu((true * sound).sum(1) - (drawn * sound).sum(1))).sum() / heard.sum().clamp(min=1),
        "opening": F.l1_loss(opening, true_opening) / OPENING_UNIT,
    }


def _mouths(pictures: Tensor, places: Tensor) -> Tensor:
    """Runs of grey mouths (c, 5, 48, 48) in [0, 1] of lower faces (5 c, 3, s, s)."""
    grey = (pictures * pictures.new_tensor(_GREY).view(1, 3, 1, 1)).sum(1, keepdim=True)
    cut = F.grid_sample(grey.float(), places, padding_mode="border", align_corners=False)
    return ((cut + 1) / 2).unflatten(0, (-1, FRAMES))[:, :, 0]
