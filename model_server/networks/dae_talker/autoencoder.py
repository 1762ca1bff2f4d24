"""The diffusion autoencoder: a semantic encoder and a U-Net that renders what it says, trained together."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from model_server.networks.dae_talker.diffusion import DdimSampler, Denoiser, NoiseSchedule, Prediction, Spacing
from model_server.networks.dae_talker.picture_autoencoder import PictureAutoencoderSize
from model_server.networks.dae_talker.semantic_encoder import SemanticEncoder, SemanticEncoderSize
from model_server.networks.dae_talker.unet import UNet, UNetSize

# The fewest steps for which Diff-AE shows pictures.
_PUBLISHED_STEPS = 20


@dataclass(frozen=True)
class DiffusionAutoencoderSize:
    """Sizes of a diffusion autoencoder.

    Attributes:
        unet: of the U-Net.
        encoder: of the semantic encoder, which reads the same pictures.
        prediction: what the U-Net predicts.
        pictures: of the autoencoder whose latents are the pictures here; None where they are pixels.
    """

    unet: UNetSize
    encoder: SemanticEncoderSize
    prediction: Prediction = "noise"
    pictures: PictureAutoencoderSize | None = None

    @property
    def limit(self) -> float | None:
        """Largest absolute value of what is rendered; None for latents."""
        return 1.0 if self.pictures is None else None

    def sampler(self, steps: int) -> DdimSampler:
        """What renders latents in so many steps, which must divide the schedule's; ValueError otherwise.

        With few steps it starts where there is nothing but noise (our choice), with others as published.
        """
        spacing: Spacing = "leading" if steps >= _PUBLISHED_STEPS else "trailing"
        return DdimSampler(NoiseSchedule.linear(), self.prediction, steps, self.limit, spacing)


class DiffusionAutoencoder(nn.Module):
    """Pictures to latents c, and c with noise to pictures, by a sampler that the caller brings."""

    def __init__(self, size: DiffusionAutoencoderSize) -> None:
        super().__init__()
        if size.unet.latent != size.encoder.latent or size.unet.shape != _shape(size.encoder):
            raise ValueError("the U-Net and the semantic encoder are of different pictures or latents")
        self.size = size
        self.encoder = SemanticEncoder(size.encoder)
        self.unet = UNet(size.unet)

    def denoiser(self, latent: Tensor) -> Denoiser:
        """The U-Net with latents (n, latent) given, as samplers want it."""
        return lambda noisy, times: self.unet(noisy, times, latent)

    def forward(
        self,
        clean: Tensor,
        noise: Tensor,
        times: Tensor,
        schedule: NoiseSchedule,
        latent: Tensor | None = None,
        importance: Tensor | None = None,
    ) -> Tensor:
        """Training loss (n,) of clean pictures (n, channels, h, w), with noise of that shape, at times (n,).

        The weighted mean squared error of the prediction; gradients reach the encoder through c alone.

        Args:
            latent: c of these pictures, where it was encoded already, as to see its gradient.
            importance: (n, 1, h, w) weights of the squared errors, our choice for small networks; None for none, as
                published.
        """
        latent = self.encoder(clean) if latent is None else latent
        predicted = self.unet(schedule.noisy(clean, noise, times), times, latent)
        target = noise if self.size.prediction == "noise" else clean
        errors = (predicted - target).square()
        errors = errors if importance is None else errors * importance
        return schedule.loss_weights(times, self.size.prediction) * errors.mean((1, 2, 3))


def _shape(encoder: SemanticEncoderSize) -> tuple[int, int, int]:
    return encoder.channels, encoder.resolution, encoder.resolution
