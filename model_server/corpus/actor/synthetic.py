"""One synthetic actor as a studio would film it: camera, light, hair, clothes and background stay as they are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from model_server.corpus.actor.clips import FPS, ActorClip, fitted_sound
from model_server.corpus.actor.script import check_voices, monologue
from model_server.corpus.build import Made, Plan, Shares
from model_server.corpus.labels import alignment_points
from model_server.corpus.pictures import encode_jpeg
from model_server.corpus.speech.aligned_voices import aligned_voices
from model_server.corpus.speech.clips import encoded_sound
from model_server.errors import PoseDubError
from model_server.pipeline.faces.alignment import average_similarity, view_transform
from model_server.synthetic.actor import Actor, Detail, Pose, landmarks, make_actor
from model_server.synthetic.clip import HEAD_HEIGHT, render_performance
from model_server.synthetic.head import load_head
from model_server.synthetic.rasterizer import Camera
from model_server.synthetic.speaking_motion import speak_to_camera

_DISTANCE = 110.0  # cm from the camera
_PICTURE = 320  # side of the imagined picture whose part is rendered, pixels
_FAR = 4.0  # how far the head wanders in clips that turn slowly through most of the range


@dataclass(frozen=True)
class Settings:
    """What a synthetic actor's corpus depends on.

    Attributes:
        ict: path of ICT-FaceKit's `ict.npz`.
        minutes: of footage.
        seed: of the actor and of all that happens.
        size: side of the pictures, pixels.
        frames: of a clip.
        first: number of the first clip: a second corpus may go on where another one ends.
        turning: part of the clips in which the head turns slowly through most of the range.
        voices: eSpeak NG voices; none for many.
        texture, strands, supersampling: see `Detail`.
        speech: corpus of voices whose recordings are spoken in place of eSpeak NG, none for eSpeak NG alone.
        speech_share: part of the clips that they speak.
    """

    ict: Path
    minutes: float = 20.0
    seed: int = 0
    size: int = 128
    frames: int = 500
    first: int = 0
    turning: float = 0.3
    voices: tuple[str, ...] = ()
    texture: int = 512
    strands: int = 3000
    supersampling: int = 3
    speech: Path | None = None
    speech_share: float = 0.5

    @property
    def clips(self) -> int:
        """Clips that the minutes take."""
        return max(round(self.minutes * 60 * FPS / self.frames), 1)

    @property
    def detail(self) -> Detail:
        """How finely the actor is made."""
        return Detail(self.texture, self.strands, self.supersampling)


@dataclass(frozen=True)
class ActorMaker:
    """Makes one clip, whose number is the unit of work."""

    settings: Settings

    def __call__(self, number: int) -> Made:
        """Clip `number`; nothing is ever dropped."""
        settings = self.settings
        rng = np.random.default_rng([settings.seed, number, 31])
        seconds = settings.frames / FPS
        speech = monologue(rng, seconds, settings.voices, settings.speech, settings.speech_share)
        reach = _FAR if rng.random() < settings.turning else 1.0
        performance = speak_to_camera(rng, speech, settings.frames, FPS, reach)
        actor = _actor(settings.ict, settings.seed, settings.detail)
        frames = list(render_performance(actor, performance, studio(actor, settings.size), number * settings.frames))
        clip = ActorClip(
            name=f"{actor_name(settings.seed)}-{number:04}",
            identity=actor_name(settings.seed),
            source="synthetic",
            jpegs=tuple(encode_jpeg(frame.image, fine=True) for frame in frames),
            sound=encoded_sound(fitted_sound(speech.samples.astype(np.float32), settings.frames)),
            angles=performance.angles.astype(np.float32),
            lids=performance.lids.astype(np.float32),
            landmarks=np.stack([frame.landmarks for frame in frames]).astype(np.float32),
            visemes=performance.visemes.astype(np.float16),
        )
        return [clip], []


def plan(settings: Settings, shares: Shares) -> Plan:
    """Plan of a synthetic actor's corpus, split by clip.

    Raises:
        PoseDubError: the head model cannot be read, a number makes no sense, or speech synthesis is not installed.
    """
    if settings.frames < FPS or settings.size < 32:
        raise PoseDubError("An actor's clips need at least 25 frames of 32 pixels; ask for more.")
    load_head(settings.ict)
    check_voices(settings.voices)
    if settings.speech:
        aligned_voices(settings.speech)
    numbers = range(settings.first, settings.first + settings.clips)
    splits = shares.assign(f"{actor_name(settings.seed)}-{number:04}" for number in numbers)
    recorded: dict[str, Any] = asdict(settings) | {"ict": settings.ict.name, "voices": list(settings.voices)}
    recorded["speech"] = settings.speech.name if settings.speech else None
    recorded = {"generator": "synthetic actor"} | recorded | {"shares": asdict(shares)}
    return Plan(numbers, ActorMaker(settings), lambda entry: splits[entry.name], recorded)


def actor_name(seed: int) -> str:
    """Name of a synthetic actor."""
    return f"actor-{seed}"


def studio(actor: Actor, size: int) -> Camera:
    """The camera whose picture is the network's view of the actor looking straight ahead, in `size` pixels squared."""
    whole = Camera((_PICTURE, _PICTURE), 0.6 * _PICTURE * _DISTANCE / HEAD_HEIGHT, _DISTANCE, (_PICTURE / 2,) * 2)
    marks = landmarks(actor, {}, Pose(), whole)[None].astype(np.float64)
    matrix = view_transform(average_similarity(alignment_points(marks)), size)
    return whole.transformed(matrix, (size, size))


@lru_cache(maxsize=1)
def _actor(ict: Path, seed: int, detail: Detail) -> Actor:
    return make_actor(load_head(ict), seed, detail)
