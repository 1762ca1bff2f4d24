"""What is predicted goes less far than the truth: by which factors, measured on clips kept out of the training.

A prediction by least squares is the mean of what may be, and moves less than any of it. Our choice; not in the paper.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model_server.corpus.actor.statistics import moving_mean
from model_server.corpus.labels import lip_opening
from model_server.corpus.mesh import MeshReader
from model_server.engines.dae_talker.actor_networks import ActorNetworks
from model_server.engines.dae_talker.decoding import rendered
from model_server.engines.dae_talker.pose_noise import pose_noise
from model_server.engines.dae_talker.weights import Angles
from model_server.features import CROP_SIDE
from model_server.networks.dae_talker.speech2latent import Speech2Latent, SpeechFeatures, Spoken
from model_server.networks.dae_talker.speech_features import SpeechNetwork, reader_of
from model_server.training.dae_talker.data import ActorStore, Rows
from model_server.training.dae_talker.spoken_stage import readout

Floats = NDArray[np.float32]

_WINDOW = 250  # frames that the engine hears at once
_POSE, _LIPS = (1.0, 2.5), (1.0, 1.8)
_QUICK = 13  # frames, over whose mean movement is slow
_NOISE = 5000  # frames of noise, from which it is told how much of it is quick
_TRIED = 1.5  # factor with which lips are drawn, besides 1, to see what a factor does
_LEAST_SLOPE = 0.1  # where lips hardly follow their factor, none is told
_FRAMES, _DRAWN = 2000, 300  # of the training, from which it is told how latents go with the lips; drawn ones
_STEPS = 4  # in which pictures are drawn where there is no student
_BATCH = 32  # pictures at once


@torch.no_grad()
def nods_rescale(network: Speech2Latent, speech: SpeechNetwork, store: ActorStore) -> Angles:
    """Have quick movement go as far as true one on a store's clips: the pose predictor's last layer is changed to that.

    Not every stressed syllable is nodded at, and a mean nods half as deep at each. Slow movement, which speech does not
    tell, comes from noise; what quick movement is in that counts as well.

    Returns:
        The factors of yaw, pitch and roll, 1 to 2.5 each.
    """
    if not len(store):
        return 1.0, 1.0, 1.0
    both = [[_quick(angles).var(axis=0) for angles in window] for window in _poses(network, speech, store)]
    predicted, true = np.mean(both, axis=0)
    of_noise = network.pose_deviation.numpy() ** 2 * _quick(pose_noise(range(_NOISE), network.size.pose, 0)).var(axis=0)
    lacking = np.maximum(true - of_noise, 0)
    factors = np.clip(np.sqrt(lacking / np.maximum(predicted, 1e-9)), *_POSE).astype(np.float32)
    network.pose_predictor.out.weight.mul_(torch.from_numpy(factors)[:, None])
    network.pose_predictor.out.bias.mul_(torch.from_numpy(factors))
    yaw, pitch, roll = factors.tolist()
    return yaw, pitch, roll


def pose_rescale(network: Speech2Latent, speech: SpeechNetwork, store: ActorStore) -> Angles:
    """How much farther yaw, pitch and roll go in truth than predicted on a store's clips: 1 to 2.5 each."""
    if not len(store):
        return 1.0, 1.0, 1.0
    both = [[angles.var(axis=0) for angles in window] for window in _poses(network, speech, store)]
    predicted, true = np.mean(both, axis=0)
    ratios = np.sqrt(true / np.maximum(predicted, 1e-9))
    yaw, pitch, roll = np.clip(ratios, *_POSE).tolist()
    return yaw, pitch, roll


