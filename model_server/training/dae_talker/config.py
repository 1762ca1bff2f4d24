"""What a run of DAE-Talker's stages does; a loss weight has the name of the loss it weighs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from model_server.errors import PoseDubError
from model_server.networks.dae_talker.autoencoder import DiffusionAutoencoderSize
from model_server.networks.dae_talker.presets import AUTOENCODERS, SPEECH2LATENT
from model_server.networks.dae_talker.speech2latent import Speech2LatentSize
from model_server.training.settings import settings_digest

StageName = Literal["face", "pictures", "autoencoder", "latents", "speech2latent", "student"]
STAGES: tuple[StageName, ...] = ("face", "pictures", "autoencoder", "latents", "speech2latent", "student")
_FREE = ("steps", "log_every", "grid_every", "checkpoint_seconds", "guard_steps")


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a stage learns.

    Attributes:
        steps: optimiser steps.
        batch: pictures, or stretches of speech.
        learning_rate: at full pace.
        falling: last share of the steps over which the rate falls to zero; 0 to keep it.
        weight_decay: of AdamW, which without it is Adam.
        ema_decay: of the averaged weights.
    """

    steps: int
    batch: int
    learning_rate: float = 1e-3
    falling: float = 0.4
    weight_decay: float = 0.0
    ema_decay: float = 0.999


@dataclass(frozen=True)
class FaceSchedule(Schedule):
    """The network whose features say how alike two pictures of the actor look.

    Attributes:
        width: channels of its first level.
    """

    width: int = 16
    landmarks: float = 4.0
    angles: float = 1.0
    opening: float = 2.0
    visemes: float = 0.3


@dataclass(frozen=True)
class PicturesSchedule(Schedule):
    """The small convolutional autoencoder of pictures (presets in latents alone).

    Attributes:
        critic_from: share of the steps after which the patch critic plays.
        critic_width: its first channels.
        parts: how much more eyes and mouth count.
        pixels: L1. edges: L1 of differences between neighbours. features: of the face network.
        gan, matching: of the critic (hinge; L1 of its features).
    """

    critic_from: float = 0.7
    critic_width: int = 32
    parts: float = 3.0
    pixels: float = 1.0
    edges: float = 1.0
    features: float = 0.5
    gan: float = 0.02
    matching: float = 0.3


@dataclass(frozen=True)
class AutoencoderSchedule(Schedule):
    """The diffusion autoencoder.

    Attributes:
        noise: squared error of the prediction, the one loss that is published.
        parts: how much more eyes and mouth count; 0 as published.
        shapes: mean squared error of the eyes' and lips' shapes as a linear layer reads them off c (our choice; 0 as
            published). Nine tenths of what changes in an actor's frames is the pose: c tells little else for long.
        balanced: share of the frames that are drawn evenly over how far lips are open (our choice; 0 as published);
            most frames show lips that are nearly closed.
        spread: whether the encoder's last layer begins so that c has mean 0 and deviation 1 over the training frames
            (data-dependent initialization, Salimans and Kingma 2016). One actor's frames are alike: without it their
            latents are, too, and are long overlooked.
        codes: what c is: "encoder" for what the semantic encoder says of a frame, as published; "landmarks" for the
            frame's landmarks, the baseline of the ablation.
        gradient_norm: to which gradients are cut.
        guard_steps: after so many, pictures drawn with another frame's latent must differ, or the stage stops.
    """

    noise: float = 1.0
    parts: float = 0.0
    shapes: float = 0.0
    balanced: float = 0.0
    spread: bool = False
    codes: str = "encoder"
    gradient_norm: float = 1.0
    guard_steps: int = 3000


@dataclass(frozen=True)
class SpeechSchedule(Schedule):
    """Speech to latents and pose.

    Attributes:
        frames: of a stretch of speech.
        dropout: share dropped.
        augmentation: part of all changes of the sound that are made.
        predicted: share of the stretches that get the predicted pose, once `predicted_from` of the steps are done.
        pose_adaptor: whether the pose reaches the latents; the paper's ablation leaves it out.
        whitened: mean squared error of the latents' principal components, each brought to the same deviation (our
            choice, off: it slows the first steps down): nine tenths of the latents' variance are the pose, and lips
            count little in the plain error.
        lips: mean squared error of the lips' shape as a linear read-out tells it of the latents (our choice, for the
            same reason; 0 as published).
        latent, pose: mean squared errors. latent_speed, pose_speed: of the change from frame to frame; nods are quick
            and small beside the slow movement that speech does not tell (our choice; 0 as published).
        pose_decay: weight decay of the pose predictor.
        only_pose: whether the pose predictor alone is learnt; it learns apart from all else anyway.
    """

    frames: int = 250
    dropout: float = 0.1
    augmentation: float = 1.0
    predicted: float = 0.2
    predicted_from: float = 0.6
    pose_adaptor: bool = True
    latent: float = 1.0
    pose: float = 1.0
    latent_speed: float = 0.5
    pose_speed: float = 100.0
    pose_decay: float = 0.1
    only_pose: bool = False
    whitened: float = 0.0
    lips: float = 0.0


