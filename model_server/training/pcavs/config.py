"""What a training run does: networks, stages, loss weights; ready-made for `lite`, `full` and the paper's ablations.

A loss weight has the name of the loss it weighs. Steps are optimiser steps; a batch is what one process sees at once.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from model_server.errors import ErrorKind, PoseDubError
from model_server.networks.pcavs.presets import POSE_SIZE, PRESETS, PresetName
from model_server.training.settings import changed, flat

StageName = Literal["trunk", "identity", "speech", "perceptual", "generator", "lower_face"]
STAGES: tuple[StageName, ...] = ("trunk", "identity", "speech", "perceptual", "generator", "lower_face")
ModulationName = Literal["demodulated", "adaptive_norm"]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a stage learns.

    Attributes:
        steps: optimiser steps.
        batch: pictures, clips (speech) or pairs (generator) of one micro-batch.
        accumulate: micro-batches per step and process.
        learning_rate: Adam's; the generator takes half of it, the discriminator twice (TTUR, Heusel et al. 2017).
    """

    steps: int
    batch: int
    accumulate: int = 1
    learning_rate: float = 1e-3


@dataclass(frozen=True)
class TrunkStage(Schedule):
    """Weights of the non-identity encoder's exact labels, with which `speech` goes on.

    `liveness` keeps the one channel between landmark maps and features above its ReLU.
    """

    heatmaps: float = 0.2
    landmarks: float = 4.0
    angles: float = 2.0
    opening: float = 2.0
    visemes: float = 0.3
    liveness: float = 0.3


@dataclass(frozen=True)
class IdentityStage(Schedule):
    """Softmax over the corpus's people."""

    identity: float = 1.0


@dataclass(frozen=True)
class SpeechStage(Schedule):
    """The speech-content space (PC-AVS, section 3.2).

    Attributes:
        window: frames whose features are concatenated.
        shifts, stride: windows cut from a clip and the frames between them; each is a time-shifted negative of the
            others.
        temperature: of the softmax over cosine similarities.
        contrastive: weight of the two-way InfoNCE.
        audio_opening, audio_visemes: weights of what is read from the speech content.
        supervision: weight of the trunk's labels, which keep the encoder from forgetting them.
        voices: windows of other voices in a micro-batch, where corpora of voices are given.
        phonemes: weight of telling there what a recogniser heard in the middle of a window.
        voice_visemes: weight of the mouth shapes that the renderer gives the phonemes of other voices, where their
            times are known: what a mouth does is then learnt from many voices, not only from those that have pictures.
        closed: weight of closed lips where there is no speech.
        train_trunk: whether the trunk learns on, or only the mouth and pose heads, which is much cheaper.
        train_heads: whether these heads learn; if not, sound is brought to the lips' features as they are, and what
            draws from them goes on.
    """

    window: int = 12
    shifts: int = 3
    stride: int = 4
    temperature: float = 0.1
    contrastive: float = 1.0
    audio_opening: float = 2.0
    audio_visemes: float = 0.5
    supervision: float = 0.5
    voices: int = 128
    phonemes: float = 1.0
    voice_visemes: float = 0.5
    closed: float = 0.5
    train_trunk: bool = True
    train_heads: bool = True


@dataclass(frozen=True)
class PerceptualStage(Schedule):
    """The face network that stands in for VGG-19, and that reads lips and likeness off generated frames.

    Attributes:
        vgg: a user's VGG-19 state dict for the perceptual loss; empty for the face network's own features.
        width: channels of the first layer.
    """

    vgg: str = ""
    width: int = 16
    identity: float = 1.0
    landmarks: float = 4.0
    angles: float = 1.0
    opening: float = 4.0
    visemes: float = 0.5


