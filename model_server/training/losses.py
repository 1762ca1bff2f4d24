"""Losses as plain functions. A label that is not known is NaN and takes no part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from model_server.features import CROP_SIDE as IMAGE_SIZE

Losses = dict[str, Tensor]

HEATMAP_SPREAD = 1.0  # cells
_UNLIKELY = 1e-4  # nearer to 0 and 1 than that nothing is sure


def weighted(losses: Mapping[str, Tensor], weights: object, only: Sequence[str] | None = None) -> Tensor:
    """Sum of losses, each times the attribute of `weights` that has its name."""
    names = losses if only is None else only
    return torch.stack([losses[name].float() * getattr(weights, name) for name in names]).sum()


def known_l1(prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean absolute difference over the known entries of `target`; 0, with a gradient of 0, when there are none."""
    known = torch.isfinite(target)
    distance = (prediction.float() - torch.where(known, target, 0)).abs()
    share = known.float() if weight is None else known * weight
    return (distance * share).sum() / share.sum().clamp(min=1e-6)


def known_binary_cross_entropy(probability: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy with targets in [0, 1] over the known entries of `target`; 0 when there are none."""
    likely = probability.float().clamp(_UNLIKELY, 1 - _UNLIKELY)
    known = torch.isfinite(target)
    sure = torch.where(known, target, 0).float()
    # Written out: torch's own refuses to run among half-precision networks, even in float32.
    entropy = -sure * likely.log() - (1 - sure) * torch.log1p(-likely)
    return (entropy * known).sum() / known.sum().clamp(min=1)


def known_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy against soft targets (n, classes), of which unknown rows are NaN."""
    known = torch.isfinite(target).all(-1)
    entropy = -(torch.where(known[..., None], target, 0) * F.log_softmax(logits.float(), -1)).sum(-1)
    return entropy.sum() / known.sum().clamp(min=1)


def class_cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """Softmax cross-entropy; classes below zero are not known."""
    entropy = F.cross_entropy(logits.float(), classes, ignore_index=-100, reduction="sum")
    return entropy / (classes >= 0).sum().clamp(min=1)


def soft_argmax(maps: Tensor) -> Tensor:
    """Expected places (n, k, 2), x and y in pixels of the 224-pixel view, of maps (n, k, h, w) of logits."""
    n, k, h, w = maps.shape
    shares = maps.float().flatten(2).softmax(-1).view(n, k, h, w)
    x, y = (_centres(size, maps) for size in (w, h))
    return torch.stack([(shares.sum(2) * x).sum(-1), (shares.sum(3) * y).sum(-1)], -1)


def heatmap_cross_entropy(maps: Tensor, points: Tensor) -> Tensor:
    """Cross-entropy of maps (n, k, h, w) of logits against Gaussians around points (n, k, 2) in view pixels."""
    cell = IMAGE_SIZE / maps.shape[-1]
    x, y = (_centres(size, maps) for size in (maps.shape[3], maps.shape[2]))
    across, down = (_gaussian(points[..., axis, None], centres, cell) for axis, centres in ((0, x), (1, y)))
    target = (down[..., :, None] * across[..., None, :]).flatten(2)
    return known_cross_entropy(maps.flatten(2), target)


def info_nce(video: Tensor, audio: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Two-way InfoNCE of matching rows (n, d) by cosine similarity (van den Oord et al. 2018; PC-AVS, equation 2).

    Returns:
        The loss, the mean of both directions (ln n at chance), and the share of videos whose sound comes first.
    """
    similarity = F.normalize(video.float(), dim=1) @ F.normalize(audio.float(), dim=1).T / temperature
    own = torch.arange(len(similarity), device=similarity.device)
    loss = (F.cross_entropy(similarity, own) + F.cross_entropy(similarity.T, own)) / 2
    return loss, (similarity.argmax(1) == own).float().mean()


def critic_hinge(scores: Sequence[Tensor]) -> Tensor:
    """Discriminator's hinge loss; each scale's scores hold the real half of the batch, then the drawn half."""
    halves = [score.float().chunk(2) for score in scores]
    return torch.stack([F.relu(1 - real).mean() + F.relu(1 + drawn).mean() for real, drawn in halves]).mean()


def generator_hinge(scores: Sequence[Tensor]) -> Tensor:
    """Generator's hinge loss over the drawn half of each scale's scores."""
    return torch.stack([-score.float().chunk(2)[1].mean() for score in scores]).mean()


def feature_matching(features: Sequence[Sequence[Tensor]]) -> Tensor:
    """L1 between the discriminator's features of the real and of the drawn half, over all layers of all scales."""
    layers = [layer.float().chunk(2) for scale in features for layer in scale]
    return torch.stack([F.l1_loss(drawn, real.detach()) for real, drawn in layers]).mean()


def perceptual(drawn: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """L1 between features of growing depth, weighted 1/32, 1/16, 1/8, 1/4, 1 (Wang et al. 2018)."""
    weights = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)[-len(real) :]
    terms = [F.l1_loss(a.float(), b.float().detach()) * w for a, b, w in zip(drawn, real, weights, strict=True)]
    return torch.stack(terms).sum()


def _gaussian(centre: Tensor, places: Tensor, cell: float) -> Tensor:
    """Normal density over `places`, summing to one; NaN for an unknown centre or one far outside."""
    shape = torch.exp(-0.5 * ((places - centre) / (HEATMAP_SPREAD * cell)).square())
    total = shape.sum(-1, keepdim=True)
    return torch.where(total > 1e-3, shape / total, torch.nan)


def _centres(size: int, like: Tensor) -> Tensor:
    return (torch.arange(size, device=like.device, dtype=torch.float32) + 0.5) * (IMAGE_SIZE / size)


def correlation(one: Tensor, other: Tensor) -> float:
    """Of two courses (n,); 0 where either never moves."""
    return float(torch.corrcoef(torch.stack([one, other]))[0, 1].nan_to_num(0.0))
