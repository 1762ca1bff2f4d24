"""Whole clips: a person who speaks a text and moves the head, with sound and exact labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from model_server.synthetic.actor import Actor, Detail, Frame, Pose, make_actor, render
from model_server.synthetic.correspondence import correspond
from model_server.synthetic.head import HeadModel
from model_server.synthetic.motion import blinks, gaze, gaze_weights, head_angles
from model_server.synthetic.rasterizer import Camera
from model_server.synthetic.speech import Speech, Voice, synthesize
from model_server.synthetic.visemes import mouth_shape, viseme_weights

Floats = npt.NDArray[np.floating]

# How far lips go, of the shapes as they are: people differ by more than two times, and most go less far.
EFFORT = 0.4, 1.1
HEAD_HEIGHT = 24.0  # cm, chin to crown with hair
# A surface may be this part nearer than the point asked about and still count as the point's own.
DEPTH_TOLERANCE = 0.004


@dataclass(frozen=True)
class Performance:
    """What an actor does, frame by frame.

    Attributes:
        angles: (N, 3) yaw, pitch, roll in degrees.
        shifts: (N, 3) movement of the person, cm.
        visemes: (N, 17) viseme weights, rows summing to 1.
        expressions: blendshape weights of each frame, over the rest face.
        samples: (S,) sound, -1..1.
        sample_rate: Hz; 0 when silent.
        fps: frames per second.
        lids: (N,) closure of the lids, 0 to 1.
    """

    angles: Floats
    shifts: Floats
    visemes: Floats
    expressions: tuple[dict[str, float], ...]
    samples: Floats
    sample_rate: int
    fps: float
    lids: Floats


@dataclass(frozen=True)
class Clip:
    """A rendered clip.

    Attributes:
        images: (N, H, W, 3) uint8 sRGB.
        landmarks: (N, 68, 2) iBUG points, pixels.
        performance: sound and the other labels.
    """

    images: npt.NDArray[np.uint8]
    landmarks: Floats
    performance: Performance


def perform(
    motion_seed: int, speech: Speech | None, frames: int, fps: float = 25.0, motion: float = 1.0
) -> Performance:
    """Head motion, blinks, gaze and speech of a clip.

    Args:
        motion_seed: seed of everything but the speech.
        speech: what is said from the first frame on; None keeps the mouth shut.
        frames: number of frames.
        fps: frames per second.
        motion: 1 uses the whole range of head angles, 0 holds the head still.
    """
    rng = np.random.default_rng([motion_seed, 21])
    angles = head_angles(rng, frames, fps, motion)
    lids, looks = blinks(rng, frames, fps), gaze(rng, frames, fps)
    visemes = viseme_weights(speech.phonemes if speech else (), frames, fps)
    effort = float(rng.uniform(*EFFORT))
    brows = np.clip(head_angles(rng, frames, fps)[:, 1] / 40.0, 0.0, 0.6)
    # The body sways with the head.
    shifts = np.stack([angles[:, 0] * 0.02, -np.abs(angles[:, 1]) * 0.01, 0.0 * lids], 1)
    return Performance(
        angles=angles,
        shifts=shifts.astype(np.float32),
        visemes=visemes,
        expressions=tuple(expression(*values, effort) for values in zip(visemes, lids, looks, brows, strict=True)),
        samples=speech.samples if speech else np.zeros(0, np.float32),
        sample_rate=speech.sample_rate if speech else 0,
        fps=fps,
        lids=lids,
    )


def with_mouth_of(performance: Performance, index: int, donor: int) -> Performance:
    """The same with the mouth of frame `donor` in frame `index`; eyes, brows and head stay as they are there."""
    own, other = performance.expressions[index], performance.expressions[donor]
    mixed = {name: value for name, value in own.items() if _is_upper(name)}
    mixed |= {name: value for name, value in other.items() if not _is_upper(name)}
    expressions = (*performance.expressions[:index], mixed, *performance.expressions[index + 1 :])
    return replace(performance, expressions=expressions)


def with_lids(performance: Performance, lids: Floats) -> Performance:
    """The same with other closures of the lids (N,), 0 to 1."""
    expressions = tuple(
        own | {"eyeBlink_L": float(lid), "eyeBlink_R": float(lid)}
        for own, lid in zip(performance.expressions, lids, strict=True)
    )
    return replace(performance, expressions=expressions, lids=np.asarray(lids, np.float32))


def with_gaze(performance: Performance, looks: Floats) -> Performance:
    """The same with another gaze (N, 2), see `gaze_weights`."""
    expressions = tuple(
        own | gaze_weights(*(float(v) for v in np.clip(look, -1, 1)))
        for own, look in zip(performance.expressions, looks, strict=True)
    )
    return replace(performance, expressions=expressions)


def _is_upper(name: str) -> bool:
    return name.startswith(("eye", "brow"))


def framing(rng: np.random.Generator, size: int, fill: float = 0.66) -> Camera:
    """A camera 0.6 to 1.4 m away, with the head taking about `fill` of the height and a little off centre."""
    distance = float(rng.uniform(60.0, 140.0))
    focal = size * fill * float(rng.uniform(0.93, 1.07)) * distance / HEAD_HEIGHT
    centre = size * (np.array([0.5, 0.53]) + rng.normal(0.0, 0.015, 2))
    return Camera((size, size), focal, distance, (float(centre[0]), float(centre[1])))


def render_performance(actor: Actor, performance: Performance, camera: Camera, first: int = 0) -> Iterator[Frame]:
    """The performance's frames in order; `first` is the number of the first one, from which sensor noise comes."""
    factor = actor.detail.supersampling
    scene = actor.backdrop((camera.size[0] * factor, camera.size[1] * factor))
    for index, expression in enumerate(performance.expressions):
        yaw, pitch, roll = (float(angle) for angle in performance.angles[index])
        x, y, z = (float(value) for value in performance.shifts[index])
        yield render(actor, expression, Pose(yaw, pitch, roll, (x, y, z)), camera, scene, first + index)


