"""What each network learns from a batch, as modules fit for DDP; each gives the total and the single losses first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.networks.dae_talker.autoencoder import DiffusionAutoencoder
from model_server.networks.dae_talker.diffusion import NoiseSchedule
from model_server.networks.dae_talker.picture_autoencoder import PictureAutoencoder
from model_server.networks.dae_talker.speech2latent import PosePredictor, Speech2Latent, SpeechFeatures
from model_server.networks.dae_talker.student import StudentDecoder
from model_server.training.dae_talker.config import (
    AutoencoderSchedule,
    FaceSchedule,
    PicturesSchedule,
    SpeechSchedule,
    StudentSchedule,
)
from model_server.training.dae_talker.data import Frames
from model_server.training.dae_talker.losses import Critic, picture_losses
from model_server.training.discriminator import Discriminator
from model_server.training.face_network import ANGLE_UNIT, FaceNetwork
from model_server.training.losses import Losses, critic_hinge, known_cross_entropy, known_l1, weighted

_LANDMARK_UNIT = 112.0  # half a view: what landmarks are divided by


class FaceTask(nn.Module):
    """Reads landmarks, head angles, lip opening and visemes off pictures."""

    def __init__(self, face: FaceNetwork, weights: FaceSchedule) -> None:
        super().__init__()
        self.face, self.weights = face, weights
        face.embedding.requires_grad_(False)  # there is only one person to recognise

    def forward(self, frames: Frames) -> tuple[Tensor, Losses]:
        """Losses of frames."""
        read = self.face(frames.images)
        losses = {
            "landmarks": known_l1(read.landmarks / _LANDMARK_UNIT, frames.landmarks / _LANDMARK_UNIT),
            "angles": known_l1(read.angles, frames.angles / ANGLE_UNIT),
            "opening": known_l1(read.opening, frames.opening),
            "visemes": known_cross_entropy(read.visemes, frames.visemes),
        }
        return weighted(losses, self.weights), losses


class PicturesTask(nn.Module):
    """Pictures through the small autoencoder."""

    def __init__(self, network: PictureAutoencoder, weights: PicturesSchedule) -> None:
        super().__init__()
        self.network, self.weights = network, weights

    def forward(self, frames: Frames, face: FaceNetwork, critic: Critic | None) -> tuple[Tensor, Losses, Tensor]:
        """Losses of frames, and what came out (n, 3, s, s) without gradient."""
        drawn = self.network(frames.images)
        losses = picture_losses(drawn, frames.images, frames.landmarks, face, self.weights, critic)
        return weighted(losses, self.weights), losses, drawn.detach().float()


class CriticTask(nn.Module):
    """Tells real pictures from drawn ones by the hinge loss."""

    def __init__(self, critic: Discriminator) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, real: Tensor, drawn: Tensor) -> tuple[Tensor, Losses]:
        """Losses of pictures (n, 3, s, s)."""
        loss = critic_hinge(self.critic(torch.cat([real, drawn]))[0])
        return loss, {"critic": loss}


class AutoencoderTask(nn.Module):
    """Tells noise from picture, given the picture's latent; a linear layer tells shapes of that latent.

    Args:
        network: learns.
        schedule: of the noise.
        weights: of the losses.
        shapes: numbers of a frame's shapes.
    """

    def __init__(
        self, network: DiffusionAutoencoder, schedule: NoiseSchedule, weights: AutoencoderSchedule, shapes: int
    ) -> None:
        super().__init__()
        self.network, self.schedule, self.weights = network, schedule, weights
        self.shape_reader = nn.Linear(network.size.unet.latent, shapes) if weights.shapes else None

    def forward(
        self, clean: Tensor, given: Tensor | None, importance: Tensor | None, shapes: Tensor
    ) -> tuple[Tensor, Losses, Tensor]:
        """Losses of pictures or their latents (n, channels, h, w), and c, whose gradient is kept to be looked at.

        Args:
            given: c, in place of what the encoder says.
            importance: (n, 1, h, w) of places; None where all count alike.
            shapes: (n, shapes), standardized, to be told of c.
        """
        times = torch.randint(0, self.schedule.steps, (len(clean),), device=clean.device)
        latent = self.network.encoder(clean) if given is None else given
        if latent.requires_grad:
            latent.retain_grad()
        noise = torch.randn_like(clean)
        losses = {"noise": self.network(clean, noise, times, self.schedule, latent, importance).float().mean()}
        if self.shape_reader:
            losses["shapes"] = F.mse_loss(self.shape_reader(latent).float(), shapes)
        return weighted(losses, self.weights), losses, latent


@dataclass(frozen=True)
class Stretches:
    """Stretches of speech and what the actor did, latents and poses standardized.

    Attributes:
        speech: features of n sounds.
        latents: (n, frames, latent).
        poses: (n, frames, 3).
        predicted: what the averaged pose predictor tells in their place.
    """

    speech: SpeechFeatures
    latents: Tensor
    poses: Tensor
    predicted: Tensor


class PoseTask(nn.Module):
    """From speech to poses."""

    def __init__(self, predictor: PosePredictor, weights: SpeechSchedule) -> None:
        super().__init__()
        self.predictor, self.weights = predictor, weights

    def forward(self, features: Tensor, poses: Tensor) -> tuple[Tensor, Losses]:
        """Losses of stretches whose frames have such features (n, frames, inputs) and poses (n, frames, 3)."""
        told = self.predictor(features, torch.ones_like(features[..., 0], dtype=torch.bool)).float()
        losses = {"pose": F.mse_loss(told, poses), "pose_speed": F.mse_loss(told.diff(dim=1), poses.diff(dim=1))}
        return weighted(losses, self.weights), losses


class SpeechTask(nn.Module):
    """From speech features and poses to latents.

    Args:
        network: learns.
        weights: of the losses.
        whitening: (latent, latent) that brings errors of standardized latents to components of one deviation.
        shapes: (latent, n) that reads the lips' shape off standardized latents.
    """

    whitening: Tensor
    shapes: Tensor

    def __init__(
        self, network: Speech2Latent, weights: SpeechSchedule, whitening: Tensor, shapes: Tensor
    ) -> None:  # fmt: skip
        super().__init__()
        self.network, self.weights = network, weights
        self.register_buffer("whitening", whitening)
        self.register_buffer("shapes", shapes)

    def forward(self, stretches: Stretches, predicted: float) -> tuple[Tensor, Losses]:
        """Losses of stretches; a random share `predicted` of them gets the pose that is predicted, not the true one."""
        count, frames = stretches.latents.shape[:2]
        valid = torch.ones(count, frames, dtype=torch.bool, device=stretches.latents.device)
        heard = self.network.hear(stretches.speech, frames, valid)
        own = torch.rand(count, 1, 1, device=valid.device) < predicted
        given = torch.where(own, stretches.predicted, stretches.poses) * self.weights.pose_adaptor
        latents = self.network.decode(heard, given, valid).float()
        error = latents - stretches.latents
        losses = {
            "latent": error.square().mean(),
            "whitened": (error @ self.whitening).square().mean(),
            "lips": (error @ self.shapes).square().mean(),
            "latent_speed": F.mse_loss(latents.diff(dim=1), stretches.latents.diff(dim=1)),
        }
        return weighted(losses, self.weights), losses


@dataclass(frozen=True)
class Pairs:
    """What the teacher drew.

    Attributes:
        latents: (n, latent) it was given.
        drawn: (n, channels, h, w) it drew, picture latents or pixels.
    """

    latents: Tensor
    drawn: Tensor


class StudentTask(nn.Module):
    """Draws in one step what the teacher draws in many."""

    def __init__(self, network: StudentDecoder, weights: StudentSchedule) -> None:
        super().__init__()
        self.network, self.weights = network, weights

    def forward(self, pairs: Pairs, judges: Judges | None, critic: Critic | None) -> tuple[Tensor, Losses, Any]:
        """Losses of pairs, and real and drawn pictures where `judges` look at pictures, else None."""
        drawn = self.network(pairs.latents).float()
        losses: Losses = {"drawn": F.l1_loss(drawn, pairs.drawn)}
        if judges is None:
            return weighted(losses, self.weights), losses, None
        picture, real = judges.picture(drawn), judges.picture(pairs.drawn).detach()
        with torch.no_grad():
            landmarks = judges.face(real).landmarks.float()
        losses |= picture_losses(picture, real, landmarks, judges.face, self.weights, critic)
        return weighted(losses, self.weights), losses, (real, picture.detach())


@dataclass(frozen=True)
class Judges:
    """Frozen networks through which drawings are looked at.

    Attributes:
        face: its features.
        pictures: decodes latents; None where pixels are drawn.
    """

    face: FaceNetwork
    pictures: PictureAutoencoder | None

    def picture(self, drawn: Tensor) -> Tensor:
        """The picture (n, 3, s, s) of what was drawn."""
        return self.pictures.decode(drawn).float() if self.pictures else drawn