@torch.no_grad()
def lips_rescale(networks: ActorNetworks, known: ActorStore, unseen: ActorStore) -> float:
    """Have lips in drawn pictures go as far as true ones: the last layer of speech to latents is changed to that.

    Speech tells, and the decoder draws, the mean of what may be, so that lips open less than in the footage. The
    opening is read off latents by least squares, and latents are moved along the direction in which they go with it.

    Args:
        networks: with an autoencoder; speech2latent is changed.
        known: the training's frames; not empty.
        unseen: clips whose speech is heard and drawn, and in which the face mesh reads the lips; not empty.

    Returns:
        The factor, 1 to 1.8.
    """
    network = networks.speech2latent
    rows = np.linspace(0, len(known) - 1, min(_FRAMES, len(known))).astype(int)
    latents = _standard(network, encoded(networks, known, rows))
    reading = readout(latents, torch.from_numpy(known.opening[rows])[:, None])
    carried = torch.linalg.lstsq(latents @ reading, latents).solution  # how latents go with the opening, (1, latent)
    every = max(1, len(unseen) // _DRAWN)
    windows = [(_openings(unseen.images(rows[::every])), _standard(network, spoken.latent[::every]))
               for rows, spoken in _windows(network, networks.speech, unseen)]  # fmt: skip

    def moved(factor: float) -> float:
        change = _along(reading, carried, factor)
        return _lips_moved(networks, [(true, _raw(network, latents @ change)) for true, latents in windows])

    plain, more = moved(1.0), moved(_TRIED)
    steeper = (more - plain) / (_TRIED - 1)
    factor = float(np.clip(1 + (1 - plain) / steeper, *_LIPS)) if steeper > _LEAST_SLOPE else 1.0
    change = _along(reading, carried, factor)
    network.out.weight.copy_(change.T @ network.out.weight)
    network.out.bias.copy_(network.out.bias @ change)
    return factor


@torch.no_grad()
def encoded(networks: ActorNetworks, store: ActorStore, rows: Rows) -> Tensor:
    """Latents c (n, latent) of frames by number."""
    assert networks.autoencoder
    parts = []
    for part in np.array_split(rows, -(-len(rows) // _BATCH)):
        images = store.images(part)
        clean = networks.pictures.encode(images) if networks.pictures else images
        parts.append(networks.autoencoder.encoder(clean).float())
    return torch.cat(parts)


def _lips_moved(networks: ActorNetworks, windows: Sequence[tuple[Floats, Tensor]]) -> float:
    """How far lips go in pictures drawn of latents (frames, latent), of true openings (frames,); mean over windows."""
    shares = []
    for true, latents in windows:
        drawn = np.concatenate([_openings(_drawn(networks, part)) for part in latents.split(_BATCH)])
        seen = np.isfinite(drawn) & np.isfinite(true)
        if seen.sum() > 1 and true[seen].std() > 0:
            shares.append(drawn[seen].std() / true[seen].std())
    return float(np.mean(shares)) if shares else 1.0


def _drawn(networks: ActorNetworks, latents: Tensor) -> Tensor:
    """Pictures (n, 3, s, s) of latents (n, latent)."""
    start = networks.start_noise.expand(len(latents), -1, -1, -1)
    return rendered(networks, latents, 1 if networks.student else _STEPS, start)


def _openings(pictures: Tensor) -> Floats:
    """Lip openings (n,) that the face mesh reads in pictures (n, 3, s, s); NaN where it finds no face.

    True pictures are read like drawn ones: the mesh sees lips less open than a renderer says that they are.
    """
    views = F.interpolate(pictures, (CROP_SIDE, CROP_SIDE), mode="bicubic").clamp(-1, 1)
    pixels = ((views + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    faces = [MeshReader().read(view) for view in pixels]
    return np.array([lip_opening(face.landmarks[None])[0] if face else np.nan for face in faces], np.float32)


def _quick(angles: Floats) -> Floats:
    """What moves within half a second of angles (n, 3)."""
    return (angles - moving_mean(angles, _QUICK)).astype(np.float32)


def _along(reading: Tensor, carried: Tensor, factor: float) -> Tensor:
    """Matrix (latent, latent) that makes what is read off standardized latents `factor` times as large."""
    return torch.eye(len(reading)) + (factor - 1) * reading @ carried


def _raw(network: Speech2Latent, latents: Tensor) -> Tensor:
    return latents * network.latent_deviation + network.latent_mean


def _standard(network: Speech2Latent, latents: Tensor) -> Tensor:
    return (latents - network.latent_mean) / network.latent_deviation


@torch.no_grad()
def _poses(network: Speech2Latent, speech: SpeechNetwork, store: ActorStore) -> Iterator[tuple[Floats, Floats]]:
    """Poses (frames, 3) told of a store's sound, and the true ones, in degrees, by windows."""
    for rows, features in _heard(speech, store):
        told = network.predicted_pose(features, len(rows))[0] * network.pose_deviation + network.pose_mean
        yield told.float().numpy(), store.angles[rows]


@torch.no_grad()
def _windows(network: Speech2Latent, speech: SpeechNetwork, store: ActorStore) -> Iterator[tuple[Rows, Spoken]]:
    """Numbers of frames, and latents (frames, latent) and pose (frames, 3) told of their sound, by windows."""
    for rows, features in _heard(speech, store):
        spoken = network.speak(features, len(rows))
        yield rows, Spoken(spoken.latent[0].float(), spoken.pose[0].float())


def _heard(speech: SpeechNetwork, store: ActorStore) -> Iterator[tuple[Rows, SpeechFeatures]]:
    """Numbers of frames, and features of their sound, by windows."""
    reader = reader_of(speech)
    for clip in range(len(store.clips)):
        rows = store.rows_of(clip)
        for first in range(0, len(rows), _WINDOW):
            part = rows[first : first + _WINDOW]
            yield part, reader.read(torch.from_numpy(store.sound(clip, first, len(part)))[None])
