"""What the encoders and the face network learn before there is a generator. Each task is one module, fit for DDP."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.networks.pcavs.nonidentity_encoder import FaceAlignmentTrunk
from model_server.training import augment
from model_server.training.face_network import ANGLE_UNIT
from model_server.training.losses import (
    Losses,
    class_cross_entropy,
    heatmap_cross_entropy,
    info_nce,
    known_cross_entropy,
    known_l1,
    soft_argmax,
    weighted,
)
from model_server.training.pcavs.config import Config
from model_server.training.pcavs.data import Chunks, Frames
from model_server.training.pcavs.models import Models
from model_server.training.pcavs.teaching_voices import VoiceWindows

DISTANCE_UNIT = 20.0  # view pixels that landmark losses call 1


class TrunkTask(nn.Module):
    """Landmark maps, head angles through the pose code, opening and visemes through the mouth feature."""

    def __init__(self, models: Models, config: Config) -> None:
        super().__init__()
        self.encoder = models.networks.nonidentity_encoder
        self.angle_readout = models.angle_readout
        self.lip_readout = models.lip_readout
        self.weights = config.trunk
        self.strength = config.augmentation
        learn_only(models, self.encoder, self.lip_readout)
        self.encoder.mouth_embedding.requires_grad_(False)

    def forward(self, frames: Frames) -> tuple[Tensor, Losses]:
        """Total and single losses; half of the frames are augmented."""
        images, landmarks = half_augmented(frames, self.strength)
        losses, _ = self.supervision(images, landmarks, frames)
        return weighted(losses, self.weights), losses

    def supervision(self, images: Tensor, landmarks: Tensor, frames: Frames) -> tuple[Losses, Tensor]:
        """Losses against exact labels, and the mouth features (n, feature)."""
        maps, squeezed, feature = read_trunk(self.encoder.trunk, images)
        losses, mouth = self.head_supervision(feature, frames)
        losses |= {
            "heatmaps": heatmap_cross_entropy(maps, landmarks),
            "landmarks": known_l1(soft_argmax(maps) / DISTANCE_UNIT, landmarks / DISTANCE_UNIT),
            # All that heads learn passes one single channel: were its ReLU to die, nothing would ever revive it.
            "liveness": F.relu(1 - squeezed.float().mean()),
        }
        return losses, mouth

    def head_supervision(self, feature: Tensor, frames: Frames) -> tuple[Losses, Tensor]:
        """As `supervision`, for what the heads make of the trunk's features."""
        mouth = self.encoder.mouth_feature(feature)
        opening, visemes = self.lip_readout(mouth)
        losses = {
            "angles": known_l1(self.angle_readout(self.encoder.pose_code(feature)), frames.angles / ANGLE_UNIT),
            "opening": known_l1(opening, frames.opening),
            "visemes": known_cross_entropy(visemes, frames.visemes),
        }
        return losses, mouth


class IdentityTask(nn.Module):
    """Plain softmax over the people of the corpus."""

    def __init__(self, models: Models, config: Config) -> None:
        super().__init__()
        self.encoder = models.networks.identity_encoder
        self.classifier = models.classifier
        self.weights = config.identity
        learn_only(models, self.encoder, self.classifier)
        self.encoder.map_head.requires_grad_(False)

    def forward(self, frames: Frames) -> tuple[Tensor, Losses]:
        """Total and single losses, with the share of right answers."""
        images, _ = half_augmented(frames, 0.5)
        logits = self.classifier(self.encoder(images)[0])
        loss = class_cross_entropy(logits, frames.identity)
        return loss * self.weights.identity, {"identity": loss, "accuracy": _accuracy(logits, frames.identity)}


