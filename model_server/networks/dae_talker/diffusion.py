"""Noise schedule and deterministic sampler (DDIM, Song et al. 2021), apart from any network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

# What a network predicts: the noise (epsilon, as published) or the clean picture (x0).
Prediction = Literal["noise", "clean"]
# Which times a sampler with few steps visits: 0, s, 2s, ... as published, or s - 1, 2s - 1, ..., which starts where
# there is only noise (our choice for few steps, after Lin et al. 2024, "Common diffusion noise schedules").
Spacing = Literal["leading", "trailing"]
# From noisy pictures (n, ...) and times (n,) to predictions (n, ...).
Denoiser = Callable[[Tensor, Tensor], Tensor]

_HIGHEST_WEIGHT = 5.0


@dataclass(frozen=True)
class NoiseSchedule:
    """How much of the picture is left at each time: x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) noise.

    Attributes:
        alpha_bar: falling shares (steps,) of the picture's variance, in double precision.
    """

    alpha_bar: Tensor

    @classmethod
    def linear(cls, steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> NoiseSchedule:
        """Variances of the added noise rise linearly (Ho et al. 2020); the published schedule."""
        betas = torch.linspace(first, last, steps, dtype=torch.float64)
        return cls((1 - betas).cumprod(0))

    @property
    def steps(self) -> int:
        """Times there are."""
        return len(self.alpha_bar)

    def noisy(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Pictures (n, ...) at times (n,)."""
        kept, added = self._shares(times, clean)
        return kept * clean + added * noise

    def clean(self, noisy: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """The pictures without that noise."""
        kept, added = self._shares(times, noisy)
        return (noisy - added * noise) / kept

    def noise(self, noisy: Tensor, clean: Tensor, times: Tensor) -> Tensor:
        """The noise that was added to those clean pictures."""
        kept, added = self._shares(times, noisy)
        return (noisy - kept * clean) / added

    def loss_weights(self, times: Tensor, prediction: Prediction) -> Tensor:
        """Weights (n,) of the squared errors at times (n,): 1 for noise, as published.

        For clean pictures SNR + 1, the squared error of a velocity (Salimans and Ho 2022), but at most 5 (after Hang
        et al. 2023, Min-SNR-5): our choice.
        """
        if prediction == "noise":
            return torch.ones(len(times), device=times.device)
        left = self.alpha_bar.to(times.device)[times]
        return (1 / (1 - left)).clamp(max=_HIGHEST_WEIGHT).float()

    def _shares(self, times: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        left = self.alpha_bar.to(times.device)[times].view(-1, *(like.ndim - 1) * [1])
        return left.sqrt().to(like.dtype), (1 - left).sqrt().to(like.dtype)


@dataclass(frozen=True)
class DdimSampler:
    """Goes from noise to pictures and back along one path, without chance (eta 0).

    Attributes:
        schedule: of the noise.
        prediction: what the denoiser predicts.
        steps: evaluations of the denoiser; must divide the schedule's.
        limit: clean pictures are cut to -limit .. limit at each step; None for latents, which have no limits.
        spacing: which times are visited.
    """

    schedule: NoiseSchedule
    prediction: Prediction = "noise"
    steps: int = 20
    limit: float | None = 1.0
    spacing: Spacing = "leading"

    def __post_init__(self) -> None:
        if self.steps < 1 or self.schedule.steps % self.steps:
            raise ValueError(f"{self.steps} steps do not divide the {self.schedule.steps} of the schedule")

    @property
    def times(self) -> Sequence[int]:
        """Indices of the full schedule that are visited, rising."""
        stride = self.schedule.steps // self.steps
        return range(0 if self.spacing == "leading" else stride - 1, self.schedule.steps, stride)

    def render(self, denoiser: Denoiser, start: Tensor) -> Tensor:
        """From noise x_T (n, ...) to pictures (n, ...)."""
        x = start
        for time, following in zip(reversed(self.times), reversed([1.0, *self._left()[:-1]]), strict=True):
            x = self._moved(denoiser, x, time, following)
        return x

    def invert(self, denoiser: Denoiser, pictures: Tensor) -> Tensor:
        """The noise x_T (n, ...) from which pictures (n, ...) are rendered (Diff-AE's stochastic encoder)."""
        x = pictures
        for time, following in zip(self.times, [*self._left()[1:], 0.0], strict=True):
            x = self._moved(denoiser, x, time, following)
        return x

    def _left(self) -> list[float]:
        return [float(self.schedule.alpha_bar[time]) for time in self.times]

    def _moved(self, denoiser: Denoiser, x: Tensor, time: int, left: float) -> Tensor:
        """From one time to where so much of the picture's variance is left."""
        times = torch.full((len(x),), time, device=x.device)
        predicted = denoiser(x, times)
        clean = self.schedule.clean(x, predicted, times) if self.prediction == "noise" else predicted
        clean = clean if self.limit is None else clean.clamp(-self.limit, self.limit)
        # Again, as the clean picture may have been cut.
        noise = self.schedule.noise(x, clean, times)
        return left**0.5 * clean + (1 - left) ** 0.5 * noise


def start_noise(shape: tuple[int, ...], seed: int) -> Tensor:
    """The x_T (1, *shape) that all frames of an actor share: normally distributed, the same for a seed everywhere."""
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed))
