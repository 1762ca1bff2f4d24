"""How far drawn pictures of the actor are from true ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from model_server.training.augment import box_mask
from model_server.training.dae_talker.data import PARTS
from model_server.training.face_network import FaceNetwork
from model_server.training.losses import Losses, feature_matching, generator_hinge, perceptual

# Scores and features by scale of pictures of which the first half is real.
Critic = Callable[[Tensor], tuple[Sequence[Tensor], Sequence[Sequence[Tensor]]]]

_RIM = 0.3  # around eyes and lips, of their width


class PictureWeights(Protocol):
    """What eyes and mouth count more than the rest."""

    @property
    def parts(self) -> float: ...


def picture_losses(
    drawn: Tensor, real: Tensor, landmarks: Tensor, face: FaceNetwork, weights: PictureWeights, critic: Critic | None
) -> Losses:
    """L1 of pixels and of edges, of the face network's features, and what a critic says.

    Args:
        drawn: pictures (n, 3, s, s).
        real: the true ones.
        landmarks: (n, 68, 2) of those, in units of a view of 224 pixels.
        face: frozen.
        weights: of eyes and mouth.
        critic: None while it does not play.
    """
    drawn = drawn.float()
    importance = 1 + weights.parts * parts_mask(landmarks, real.shape[-1])
    losses = {
        "pixels": ((drawn - real).abs() * importance).mean() / importance.mean(),
        "edges": edge_l1(drawn, real, importance),
        "features": perceptual(face.features(drawn), _frozen(face, real)),
    }
    if critic:
        scores, features = critic(torch.cat([real, drawn]))
        losses |= {"gan": generator_hinge(scores), "matching": feature_matching(features)}
    return losses


def parts_mask(landmarks: Tensor, size: int) -> Tensor:
    """Masks (n, 1, size, size): 1 around eyes and lips of landmarks (n, 68, 2) in units of a view of 224 pixels."""
    masks = [box_mask(_box(landmarks[:, part]), size) for part in PARTS]
    return torch.stack(masks).amax(0)


def part_weights(landmarks: Tensor, size: int, parts: float, cells: int) -> Tensor:
    """Weights (n, 1, cells, cells) of mean 1 that count eyes and lips of pictures of `size` pixels `parts` more."""
    importance = 1 + parts * F.adaptive_avg_pool2d(parts_mask(landmarks, size), cells)
    return importance / importance.mean((1, 2, 3), keepdim=True)


def edge_l1(drawn: Tensor, real: Tensor, importance: Tensor) -> Tensor:
    """L1 of the differences between neighbouring pixels, weighted by `importance` (n, 1, s, s)."""
    error = drawn - real
    across = (error[..., :, 1:] - error[..., :, :-1]).abs() * importance[..., :, 1:]
    down = (error[..., 1:, :] - error[..., :-1, :]).abs() * importance[..., 1:, :]
    return (across.mean() + down.mean()) / importance.mean()


def psnr(drawn: Tensor, real: Tensor) -> Tensor:
    """Peak signal to noise ratio in dB of pictures with pixels in [-1, 1], the mean over pictures."""
    error = (drawn.float().clamp(-1, 1) - real).square().mean((1, 2, 3)) / 4
    return (-10 * error.clamp(min=1e-10).log10()).mean()


def moved(course: Tensor, true: Tensor) -> float:
    """How far a course (n,) goes, of the true one."""
    return float(course.std() / true.std().clamp(min=1e-6))


def standardized(values: Tensor, least: float = 1e-4) -> Tensor:
    """Values (n, k) with mean 0 and deviation 1 over n; what moves less than `least` is not brought up to that."""
    return (values - values.mean(0)) / values.std(0, correction=0).clamp(min=least)


def _box(points: Tensor) -> Tensor:
    low, high = points.amin(1), points.amax(1)
    rim = _RIM * (high[:, :1] - low[:, :1])
    return torch.cat([low - rim, high + rim], 1)


@torch.no_grad()
def _frozen(face: FaceNetwork, real: Tensor) -> tuple[Tensor, ...]:
    return face.features(real)
