"""Synthetic clips: many people who speak random sentences and move their heads, aligned as footage is, exact labels.

The alignment of `pipeline.faces.alignment` is a similarity per frame, so instead of resampling a larger picture each
frame is rendered anew by the camera whose picture is that crop: no blur, and every label is exact in crop pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import soxr
from numpy.typing import NDArray

from model_server.corpus.build import Plan, Shares
from model_server.corpus.labels import alignment_points, lip_opening
from model_server.corpus.pictures import encode_jpeg
from model_server.corpus.sentences import sentence
from model_server.corpus.shards import CELL, CROP_SIDE, FPS, GRID, OTHERS_TOP, Clip, Dropped
from model_server.corpus.sound import clip_mel, clip_rms
from model_server.corpus.speech.aligned_voices import aligned_voices
from model_server.corpus.speech.clips import encoded_sound
from model_server.corpus.voices import random_voice
from model_server.errors import PoseDubError
from model_server.head_rotation import angles_of, rotation
from model_server.pipeline.faces.alignment import clip_transforms
from model_server.pipeline.speech.audio import SAMPLE_RATE
from model_server.synthetic.actor import Actor, Detail, Frame, Pose, landmarks, make_actor, render
from model_server.synthetic.appearance import backdrop, random_lighting, random_look
from model_server.synthetic.backgrounds import background
from model_server.synthetic.camera_look import random_camera
from model_server.synthetic.clip import DEPTH_TOLERANCE, Performance, framing, perform, with_mouth_of
from model_server.synthetic.correspondence import correspond_at
from model_server.synthetic.head import HeadModel, load_head
from model_server.synthetic.rasterizer import Camera
from model_server.synthetic.speech import Phoneme, Speech, Voice, synthesize
from model_server.synthetic.variety import varied_lighting, varied_look, varied_performance

Floats = NDArray[np.floating]

_UNSEEN = Detail(64, 10, 1)  # of people of whom no picture is made
_PICTURE = 320  # side of the imagined picture that is aligned, pixels
_FILL = 0.6
_STILL = 0.35  # part of clips in which speech dominates
_FLOW_SOURCES = 2
# Parts of varied clips with a place behind, and with light from anywhere; numbers of the streams of chance.
_PLACES, _OTHER_LIGHT = 0.7, 0.6
_VARIED, _CAMERA = 31, 32

Filming = Callable[[list[NDArray[np.uint8]]], list[NDArray[np.uint8]]]


@dataclass(frozen=True)
class Settings:
    """What a synthetic corpus depends on.

    Attributes:
        ict: path of ICT-FaceKit's `ict.npz`.
        identities: number of people.
        clips: clips of each.
        frames: frames of a clip.
        seed: seed of everything.
        voices: eSpeak NG voices; none chosen takes English ones, and others for a fifth of the clips.
        texture, strands, supersampling: see `Detail`.
        speech: corpus of voices whose recordings are spoken in place of eSpeak NG, none for eSpeak NG alone.
        speech_share: part of the clips that they speak.
        other_mouths: further pictures of each frame, with other mouths.
        varied: whether people, places, light and eyes differ more, see `synthetic.variety`.
        camera: part of the clips that look as cameras and codecs leave them.
    """

    ict: Path
    identities: int
    clips: int
    frames: int = 50
    seed: int = 0
    voices: tuple[str, ...] = ()
    texture: int = 256
    strands: int = 1000
    supersampling: int = 2
    speech: Path | None = None
    speech_share: float = 0.5
    other_mouths: int = 0
    varied: bool = False
    camera: float = 0.0


@dataclass(frozen=True)
class IdentityMaker:
    """Makes all clips of one identity, whose number is the unit of work."""

    settings: Settings

    def __call__(self, number: int) -> tuple[list[Clip], list[Dropped]]:
        """Clips of identity `number`; nothing is ever dropped."""
        settings = self.settings
        detail = Detail(settings.texture, settings.strands, settings.supersampling)
        seed = _seed_of(settings.seed, number)
        look = None
        if settings.varied:
            look = varied_look(random_look(np.random.default_rng([seed, 2])), np.random.default_rng([seed, _VARIED]))
        actor = make_actor(_head(settings.ict), seed, detail, look)
        return [_make_clip(actor, settings, number, clip) for clip in range(settings.clips)], []


def plan(settings: Settings, shares: Shares) -> Plan:
    """Plan of a synthetic corpus, split by identity.

    Raises:
        PoseDubError: the head model cannot be read, a number makes no sense, or speech synthesis is not installed.
    """
    if min(settings.identities, settings.clips) < 1 or settings.frames < 3:
        raise PoseDubError("A synthetic corpus needs at least 1 identity, 1 clip of each and 3 frames; ask for more.")
    _head(settings.ict)
    for voice in settings.voices:
        synthesize("a", Voice(voice))
    if settings.speech:
        aligned_voices(settings.speech)
    splits = shares.assign(identity_name(settings.seed, number) for number in range(settings.identities))
    recorded: dict[str, Any] = asdict(settings) | {"ict": settings.ict.name, "voices": list(settings.voices)}
    if settings.speech:
        recorded["speech"] = settings.speech.name
    else:  # corpora made before there was a choice go on
        del recorded["speech"], recorded["speech_share"]
    for name in ("other_mouths", "varied", "camera"):
        if not getattr(settings, name):
            del recorded[name]
    recorded = {"generator": "synthetic"} | recorded | {"shares": asdict(shares)}
    return Plan(range(settings.identities), IdentityMaker(settings), lambda entry: splits[entry.identity], recorded)


def identity_name(seed: int, number: int) -> str:
    """Name of a synthetic person."""
    return f"synthetic-{seed}-{number:05}"


def spoken_landmarks(settings: Settings, number: int) -> tuple[NDArray[np.float32], Floats, Floats]:
    """What a person says who is not rendered: sound at 16 kHz, landmarks (n, 68, 2) and angles (n, 3) of the head."""
    seed = _seed_of(settings.seed, number)
    rng = np.random.default_rng(_seed_of(settings.seed, number, 0, 1))
    speech = _speech(rng, settings)
    performance = perform(seed, speech, settings.frames, FPS, 0.0)
    person, camera = make_actor(_head(settings.ict), seed, _UNSEEN), framing(rng, _PICTURE, _FILL)
    marks = [landmarks(person, *_act(performance, k), camera) for k in range(settings.frames)]
    sound = _at_16k(speech)[: settings.frames * SAMPLE_RATE // FPS]
    return sound, np.stack(marks).astype(np.float32), performance.angles


@lru_cache(maxsize=1)
def _head(path: Path) -> HeadModel:
    return load_head(path)


def _seed_of(*numbers: int) -> int:
    """A seed that no other sequence of numbers shares."""
    return int(np.random.SeedSequence(numbers).generate_state(2, np.uint64)[0] >> np.uint64(1))


def _make_clip(actor: Actor, settings: Settings, number: int, clip: int) -> Clip:
    seed = _seed_of(settings.seed, number, clip, 1)
    rng = np.random.default_rng(seed)
    speech = _speech(rng, settings)
    performance = _performance(rng, seed, speech, settings.frames)
    # The light and the place change between the clips of a person, as they do in footage.
    variety = np.random.default_rng([seed, _VARIED])  # one of its own, so that clips stay as they are without
    lighting = random_lighting(rng)
    if settings.varied:
        performance = varied_performance(performance, variety)
        lighting = varied_lighting(variety) if variety.random() < _OTHER_LIGHT else lighting
    actor = replace(actor, lighting=lighting, seed=seed)
    camera = framing(rng, _PICTURE, _FILL)
    behind = background(variety, camera.size) if settings.varied and variety.random() < _PLACES else None
    frames, transforms, scene = render_aligned(actor, performance, camera, rng, behind)
    look = _camera(settings, seed)
    marks = np.stack([frame.landmarks for frame in frames]).astype(np.float32)
    angles = seen_angles(performance.angles, transforms)
    opening = lip_opening(marks)
    sources = flow_sources(angles, opening, rng)
    flow, visible = _flow(actor, frames, transforms, sources)
    samples = _at_16k(speech)
    return Clip(
        name=f"{identity_name(settings.seed, number)}-{clip}",
        identity=identity_name(settings.seed, number),
        source="synthetic",
        jpegs=tuple(encode_jpeg(picture) for picture in look([frame.image for frame in frames])),
        mel=clip_mel(samples, len(frames), clip_rms(samples, len(frames))),
        angles=angles,
        landmarks=marks,
        visemes=performance.visemes.astype(np.float16),
        opening=opening,
        flow_sources=np.array(sources, np.int16),
        flow=flow,
        visible=visible,
        others=_others(settings.other_mouths, actor, performance, camera, transforms, scene, seed, look),
        lids=performance.lids.astype(np.float32),
        sound=encoded_sound(samples[: (len(frames) + FPS) * SAMPLE_RATE // FPS]),
    )


def _others(
    count: int,
    actor: Actor,
    performance: Performance,
    camera: Camera,
    transforms: Floats,
    scene: Floats,
    seed: int,
    look: Filming,
) -> tuple[bytes, ...]:
    """`count` pictures of each frame's lower part, with the mouths of other frames and nothing else changed."""
    rng = np.random.default_rng([seed, 2])  # one of its own, so that the frames stay as they are without
    donors = [rng.integers(0, len(transforms), count) for _ in transforms]
    takes = []
    for take in range(count):  # each take is filmed by itself, with the same noise in the same frame
        spoken = [with_mouth_of(performance, k, int(donors[k][take])) for k in range(len(transforms))]
        frames = [_rendered(actor, one, k, camera, transforms[k], scene) for k, one in enumerate(spoken)]
        takes.append([encode_jpeg(picture[OTHERS_TOP:]) for picture in look([frame.image for frame in frames])])
    return tuple(file for files in zip(*takes, strict=True) for file in files)