class SpeechTask(nn.Module):
    """Sound and lips in one space: two-way InfoNCE over windows of clips, other times of a clip among the negatives."""

    def __init__(self, models: Models, config: Config) -> None:
        super().__init__()
        self.trunk_task = TrunkTask(models, config)
        self.encoder = models.networks.speech_encoder
        self.lip_readout = models.content_readout
        self.phoneme_readout = models.phoneme_readout
        self.weights = config.speech
        self.strength = config.augmentation
        self.encoder.requires_grad_(True)
        self.lip_readout.requires_grad_(True)
        self.phoneme_readout.requires_grad_(True)
        for part in self._kept():
            part.requires_grad_(False)

    def train(self, mode: bool = True) -> SpeechTask:
        """What does not learn keeps its batch statistics too."""
        super().train(mode)
        for part in self._kept():
            part.eval()
        return self

    def _kept(self) -> list[nn.Module]:
        """What stays as it is."""
        encoder = self.trunk_task.encoder
        if not self.weights.train_heads:
            return [encoder]
        return [] if self.weights.train_trunk else [encoder.trunk]

    def forward(self, chunks: Chunks) -> tuple[Tensor, Losses]:
        """Total and single losses of chunks, `chunk_length` frames of each clip."""
        frames = chunks.frames
        length = chunk_length(self.weights.window, self.weights.shifts, self.weights.stride)
        clips = len(frames) // length
        supervised, lips = self._read_lips(frames, clips, length)
        content, elsewhere = self._contents(frames, chunks.voices)
        opening, visemes = self.lip_readout(content)
        video, audio = (self._windows(x.view(clips, length, -1)) for x in (lips, content))
        contrastive, accuracy = info_nce(video, audio, self.weights.temperature)
        losses = {
            "contrastive": contrastive,
            "audio_opening": known_l1(opening, frames.opening),
            "audio_visemes": known_cross_entropy(visemes, frames.visemes),
            "supervision": weighted(supervised, self.trunk_task.weights),
        }
        told = self._listen(elsewhere, chunks.voices) if chunks.voices else {}
        total = weighted(losses | {name: told[name] for name in told if name != "phoneme_accuracy"}, self.weights)
        return total, losses | told | {"accuracy": accuracy, **supervised}

    def _contents(self, frames: Frames, voices: VoiceWindows | None) -> tuple[Tensor, Tensor]:
        """Speech contents of the clips and of the other voices, which batch normalisation sees together."""
        count = len(frames.windows)
        whole = self.encoder(torch.cat([frames.windows, voices.windows]) if voices else frames.windows)
        return whole[:count], whole[count:]

    def _listen(self, content: Tensor, voices: VoiceWindows) -> Losses:
        """What a recogniser heard, read from the contents of other voices; closed lips where nobody speaks."""
        phonemes = self.phoneme_readout(F.relu(content))
        opening, visemes = self.lip_readout(content)
        silent = voices.wordless
        shut = torch.where(silent, 0.0, torch.nan)
        closed = F.one_hot(torch.zeros_like(silent, dtype=torch.long), visemes.shape[1]).float()
        return {
            "phonemes": known_cross_entropy(phonemes, voices.phonemes),
            "voice_visemes": known_cross_entropy(visemes, voices.visemes),
            "closed": known_l1(opening, shut)
            + 0.1 * known_cross_entropy(visemes, torch.where(silent[:, None], closed, torch.nan)),
            "phoneme_accuracy": (phonemes.argmax(1) == voices.phonemes.argmax(1)).float().mean(),
        }

    def _read_lips(self, frames: Frames, clips: int, length: int) -> tuple[Losses, Tensor]:
        """The supervision's losses and the mouth features, from the bank or with one augmentation for each clip."""
        if frames.seen.numel():
            return self.trunk_task.head_supervision(frames.seen, frames)
        change = augment.draw(clips, self.strength, frames.images.device).repeated(length)
        return self.trunk_task.supervision(change.images(frames.images), change.points(frames.landmarks), frames)

    def _windows(self, features: Tensor) -> Tensor:
        """Concatenated features (clips * shifts, window * d) of chunks (clips, length, d)."""
        cut = features.unfold(1, self.weights.window, self.weights.stride)
        return F.normalize(cut, dim=2).flatten(2).flatten(0, 1)


class PerceptualTask(nn.Module):
    """The face network on all labels of the corpus."""

    def __init__(self, models: Models, config: Config) -> None:
        super().__init__()
        self.face = models.face
        self.classifier = models.face_classifier
        self.weights = config.perceptual
        self.size = config.generator.loss_size
        learn_only(models, self.face, self.classifier)

    def forward(self, frames: Frames) -> tuple[Tensor, Losses]:
        """Total and single losses; half of the frames are augmented."""
        images, landmarks = half_augmented(frames, 0.5)
        reading = self.face(shrunk(images, self.size))
        logits = self.classifier(F.relu(reading.embedding))
        losses = {
            "identity": class_cross_entropy(logits, frames.identity),
            "landmarks": known_l1(reading.landmarks / DISTANCE_UNIT, landmarks / DISTANCE_UNIT),
            "angles": known_l1(reading.angles, frames.angles / ANGLE_UNIT),
            "opening": known_l1(reading.opening, frames.opening),
            "visemes": known_cross_entropy(reading.visemes, frames.visemes),
        }
        return weighted(losses, self.weights), losses | {"accuracy": _accuracy(logits, frames.identity)}


def learn_only(models: Models, *parts: nn.Module) -> None:
    """Freeze everything but `parts`."""
    models.requires_grad_(False)
    for part in parts:
        part.requires_grad_(True)


def chunk_length(window: int, shifts: int, stride: int) -> int:
    """Frames that `shifts` windows, `stride` apart, take."""
    return window + (shifts - 1) * stride


def read_trunk(trunk: FaceAlignmentTrunk, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Landmark maps (n, 68, 56, 56), the map made of them (n, 1, 28, 28) before its ReLU, and features (n, feature)."""
    maps = trunk.landmark_maps(images)
    squeezed = trunk.squeeze(F.relu(trunk.landmarks_norm(maps)))
    return maps, squeezed, trunk.readout(F.relu(squeezed.flatten(1)))


def half_augmented(frames: Frames, strength: float) -> tuple[Tensor, Tensor]:
    """Images and landmarks, every other one augmented."""
    change = augment.draw(len(frames), strength, frames.images.device)
    rows = torch.arange(len(frames), device=frames.images.device) % 2 == 0
    images = torch.where(rows.view(-1, 1, 1, 1), change.images(frames.images), frames.images)
    return images, torch.where(rows.view(-1, 1, 1), change.points(frames.landmarks), frames.landmarks)


def shrunk(images: Tensor, size: int) -> Tensor:
    """Pictures (n, c, s, s) at the side `size`, a divisor of s, or as they are if that is no smaller."""
    return images if size >= images.shape[-1] else F.avg_pool2d(images, images.shape[-1] // size)


def _accuracy(logits: Tensor, classes: Tensor) -> Tensor:
    known = classes >= 0
    return ((logits.argmax(1) == classes) & known).sum() / known.sum().clamp(min=1)
