"""Heads turned far, beside the truth: rendered people whom nothing was trained on, each at several poses.

Their portrait looks into the camera. What is drawn of it at another pose is compared with the render of that pose:
pixels where either shows the person, and the face's landmarks as one reader sees both. Lips rest in both. Light falls
otherwise on a head that turns, which no portrait tells: pixels differ by that, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from model_server.corpus.mesh import MeshReader
from model_server.corpus.synthetic import render_aligned
from model_server.engines.pcavs.engine import PcavsEngine
from model_server.engines.pcavs.identity import Identity
from model_server.evaluation.measure import faces_of
from model_server.evaluation.pose_sources import rendered_head
from model_server.evaluation.pose_sweep import drawn_at
from model_server.evaluation.views import Pictures
from model_server.features import CROP_SIDE
from model_server.pipeline.faces.alignment import network_view
from model_server.pipeline.faces.relief import relief_of
from model_server.synthetic.actor import Detail, Frame, make_actor
from model_server.synthetic.clip import framing, perform, with_gaze, with_lids

# Yaw, pitch and roll of the poses compared, degrees, by what the table calls them.
POSES: Mapping[str, tuple[tuple[float, float, float], ...]] = {
    "yaw ±20°": ((-20, 0, 0), (20, 0, 0)),
    "yaw ±30°": ((-30, 0, 0), (30, 0, 0)),
    "pitch ±15°": ((0, -15, 0), (0, 15, 0)),
}
COPY, CODES = "the portrait as it is", "codes alone"
# Seeds of people from here on are in no corpus.
_FIRST_SEED = 900_000
_PICTURE, _FILL = 400, 0.5
_HELD = 3  # frames of each pose, until the crop, which follows the mouth with a delay, has come to rest


class Errors(NamedTuple):
    """How far drawn views are off the true ones: pixels of 255, landmarks in pixels of a 224 pixel view."""

    pixels: float
    landmarks: float


@dataclass(frozen=True)
class TurnedPerson:
    """Network views of a person, and where they show something of him or her.

    Attributes:
        portrait: (224, 224, 3), looks into the camera.
        poses: (n, 3) degrees of the others.
        views: (n, 224, 224, 3).
        shown: (n, 224, 224), where view or portrait shows the person.
    """

    portrait: Pictures
    poses: NDArray[np.float32]
    views: Pictures
    shown: NDArray[np.bool_]

    def errors(self, drawn: Pictures, reader: MeshReader) -> NDArray[np.float64]:
        """Of drawn views from the true ones: mean difference of pixels of 255 and of landmarks in pixels, (n, 2)."""
        away = np.abs(drawn.astype(np.int16) - self.views).mean(axis=3)
        pixels = [one[where].mean() for one, where in zip(away, self.shown, strict=True)]
        seen, true = (faces_of([views], reader).landmarks for views in (drawn, self.views))
        return np.stack([pixels, np.linalg.norm(seen - true, axis=2).mean(axis=1)], axis=1)


def turned_people(
    engines: Mapping[str, PcavsEngine], ict: Path, count: int, tell: Callable[[], object]
) -> dict[str, dict[str, Errors]]:
    """Errors by what draws, and by pose; each engine's with the portrait's relief, and with its codes alone.

    Args:
        engines: with pose maps.
        ict: path of the head model's `ict.npz`.
        count: of people.
        tell: is called when one of them is done.
    """
    found: dict[str, list[NDArray[np.float64]]] = {}
    reader = MeshReader()
    for number in range(count):
        person = rendered_person(ict, _FIRST_SEED + number)
        copies = np.repeat(person.portrait[None], len(person.views), axis=0)
        found.setdefault(COPY, []).append(person.errors(copies, reader))
        for name, engine in engines.items():
            relief = relief_of(person.portrait)
            whole, flat = (engine.identity(person.portrait[None], relief=one) for one in (relief, None))
            found.setdefault(name, []).append(person.errors(_drawn(engine, whole, person.poses), reader))
            found.setdefault(f"{name}, {CODES}", []).append(person.errors(_drawn(engine, flat, person.poses), reader))
        tell()
    return {name: _by_pose(np.nanmean(errors, axis=0)) for name, errors in found.items()}


def rendered_person(ict: Path, seed: int) -> TurnedPerson:
    """A person at all poses, in the same light, with resting lips and open eyes."""
    poses = np.array([pose for alike in POSES.values() for pose in alike], np.float32)
    every = np.concatenate([np.zeros((1, 3), np.float32), poses]).repeat(_HELD, axis=0)
    still = np.zeros(len(every), np.float32)
    performance = replace(perform(seed, None, len(every), motion=0.0), angles=every, shifts=np.zeros_like(every))
    performance = with_gaze(with_lids(performance, still), np.zeros((len(every), 2)))
    rng = np.random.default_rng([seed, 43])
    actor = make_actor(rendered_head(ict), seed, Detail())
    frames, *_ = render_aligned(actor, performance, framing(rng, _PICTURE, _FILL), rng)
    views = np.stack([network_view(frame.image) for frame in frames[_HELD - 1 :: _HELD]])
    shown = np.stack([_person(frame) for frame in frames[_HELD - 1 :: _HELD]])
    return TurnedPerson(views[0], poses, views[1:], shown[1:] | shown[0])


def as_table(found: Mapping[str, Mapping[str, Errors]]) -> str:
    """Markdown: a row for each way of drawing, a column for each pose."""
    titles = [f"{pose}: pixels, landmarks" for pose in POSES]
    lines = [f"| away from the true render | {' | '.join(titles)} |", "|" + " --- |" * (len(POSES) + 1)]
    for name, errors in found.items():
        cells = [f"{errors[pose].pixels:.1f}, {errors[pose].landmarks:.1f}" for pose in POSES]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _drawn(engine: PcavsEngine, identity: Identity, poses: NDArray[np.float32]) -> Pictures:
    known = engine.weights.pose_map
    assert known
    return drawn_at(engine, identity, known, poses)


def _by_pose(errors: NDArray[np.float64]) -> dict[str, Errors]:
    ends = np.cumsum([len(alike) for alike in POSES.values()])
    parts = np.split(errors, ends[:-1])
    return {pose: Errors(*part.mean(axis=0).tolist()) for pose, part in zip(POSES, parts, strict=True)}


def _person(frame: Frame) -> NDArray[np.bool_]:
    """Where a view shows the person, (224, 224)."""
    seen = cv2.resize((frame.triangle_ids >= 0).astype(np.uint8) * 255, (CROP_SIDE, CROP_SIDE))
    return network_view(np.repeat(seen[..., None], 3, axis=2).astype(np.uint8))[..., 0] > 127