def _camera(settings: Settings, seed: int) -> Filming:
    """What a clip's pictures go through: mostly nothing."""
    rng = np.random.default_rng([seed, _CAMERA])
    return random_camera(rng).of if rng.random() < settings.camera else list


def _speech(rng: np.random.Generator, settings: Settings) -> Speech:
    """Sentences that fill the clip, entered before their beginning or midway."""
    needed = settings.frames / FPS
    lead = float(rng.uniform(-0.8, 0.3))
    if settings.speech and rng.random() < settings.speech_share:
        return delayed(aligned_voices(settings.speech).speech(rng, needed - lead), lead)
    voice = random_voice(rng, settings.voices)
    words = sentence(rng, voice.name[:2])
    speech = synthesize(words, voice)
    while speech.duration + lead < needed:
        words += " " + sentence(rng, voice.name[:2])
        speech = synthesize(words, voice)
    return delayed(speech, lead)


def delayed(speech: Speech, seconds: float) -> Speech:
    """Speech that begins `seconds` later, or is entered midway when negative."""
    shift = round(seconds * speech.sample_rate)
    samples = np.concatenate([np.zeros(max(shift, 0), np.float32), speech.samples[max(-shift, 0) :]])
    exact = shift / speech.sample_rate
    phonemes = tuple(Phoneme(p.symbol, p.start + exact, p.end + exact) for p in speech.phonemes)
    return Speech(samples, speech.sample_rate, phonemes)