def render_clip(
    head: HeadModel,
    identity_seed: int,
    motion_seed: int,
    text: str,
    voice: Voice | None = None,
    size: int = 224,
    frames: int | None = None,
    detail: Detail | None = None,
) -> Clip:
    """Renders one person speaking one text.

    Args:
        head: the parametric head.
        identity_seed: seed of the person and the setting.
        motion_seed: seed of the motion and the framing.
        text: what is said.
        voice: the voice; None takes the default one.
        size: side of the pictures, pixels.
        frames: number of frames; None covers the speech.
        detail: sampling settings.

    Raises:
        PoseDubError: speech synthesis is not installed.
    """
    speech = synthesize(text, voice)
    count = frames if frames is not None else max(int(np.ceil(speech.duration * 25.0)), 1)
    performance = perform(motion_seed, speech, count)
    camera = framing(np.random.default_rng([motion_seed, 22]), size)
    rendered = list(render_performance(make_actor(head, identity_seed, detail), performance, camera))
    return Clip(np.stack([f.image for f in rendered]), np.stack([f.landmarks for f in rendered]), performance)


def backward_flow(actor: Actor, target: Frame, source: Frame) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """For each pixel of `target`, where (H, W, 2) the same point is in `source`, and whether it is visible there."""
    return correspond(
        actor.triangles, target.triangle_ids, target.screen, source.triangle_ids, source.screen,
        actor.detail.supersampling, DEPTH_TOLERANCE,
    )  # fmt: skip


def expression(visemes: Floats, lids: float, look: Floats, brow: float, effort: float) -> dict[str, float]:
    """Blendshape weights of a frame.

    Args:
        visemes: (17,) weights.
        lids: closure, 0 to 1.
        look: gaze, yaw and pitch, see `gaze_weights`.
        brow: how far the brows are raised, 0 to 1.
        effort: factor on the mouth's movement.
    """
    weights = mouth_shape(visemes, effort) | gaze_weights(float(look[0]), float(look[1]))
    weights |= {"eyeBlink_L": float(lids), "eyeBlink_R": float(lids)}
    weights |= {"browInnerUp_L": 0.5 * float(brow), "browInnerUp_R": 0.5 * float(brow)}
    return weights | {"browOuterUp_L": 0.4 * float(brow), "browOuterUp_R": 0.4 * float(brow)}
