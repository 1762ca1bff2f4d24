"""Speech to latents c and head pose, 25 times a second: two stacks of Conformers with the pose adaptor between them.

Follows the figures of DAE-Talker (Du et al. 2023). The paper gives neither sizes nor the layers of the pose adaptor;
those here are our choice, after DiffDub and AniTalker, which share authors with it. The pose predictor is our choice,
too: in the paper it reads what the first Conformers make of speech.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.networks.layers.blocks import check_shape
from model_server.networks.layers.conformer import ConformerBlock

STEPS_PER_FRAME = 2  # speech features come 50 times a second, frames 25 times
_POSE_WIDTH, _POSE_KERNEL, _POSE_LAYERS = 48, 9, 2  # channels; frames
_POSE_UNHEARD, _POSE_DROPOUT = 0.7, 0.5  # of what is heard, and of channels, while training
_MOST_MISSING = 2  # steps of features that may lack or be too many at the end of a sound


@dataclass(frozen=True)
class Speech2LatentSize:
    """Sizes of the network.

    Attributes:
        layers: of the speech features, whose mixture is learned (a softmax, as in DiffDub).
        features: numbers of each layer.
        prosody: numbers beside them, such as energy, voicing and pitch: features made for words lack them.
        width: channels.
        blocks: Conformer blocks before the pose adaptor, and again after it.
        heads: of the attention.
        kernel: of a block's convolution, frames.
        expansion: of the feed-forward layers.
        reach: frames to either side that a block's attention sees; None for all, as in the paper.
        latent: numbers of c.
        pose: numbers of a pose: yaw, pitch, roll.
    """

    layers: int = 6
    features: int = 192
    prosody: int = 3
    width: int = 512
    blocks: int = 4
    heads: int = 4
    kernel: int = 13
    expansion: int = 1
    reach: int | None = None
    latent: int = 512
    pose: int = 3


@dataclass(frozen=True)
class SpeechFeatures:
    """What is known of n sounds, in steps of 20 ms.

    Attributes:
        layers: (n, layers, t, features) outputs of a frozen speech network.
        prosody: (n, t, prosody).
    """

    layers: Tensor
    prosody: Tensor


@dataclass(frozen=True)
class Spoken:
    """What speech tells, for each of n frames' rows.

    Attributes:
        latent: (n, frames, latent).
        pose: (n, frames, pose).
    """

    latent: Tensor
    pose: Tensor


class Speech2Latent(nn.Module):
    """Hears speech, predicts the head's pose from it, and the latents from both.

    Inside, and in training, latents and poses have mean 0 and deviation 1; the buffers hold the training data's own.

    Args:
        size: its sizes.
        dropout: share dropped while training.
    """

    latent_mean: Tensor
    latent_deviation: Tensor
    pose_mean: Tensor
    pose_deviation: Tensor

    def __init__(self, size: Speech2LatentSize, dropout: float = 0.1) -> None:
        super().__init__()
        self.size = size
        self.mixture = nn.Parameter(torch.zeros(size.layers))
        self.downsampling = nn.Conv1d(size.features + size.prosody, size.width, 3, STEPS_PER_FRAME, 1)
        self.speech_encoder = _conformer(size, dropout)
        self.pose_predictor = PosePredictor(size.features + size.prosody, size.pose)
        self.pose_projection = nn.Sequential(
            nn.Linear(size.pose, size.width), nn.SiLU(), nn.Linear(size.width, size.width)
        )
        self.latent_decoder = _conformer(size, dropout)
        self.out = nn.Linear(size.width, size.latent)
        for name, count in (("latent", size.latent), ("pose", size.pose)):
            self.register_buffer(f"{name}_mean", torch.zeros(count))
            self.register_buffer(f"{name}_deviation", torch.ones(count))

    def forward(
        self, speech: SpeechFeatures, frames: int, pose: Tensor | None = None, valid: Tensor | None = None
    ) -> Spoken:
        """Latents and the *predicted* pose, both standardized, for training.

        Args:
            speech: of all that is said.
            frames: to make; two steps of features belong to each.
            pose: (n, frames, pose), standardized, that the latents shall have: the true one; None for the predicted.
            valid: (n, frames) tells frames from padding.
        """
        valid = self._all(speech, frames) if valid is None else valid
        predicted = self.predicted_pose(speech, frames, valid)
        heard = self.hear(speech, frames, valid)
        return Spoken(self.decode(heard, predicted if pose is None else pose, valid), predicted)

    def speak(self, speech: SpeechFeatures, frames: int, pose: Tensor | None = None) -> Spoken:
        """Latents as the decoder wants them, and the pose they have, in the training data's units (degrees).

        Args:
            pose: (n, frames, pose), in those units, in place of the predicted one.
        """
        asked = None if pose is None else (pose - self.pose_mean) / self.pose_deviation
        spoken = self(speech, frames, asked)
        had = spoken.pose * self.pose_deviation + self.pose_mean if pose is None else pose
        return Spoken(spoken.latent * self.latent_deviation + self.latent_mean, had)

    def predicted_pose(self, speech: SpeechFeatures, frames: int, valid: Tensor | None = None) -> Tensor:
        """Standardized poses (n, frames, pose) that go with speech."""
        valid = self._all(speech, frames) if valid is None else valid
        return self.pose_predictor(self.frame_features(speech, frames), valid)

    def frame_features(self, speech: SpeechFeatures, frames: int) -> Tensor:
        """What the pose predictor hears, (n, frames, features + prosody); their mixture learns nothing of it."""
        return self._steps(speech, frames).detach().unflatten(1, (frames, STEPS_PER_FRAME)).mean(2)

    def hear(self, speech: SpeechFeatures, frames: int, valid: Tensor) -> Tensor:
        """What the speech encoder makes of speech, (n, frames, width)."""
        x = self.downsampling(self._steps(speech, frames).transpose(1, 2)).transpose(1, 2)
        return _through(self.speech_encoder, x, valid)

    def decode(self, heard: Tensor, pose: Tensor, valid: Tensor) -> Tensor:
        """Standardized latents (n, frames, latent) of what was heard, with standardized poses (n, frames, pose)."""
        if pose.shape[:2] != heard.shape[:2] or pose.shape[2] != self.size.pose:
            raise ValueError(f"poses are {tuple(pose.shape)}, but must be {(*heard.shape[:2], self.size.pose)}")
        return self.out(_through(self.latent_decoder, heard + self.pose_projection(pose), valid))

    def _steps(self, speech: SpeechFeatures, frames: int) -> Tensor:
        """Features (n, 2 * frames, features + prosody): exactly two steps a frame, the last one repeated or cut."""
        size, wanted = self.size, STEPS_PER_FRAME * frames
        steps = speech.layers.shape[2]
        check_shape(speech.layers, size.layers, steps, size.features)
        check_shape(speech.prosody, steps, size.prosody)
        if frames < 1 or abs(steps - wanted) > _MOST_MISSING:
            raise ValueError(f"{steps} steps of speech do not make {frames} frames, but {steps // STEPS_PER_FRAME}")
        mixed = torch.einsum("l,nltf->ntf", self.mixture.softmax(0).to(speech.layers.dtype), speech.layers)
        x = torch.cat([mixed, speech.prosody], -1)[:, :wanted]
        return torch.cat([x, x[:, -1:].expand(-1, wanted - x.shape[1], -1)], 1)

    def _all(self, speech: SpeechFeatures, frames: int) -> Tensor:
        return torch.ones(len(speech.layers), frames, dtype=torch.bool, device=speech.layers.device)


class PosePredictor(nn.Module):
    """Speech features, each standardized, to poses: a narrow network of its own that hardly hears while it learns.

    Minutes of footage hold some thousand nods. Conformers that also tell latents know them by heart soon, and nod at
    nothing in speech they have not heard (our measurement: correlation with the nods that unheard speech lets expect
    0.33, with this network 0.64).
    """

    def __init__(self, inputs: int, pose: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(inputs, affine=False)
        self.unheard, self.dropout = nn.Dropout(_POSE_UNHEARD), nn.Dropout(_POSE_DROPOUT)
        self.entry = nn.Conv1d(inputs, _POSE_WIDTH, 1)
        self.convs = nn.ModuleList(
            nn.Conv1d(_POSE_WIDTH, _POSE_WIDTH, _POSE_KERNEL, padding=_POSE_KERNEL // 2) for _ in range(_POSE_LAYERS)
        )
        self.out = nn.Linear(_POSE_WIDTH, pose)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map features (n, frames, inputs) to poses (n, frames, pose)."""
        there = valid[:, None].to(x.dtype)
        x = self.dropout(F.silu(self.entry(self.unheard(self.norm(x.transpose(1, 2))))))
        for conv in self.convs:
            x = self.dropout(F.silu(conv(x * there)))
        return self.out(x.transpose(1, 2))


def _conformer(size: Speech2LatentSize, dropout: float) -> nn.ModuleList:
    return nn.ModuleList(
        ConformerBlock(size.width, size.heads, size.reach, size.kernel, dropout, size.expansion)
        for _ in range(size.blocks)
    )


def _through(blocks: nn.ModuleList, x: Tensor, valid: Tensor) -> Tensor:
    for block in blocks:
        x = block(x, valid)
    return x