def _performance(rng: np.random.Generator, seed: int, speech: Speech, frames: int) -> Performance:
    """Free motion, or a held pose with little motion, frontal half of the time."""
    still = rng.random() < _STILL
    scale = rng.uniform(0.04, 0.15) if still else rng.uniform(0.35, 1.0)
    held = rng.normal(0.0, [16.0, 8.0, 6.0]) if still and rng.random() < 0.5 else np.zeros(3)
    performance = perform(seed, speech, frames, FPS, float(scale))
    angles = np.clip(performance.angles + held, [-45, -30, -20], [45, 30, 20]).astype(np.float32)
    return replace(performance, angles=angles)


def _at_16k(speech: Speech) -> NDArray[np.float32]:
    return np.asarray(soxr.resample(speech.samples, speech.sample_rate, SAMPLE_RATE), np.float32)


def render_aligned(
    actor: Actor, performance: Performance, camera: Camera, rng: np.random.Generator, behind: Floats | None = None
) -> tuple[list[Frame], Floats, Floats]:
    """Frames of a performance as aligned crops, the transforms (n, 2, 3) from the camera to them, and the scene.

    Args:
        behind: what is seen behind the person (height, width, 3) in linear light, a random wall when None.
    """
    marks = np.stack([landmarks(actor, *_act(performance, k), camera) for k in range(len(performance.angles))])
    transforms = clip_transforms(alignment_points(marks.astype(np.float64)))
    scene = backdrop(rng, camera.size)
    scene = scene if behind is None else behind
    frames = [_rendered(actor, performance, k, camera, matrix, scene) for k, matrix in enumerate(transforms)]
    return frames, transforms, scene