@dataclass(frozen=True)
class GeneratorStage(Schedule):
    """Generator and pose space (PC-AVS, section 3.3).

    Attributes:
        train_encoders: whether the non-identity trunk and the speech encoder learn on, as in the paper.
        momentum: Adam's first decay, 0 in the paper; the discriminator always has 0.
        audio_share: part of the pairs whose mouth comes from sound, the rest takes it from the picture.
        drawn_size: side at which frames are drawn while learning; the flow is 112 pixels wide at any.
        loss_size: side of the pictures that the discriminator and the face network look at.
        targets: frames drawn from each portrait, whose identity is then encoded once.
        critic_width: first channels of the discriminator.
        critic_start: step from which the discriminator plays.
        angles_decay: steps in which the weight of the head angles falls to a tenth.
        image, warped, mouth, paint: L1 of the frame, of the warped portrait where it shows what is to be seen, of the
            mouth's part of the frame, and of the painted mouth; hidden: of the paint where it does not show it.
        eyes: L1 of the eyes' part of the frame.
        visibility: cross-entropy of the mask with what the portrait shows.
        flow: exact correspondences; mouth_cells: how much more those of mouth and eyes count.
        points: correspondences of eyes, nose and mouth by landmarks, which footage has too.
        identity: softmax over the corpus's people, which keeps the identity encoder telling them apart.
        lips, likeness: what the face network reads off the frame: opening and visemes; embedding.
        steadiness: equal pose codes of one frame under different mouths and augmentations.
    """

    train_encoders: bool = False
    momentum: float = 0.5
    audio_share: float = 0.75
    drawn_size: int = 224
    loss_size: int = 224
    targets: int = 1
    critic_width: int = 32
    critic_start: int = 2000
    angles_decay: int = 10000
    mouth_cells: float = 3.0
    temperature: float = 0.1
    image: float = 10.0
    warped: float = 5.0
    mouth: float = 10.0
    eyes: float = 5.0
    paint: float = 3.0
    hidden: float = 2.0
    visibility: float = 2.0
    flow: float = 20.0
    points: float = 10.0
    identity: float = 0.3
    perceptual: float = 2.0
    gan: float = 0.3
    feature: float = 3.0
    contrastive: float = 0.2
    lips: float = 3.0
    likeness: float = 1.0
    angles: float = 2.0
    visemes: float = 0.3
    steadiness: float = 2.0


@dataclass(frozen=True)
class LowerFaceStage(Schedule):
    """Drawing lower faces into frames; only presets with such a network have it. A batch counts runs of five frames.

    Attributes:
        covers: part of the runs in which something lies over the face; of the frames where only that is learnt.
        only_cover: train nothing but what sees things that lie over a face, of finished weights; much cheaper.
        unsaid: part of the runs that are drawn by the lips' shape alone, without what is said.
        critic_width: first channels of the patch discriminator.
        critic_start: step from which it plays.
        expert: file of a sync network that judges lips and stays as it is; "" for none. Not the one that evaluates.
        image, lips, warped: L1 of the drawn picture, of its lips, and of the bent references where the face is drawn.
        seam: L1 of whole frames with the drawn face in them.
        paint: of the painted picture, mostly at the lips.
        detail: of what is finer than some pixels.
        cover: cross-entropy of what lies over the face.
        perceptual: of the face network's features, which must have been trained.
        sync: how much less than the true frames the expert finds lips and sound to agree.
        opening: L1 of how far open it sees the lips.
    """

    covers: float = 0.3
    only_cover: bool = False
    unsaid: float = 0.5
    critic_width: int = 32
    critic_start: int = 2000
    expert: str = ""
    image: float = 10.0
    lips: float = 15.0
    seam: float = 5.0
    paint: float = 4.0
    warped: float = 2.0
    detail: float = 10.0
    cover: float = 1.0
    perceptual: float = 0.0
    gan: float = 0.3
    feature: float = 3.0
    sync: float = 1.0
    opening: float = 0.5


@dataclass(frozen=True)
class Config:
    """A whole run.

    Attributes:
        augmentation: strength of the target augmentation, 1 as published.
        banked: whether frozen encoders read each frame only once, before the stage that needs it. Much cheaper, but
            each frame is then augmented in one way only and never mirrored.
        visibility: whether a warp generator tells apart what the portrait does not show.
        lids: whether it is told how far lids are closed.
        compiled: whether the warp generator is compiled: a minute at the start, then about a quarter faster. Needs a
            C++ compiler.
        cached_clips: clips kept in memory when they are streamed; all are kept on a GPU.
    """

    name: str
    preset: PresetName
    trunk: TrunkStage
    identity: IdentityStage
    speech: SpeechStage
    perceptual: PerceptualStage
    generator: GeneratorStage
    lower_face: LowerFaceStage = LowerFaceStage(steps=0, batch=4)
    seed: int = 1
    pose_size: int = POSE_SIZE
    visibility: bool = True
    lids: bool = True
    modulation: ModulationName = "demodulated"
    ema_decay: float = 0.999
    augmentation: float = 1.0
    banked: bool = False
    compiled: bool = False
    cached_clips: int = 600
    log_every: int = 50
    grid_every: int = 1000
    checkpoint_seconds: float = 120.0

    @property
    def banked_pictures(self) -> tuple[StageName, ...]:
        """Stages whose non-identity trunk is read from the bank."""
        speech: tuple[StageName, ...] = () if self.speech.train_trunk else ("speech",)
        return (*speech, *self._still_generator) if self.banked else ()

    @property
    def banked_sound(self) -> tuple[StageName, ...]:
        """Stages whose speech encoder is read from the bank."""
        return (*self._still_generator, "lower_face") if self.banked else ()

    @property
    def _still_generator(self) -> tuple[StageName, ...]:
        """The generator's stage if encoders stay as they are in it."""
        return () if self.generator.train_encoders else ("generator",)

    def digest(self) -> str:
        """Hash of all that a checkpoint must share with the run that resumes it: everything but the lengths."""
        settings = asdict(self)
        for stage in STAGES:
            del settings[stage]["steps"]
        if PRESETS[self.preset].lower_face is None:  # runs of before there was one go on
            del settings["lower_face"]
        kept = {key: value for key, value in settings.items() if key not in _FREE}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


