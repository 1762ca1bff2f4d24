"""Sizes by name: as published for 64, 128 and 256 pixels, a fast one for one GPU, one in latents for processors.

And toys for tests, a few thousand parameters each, that have all parts of the last one.
"""

from __future__ import annotations

from model_server.networks.dae_talker.autoencoder import DiffusionAutoencoderSize
from model_server.networks.dae_talker.picture_autoencoder import PictureAutoencoderSize
from model_server.networks.dae_talker.semantic_encoder import SemanticEncoderSize
from model_server.networks.dae_talker.speech2latent import Speech2LatentSize
from model_server.networks.dae_talker.unet import UNetSize
from model_server.networks.speech_recogniser.recogniser import RecogniserSize

_LATENTS = PictureAutoencoderSize()
_SIDE, _CHANNELS = _LATENTS.latent_resolution, _LATENTS.channels

# The first three are Diff-AE's for FFHQ (templates.py of its authors), the last two our choice.
AUTOENCODERS: dict[str, DiffusionAutoencoderSize] = {
    "dae-64": DiffusionAutoencoderSize(
        UNetSize(64, 64, (1, 2, 4, 8)),
        SemanticEncoderSize(64, 64, (1, 2, 4, 8, 8)),
    ),
    "dae-128": DiffusionAutoencoderSize(
        UNetSize(128, 128, (1, 1, 2, 3, 4)),
        SemanticEncoderSize(128, 128, (1, 1, 2, 3, 4, 4)),
    ),
    "dae-256": DiffusionAutoencoderSize(
        UNetSize(256, 128, (1, 1, 2, 2, 4, 4)),
        SemanticEncoderSize(256, 128, (1, 1, 2, 2, 4, 4, 4)),
    ),
    "dae-128-fast": DiffusionAutoencoderSize(
        UNetSize(128, 64, (1, 2, 3), patch=4, refinement=16),
        SemanticEncoderSize(128, 32, (1, 2, 3, 4, 4)),
        prediction="clean",
    ),
    "dae-cpu": DiffusionAutoencoderSize(
        UNetSize(_SIDE, 64, (1, 2), _CHANNELS, latent=256, embedding=128, dropout=0.0),
        SemanticEncoderSize(_SIDE, 64, (1, 2), _CHANNELS, latent=256),
        prediction="clean",
        pictures=_LATENTS,
    ),
}

# Widths are our choice (the paper gives none): the largest is that of DiffDub and AniTalker, relatives of the paper.
SPEECH2LATENT: dict[str, Speech2LatentSize] = {
    "full": Speech2LatentSize(),
    "compact": Speech2LatentSize(width=256, expansion=4, latent=256),
    "small": Speech2LatentSize(width=160, latent=256),
}

_TOY_LATENTS = PictureAutoencoderSize(64, (8, 16, 16), channels=4, blocks=1, refinement=0)
TOY_AUTOENCODER = DiffusionAutoencoderSize(
    UNetSize(8, 16, (1, 2), channels=4, blocks=1, attention=(8,), latent=16, embedding=16),
    SemanticEncoderSize(8, 16, (1, 2), channels=4, blocks=1, attention=(8,), latent=16),
    prediction="clean",
    pictures=_TOY_LATENTS,
)
TOY_RECOGNISER = RecogniserSize(units=5, width=16, blocks=2, heads=2, reach=8, kernel=5)
TOY_SPEECH2LATENT = Speech2LatentSize(
    layers=TOY_RECOGNISER.blocks, features=TOY_RECOGNISER.width, width=16, blocks=1, heads=2, kernel=5, latent=16
)