def _rendered(
    actor: Actor, performance: Performance, index: int, camera: Camera, matrix: Floats, scene: Floats
) -> Frame:
    """A frame as the crop that `matrix` (2, 3) leads to from the camera's picture."""
    view = camera.transformed(matrix, (CROP_SIDE, CROP_SIDE))
    return render(actor, *_act(performance, index), view, _behind(scene, matrix, actor.detail.supersampling), index)


def seen_angles(angles: Floats, transforms: Floats) -> NDArray[np.float32]:
    """Head angles (n, 3) in degrees as the crops show them: the alignment turns the picture, by `transforms`."""
    seen = []
    for (yaw, pitch, roll), matrix in zip(angles, transforms, strict=True):
        turned = np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))
        head = rotation(0.0, 0.0, float(turned)) @ rotation(yaw, pitch, roll)
        seen.append(angles_of(head))
    return np.array(seen, np.float32)


def _act(performance: Performance, index: int) -> tuple[dict[str, float], Pose]:
    yaw, pitch, roll = (float(angle) for angle in performance.angles[index])
    x, y, z = (float(value) for value in performance.shifts[index])
    return performance.expressions[index], Pose(yaw, pitch, roll, (x, y, z))


def _behind(scene: Floats, matrix: Floats, factor: int) -> Floats:
    """The backdrop under a transform of the picture, at `factor` samples per crop pixel."""
    # Pixel centres lie at halves, OpenCV counts them from 0: shift to halves, transform, shift back.
    samples = factor * matrix
    samples[:, 2] += samples[:, :2].sum(axis=1) / 2 - 0.5
    size = (CROP_SIDE * factor, CROP_SIDE * factor)
    warped = cv2.warpAffine(scene, samples, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(warped, np.float32)


def flow_sources(angles: Floats, opening: Floats, rng: np.random.Generator) -> tuple[int, ...]:
    """Two frames to lead flow to: the most frontal one with a closed mouth, and any other."""
    unlikeness = np.abs(angles / np.array([45.0, 30.0, 20.0])).sum(axis=1) + 4.0 * opening
    portrait = int(unlikeness.argmin())
    others = [k for k in range(len(angles)) if k != portrait]
    return portrait, *(int(k) for k in rng.choice(others, _FLOW_SOURCES - 1, replace=False))


def _flow(
    actor: Actor, frames: list[Frame], transforms: Floats, sources: Sequence[int]
) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
    """Places (n, k, 56, 56, 2) in the source frames of the cells' centres, crop pixels, and whether they show there."""
    factor = actor.detail.supersampling
    centres = (np.arange(GRID, dtype=np.float64) + 0.5) * CELL
    points = np.stack(np.meshgrid(centres, centres), -1).reshape(-1, 2)
    shape = (len(frames), len(sources), GRID, GRID)
    flow, visible = np.empty((*shape, 2), np.float16), np.empty(shape, bool)
    for i, frame in enumerate(frames):
        for j, s in enumerate(sources):
            behind = _carried(points, transforms[i], transforms[s])
            places, seen = correspond_at(
                points * factor, behind * factor, actor.triangles, frame.triangle_ids, frame.screen,
                frames[s].triangle_ids, frames[s].screen, DEPTH_TOLERANCE, len(actor.solid),
            )  # fmt: skip
            flow[i, j] = places.reshape(GRID, GRID, 2) / factor
            visible[i, j] = seen.reshape(GRID, GRID)
    return flow, visible


def _carried(points: Floats, one: Floats, other: Floats) -> Floats:
    """Points (n, 2) of one crop at the same place of the picture, in another crop."""
    picture = np.linalg.solve(one[:, :2], (points - one[:, 2]).T).T
    return picture @ other[:, :2].T + other[:, 2]