_FREE = ("compiled", "cached_clips", "log_every", "grid_every", "checkpoint_seconds")

_LITE = Config(
    name="lite",
    preset="lite",
    trunk=TrunkStage(steps=8000, batch=128),
    identity=IdentityStage(steps=3000, batch=128),
    speech=SpeechStage(steps=6000, batch=32),
    perceptual=PerceptualStage(steps=4000, batch=128),
    generator=GeneratorStage(steps=40000, batch=32),
)
_FULL = Config(
    name="full",
    preset="full",
    trunk=TrunkStage(steps=40000, batch=48, learning_rate=5e-4),
    identity=IdentityStage(steps=100000, batch=96, learning_rate=5e-4),
    speech=SpeechStage(steps=100000, batch=12, learning_rate=5e-4),
    perceptual=PerceptualStage(steps=40000, batch=96, width=32),
    generator=GeneratorStage(
        steps=400000, batch=8, accumulate=2, train_encoders=True, momentum=0.0, audio_share=0.5,
        critic_width=64, critic_start=0, perceptual=10.0, gan=1.0, feature=10.0, contrastive=1.0,
    ),
)  # fmt: skip
# Two processor cores: small batches and pictures, encoders read once, no networks that only judge.
_LITE_CPU = Config(
    name="lite-cpu",
    preset="lite",
    trunk=TrunkStage(steps=1800, batch=16),
    identity=IdentityStage(steps=200, batch=32),
    speech=SpeechStage(steps=450, batch=4, train_trunk=False),
    perceptual=PerceptualStage(steps=0, batch=32),
    generator=GeneratorStage(
        steps=4600, batch=16, learning_rate=3e-3, targets=4, audio_share=1.0, drawn_size=112, loss_size=112,
        critic_width=16, critic_start=1000000, mouth=15.0, mouth_cells=8.0, points=30.0,
        perceptual=0.0, contrastive=0.0, lips=0.0, likeness=0.0,
    ),
    banked=True, ema_decay=0.995, grid_every=500, log_every=50,
)  # fmt: skip
# Begins with the weights of lite, of which it changes nothing: only the lower face is learnt.
_IN_PLACE = replace(
    _LITE, name="lite-in-place", preset="lite-in-place", lower_face=LowerFaceStage(steps=60000, batch=16)
)
_IN_PLACE_CPU = replace(
    _LITE_CPU,
    name="lite-in-place-cpu",
    preset="lite-in-place",
    lower_face=LowerFaceStage(steps=24000, batch=4, critic_width=16, critic_start=4000),
    ema_decay=0.998,
)
_ABLATIONS: dict[str, dict[str, Any]] = {
    "no-contrastive": {"speech.contrastive": 0.0, "generator.contrastive": 0.0},
    "pose-36": {"pose_size": 36},
    "adain": {"modulation": "adaptive_norm"},
}


def ready_made() -> dict[str, Config]:
    """All named configurations: `lite`, `full`, those for processors and in place, the paper's ablations of lite."""
    made = {config.name: config for config in (_LITE, _LITE_CPU, _FULL, _IN_PLACE, _IN_PLACE_CPU)}
    for base in (_LITE, _LITE_CPU):
        for ablation, changes in _ABLATIONS.items():
            name = f"{base.name}-{ablation}"
            made[name] = changed(replace(base, name=name), changes)
    return made


def named(name: str) -> Config:
    """A ready-made configuration; PoseDubError when there is none of this name."""
    known = ready_made()
    if name not in known:
        raise PoseDubError(f"There is no training preset {name}; choose one of {', '.join(known)}.")
    return known[name]


def read_config(path: Path) -> Config:
    """A TOML file: `base`, the ready-made configuration it starts from, and whatever differs from it."""
    try:
        document = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise PoseDubError(f"There is no configuration {path}; check the path.", ErrorKind.NOT_FOUND) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PoseDubError(f"The configuration {path} cannot be read ({error}); correct it.") from error
    base = named(str(document.pop("base", "lite")))
    return changed(base, {"name": path.stem, **dict(flat(document))})


def restored(settings: Mapping[str, Any]) -> Config:
    """The configuration that a checkpoint's plain values describe."""
    # Runs of before there were these parts do without.
    return changed(replace(_LITE, visibility=False, lids=False), dict(flat(settings)))
