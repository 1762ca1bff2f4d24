"""What is predicted goes less far than the truth: by which factors, measured on clips kept out of the training.

A prediction by least squares is the mean of what may be, and moves less than any of it. Our choice; not in the paper.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from model_server.engines.dae_talker.weights import Angles
from model_server.networks.dae_talker.speech2latent import Speech2Latent, Spoken
from model_server.networks.dae_talker.speech_features import SpeechNetwork, reader_of
from model_server.training.dae_talker.data import EYES, ActorStore, Rows
from model_server.training.dae_talker.losses import standardized
from model_server.training.dae_talker.models import DaeModels
from model_server.training.dae_talker.spoken_stage import readout

_WINDOW = 250  # frames that the engine hears at once
_POSE, _LIPS = (1.0, 2.5), (1.0, 1.6)
_SHAPES = 3  # principal components of the lips' shape: about how far they are open, how wide, how rounded
_FRAMES = 2000  # of the training, from which it is told how latents go with the lips
_ENCODED = 32  # pictures at once


def pose_rescale(network: Speech2Latent, speech: SpeechNetwork, store: ActorStore) -> Angles:
    """How much farther yaw, pitch and roll go in truth than predicted on a store's clips: 1 to 2.5 each."""
    if not len(store):
        return 1.0, 1.0, 1.0
    found = [(spoken.pose, torch.from_numpy(store.angles[rows])) for rows, spoken in _windows(network, speech, store)]
    yaw, pitch, roll = _factors(found, _POSE)
    return yaw, pitch, roll


@torch.no_grad()
def lips_rescale(models: DaeModels, speech: SpeechNetwork, known: ActorStore, unseen: ActorStore) -> list[float]:
    """Have predicted lips go as far as true ones: the last layer of speech to latents is changed to that.

    Three numbers of the lips' shape are read off latents by least squares; latents are moved along the directions
    in which they go with those numbers in the training's frames.

    Args:
        models: whose averaged network is changed.
        speech: what it hears with.
        known: the training's frames.
        unseen: clips on which lips are predicted; not empty.

    Returns:
        The factors, 1 to 1.6, of the lips' first, second and third principal component.
    """
    network = models.speech2latent
    rows = np.linspace(0, len(known) - 1, min(_FRAMES, len(known))).astype(int)
    latents = _standard(network, encoded(models, known, rows))
    reading = readout(latents, _lip_components(known.part_shapes[torch.from_numpy(rows), EYES:]))
    shapes = latents @ reading
    carried = torch.linalg.lstsq(shapes, latents).solution  # how latents go with a shape, (shapes, latent)
    found = [(_standard(network, spoken.latent) @ reading, _standard(network, encoded(models, unseen, rows)) @ reading)
             for rows, spoken in _windows(network, speech, unseen)]  # fmt: skip
    factors = _factors(found, _LIPS)
    change = torch.eye(network.size.latent) + reading @ torch.diag(torch.tensor(factors) - 1) @ carried
    network.out.weight.copy_(change.T @ network.out.weight)
    network.out.bias.copy_(network.out.bias @ change)
    return factors


@torch.no_grad()
def encoded(models: DaeModels, store: ActorStore, rows: Rows) -> Tensor:
    """Latents c (n, latent) of frames by number."""
    parts = []
    for part in np.array_split(rows, -(-len(rows) // _ENCODED)):
        images = store.images(part)
        parts.append(models.autoencoder.encoder(models.pictures.encode(images) if models.pictures else images).float())
    return torch.cat(parts)


def _lip_components(lips: Tensor) -> Tensor:
    """The first principal components (n, 3) of lips' shapes (n, points)."""
    moved = lips - lips.mean(0)
    return standardized(moved @ torch.linalg.svd(moved, full_matrices=False).Vh[:_SHAPES].T)


def _standard(network: Speech2Latent, latents: Tensor) -> Tensor:
    return (latents - network.latent_mean) / network.latent_deviation


@torch.no_grad()
def _windows(network: Speech2Latent, speech: SpeechNetwork, store: ActorStore) -> Iterator[tuple[Rows, Spoken]]:
    """Numbers of frames, and latents (frames, latent) and pose (frames, 3) told of their sound, by windows."""
    reader = reader_of(speech)
    for clip in range(len(store.clips)):
        rows = store.rows_of(clip)
        for first in range(0, len(rows), _WINDOW):
            part = rows[first : first + _WINDOW]
            sound = torch.from_numpy(store.sound(clip, first, len(part)))[None]
            spoken = network.speak(reader.read(sound), len(part))
            yield part, Spoken(spoken.latent[0].float(), spoken.pose[0].float())


def _factors(found: list[tuple[Tensor, Tensor]], bounds: tuple[float, float]) -> list[float]:
    """How much farther columns go in truth than predicted, of pairs of predicted and true values (frames, n)."""
    predicted, true = (torch.stack([course.var(0, correction=0) for course in part]).mean(0)
                       for part in zip(*found, strict=True))  # fmt: skip
    return (true / predicted.clamp(min=1e-9)).sqrt().clamp(*bounds).tolist()