@dataclass(frozen=True)
class StudentSchedule(Schedule):
    """Regression to what the teacher draws from the shared noise.

    Attributes:
        width: of its U-Net's first level; 0 for the teacher's.
        pairs: latents and teacher's pictures that are made first.
        teacher_steps: of the teacher's sampler.
        pictures_from: share of the steps after which pictures count beside the picture autoencoder's latents.
        critic_from, critic_width, parts, pixels, edges, features, gan, matching: see `PicturesSchedule`.
        drawn: L1 of what the network itself draws, latents or pixels.
    """

    width: int = 0
    pairs: int = 12000
    teacher_steps: int = 20
    pictures_from: float = 0.5
    critic_from: float = 0.85
    critic_width: int = 32
    parts: float = 3.0
    drawn: float = 1.0
    pixels: float = 1.0
    edges: float = 0.5
    features: float = 0.3
    gan: float = 0.01
    matching: float = 0.1


@dataclass(frozen=True)
class DaeConfig:
    """A whole run.

    Attributes:
        name: of the preset it began with.
        autoencoder_size: name in `networks.dae_talker.presets.AUTOENCODERS`.
        speech2latent_size: name in `networks.dae_talker.presets.SPEECH2LATENT`.
        start_seed: of the noise x_T that all frames start from.
    """

    name: str
    autoencoder_size: str
    speech2latent_size: str
    face: FaceSchedule
    pictures: PicturesSchedule
    autoencoder: AutoencoderSchedule
    speech2latent: SpeechSchedule
    student: StudentSchedule
    seed: int = 1
    start_seed: int = 1
    log_every: int = 50
    grid_every: int = 500
    checkpoint_seconds: float = 300.0

    @property
    def size(self) -> DiffusionAutoencoderSize:
        """Of the diffusion autoencoder."""
        return AUTOENCODERS[self.autoencoder_size]

    @property
    def resolution(self) -> int:
        """Width and height of the pictures."""
        return self.size.pictures.resolution if self.size.pictures else self.size.unet.resolution

    @property
    def speech_size(self) -> Speech2LatentSize:
        """Of speech2latent, without what depends on the speech features."""
        return replace(SPEECH2LATENT[self.speech2latent_size], latent=self.size.unet.latent)

    @property
    def stages(self) -> tuple[StageName, ...]:
        """The stages that the preset has, in order."""
        return tuple(name for name in STAGES if name != "pictures" or self.size.pictures)

    def digest(self) -> str:
        """Hash of all that a checkpoint must share with the run that resumes it."""
        return settings_digest(self, _FREE)


def _published(name: str, batch: int, steps: int) -> DaeConfig:
    """Diff-AE's settings: Adam 1e-4 throughout, gradients cut at 1, average of 0.9999."""
    return DaeConfig(
        name, name, "full",
        face=FaceSchedule(steps=4000, batch=64),
        pictures=PicturesSchedule(steps=0, batch=32),
        autoencoder=AutoencoderSchedule(steps, batch, learning_rate=1e-4, falling=0.0, ema_decay=0.9999),
        speech2latent=SpeechSchedule(steps=20000, batch=8, learning_rate=1e-4, dropout=0.2),
        student=StudentSchedule(steps=30000, batch=32, learning_rate=5e-4, pairs=40000, pictures_from=0.0),
    )  # fmt: skip


_FAST = replace(
    _published("dae-128-fast", 64, 30000),
    speech2latent_size="full",
    autoencoder=AutoencoderSchedule(30000, 64, learning_rate=6e-4, falling=0.6, weight_decay=0.01, spread=True),
)
# Two processor cores: hours, not days.
_CPU = DaeConfig(
    "dae-cpu", "dae-cpu", "small",
    face=FaceSchedule(steps=1500, batch=16),
    pictures=PicturesSchedule(steps=16000, batch=8, learning_rate=8e-4, critic_width=16),
    autoencoder=AutoencoderSchedule(
        15000, 16, learning_rate=6e-4, falling=0.8, weight_decay=0.01, parts=12.0, shapes=0.2, balanced=0.5, spread=True
    ),
    speech2latent=SpeechSchedule(steps=4000, batch=4, learning_rate=4e-4, lips=0.5),
    student=StudentSchedule(
        steps=12000, batch=16, learning_rate=8e-4, critic_width=16, width=64, pairs=8000, teacher_steps=10
    ),
)  # fmt: skip
_NO_POSE = replace(
    _CPU, name="dae-cpu-no-pose", speech2latent=replace(_CPU.speech2latent, pose_adaptor=False)
)  # fmt: skip
_LANDMARKS = replace(
    _CPU, name="dae-cpu-landmarks", autoencoder=replace(_CPU.autoencoder, codes="landmarks", shapes=0.0)
)  # fmt: skip
PRESETS = {
    "dae-256": _published("dae-256", 64, 200000),
    "dae-128": _published("dae-128", 128, 100000),
    "dae-128-fast": _FAST,
    "dae-cpu": _CPU,
    "dae-cpu-no-pose": _NO_POSE,
    "dae-cpu-landmarks": _LANDMARKS,
}


def named(name: str) -> DaeConfig:
    """A ready-made configuration; PoseDubError when there is none of this name."""
    if name not in PRESETS:
        raise PoseDubError(f"There is no training preset {name}; choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]
