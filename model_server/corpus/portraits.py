"""Clips of single photographs: a real face turned a little over its own mesh, with the correspondences that this gives.

As they are, two frames are turned further than the others; they are the ones that flow leads to. So what is learnt is
to come from a picture that was bent to one that is nearly as it was taken, and what the bent one hides is known. Nobody
speaks.

With a head model they get mouths that move instead, see `portrait_mouths`: lower faces are learnt from these.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model_server.corpus.build import Made, Plan, Shares
from model_server.corpus.footage import finder
from model_server.corpus.labels import alignment_points, lip_opening
from model_server.corpus.mesh import MESH_68, MESH_OUTLINE
from model_server.corpus.pictures import encode_jpeg
from model_server.corpus.portrait_mouths import (
    at_rest,
    between_lips,
    head_still,
    inner_mouth,
    mouth_motion,
    mouth_path,
    span,
)
from model_server.corpus.shards import CELL, CROP_SIDE, GRID, OTHERS_TOP, PORTRAIT, Clip, Dropped, mel_rows_needed
from model_server.errors import ErrorKind, PoseDubError
from model_server.head_rotation import angles_of, rotation
from model_server.pipeline.faces.alignment import MOUTH, similarity, warp_to
from model_server.pipeline.faces.finder import choose
from model_server.pipeline.faces.head_angles import angles_of as mesh_angles
from model_server.pipeline.faces.head_angles import head_axes
from model_server.pipeline.faces.models import models
from model_server.pipeline.faces.relief import MESH_POINTS
from model_server.pipeline.faces.triangulation import lie_inside, triangulated
from model_server.synthetic.correspondence import correspond_at
from model_server.synthetic.motion import eased_path
from model_server.synthetic.rasterizer import barycentrics, visible_triangles

Floats = NDArray[np.floating]

# Frames of a clip, where mouths stay as they are and where they move; lower faces are learnt of no shorter ones.
STILL_FRAMES, MOVING_FRAMES, LEAST_MOVING = 8, 14, 11
PER_UNIT = 16
SUFFIXES = (".jpg", ".jpeg", ".png")
# Degrees of yaw and pitch either side: of frames to be drawn, and of those to draw them from.
MILD, STRONG = (5.0, 3.0), ((7.0, 15.0), (0.0, 7.0))
SOURCES = 2
# Faces turned further show too little of their far side to be turned.
_MOST_YAW = 22.0
_LEAST_SCORE = 0.3
_OUTER = 12  # pixels between the points around the face
_REACH = 0.55  # widths of the face from it to where nothing moves any more
_FALLS_BACK = 0.7  # what lies so far outside the face lies that much further back
_DISTANCE = 500.0  # pixels from the camera
_TOLERANCE = 0.01
_TEXTURE = 2  # texture pixels along a crop pixel
_HANGS = 0.3  # widths of the face within which what lies around it follows jaw and cheeks
_SOFT = 0.6  # pixels, of lips' edges
# Where mouths move, degrees of yaw and pitch either side, and frames from one turn of the head to the next.
_SWAY, _TURN_FRAMES = (9.0, 5.0), 5.0


@dataclass(frozen=True)
class Settings:
    """What such a corpus depends on, beside the photographs.

    Attributes:
        frames: of each clip.
        seed: of the turns.
        min_face: narrower faces are dropped, pixels.
        ict: ICT-FaceKit's `ict.npz`, by which mouths move; with none they stay as they were taken.
    """

    frames: int = STILL_FRAMES
    seed: int = 0
    min_face: int = 60
    ict: Path | None = None


@dataclass(frozen=True)
class Relief:
    """A photograph as a surface.

    Attributes:
        points: (V, 3) x, y in crop pixels and z away from the camera; first the face's 468, then those around it.
        follows: (V,) how much of the head's turn each takes part in, 0 to 1.
        rim: (V,) which of the face's points each hangs on, and `hangs` (V,) how much, 0 to 1.
        triangles: (T, 3).
        texture: the photograph as the crop shows it, `_TEXTURE` times as large.
    """

    points: Floats
    follows: Floats
    rim: NDArray[np.int64]
    hangs: Floats
    triangles: NDArray[np.int32]
    texture: NDArray[np.uint8]

    def turned(self, yaw: float, pitch: float, offsets: Floats | float = 0.0) -> Floats:
        """The points (V, 3) as a camera sees them, x, y and nearness, with the mouth as taken where crops have it.

        Args:
            offsets: by which the face's points are moved, (468, 3); the head stays where it is.
        """
        face = self.points[list(MESH_OUTLINE)]
        pivot = face.mean(axis=0) + [0.0, 0.0, 0.45 * np.ptp(face[:, 0])]
        flip = np.array([1.0, -1.0, -1.0])

        def seen(points: Floats) -> Floats:
            moved = ((points - pivot) * flip @ rotation(yaw, pitch, 0.0).T.astype(np.float64)) * flip + pivot
            return points + self.follows[:, None] * (moved - points)

        mouth = alignment_points(seen(self.points)[None, list(MESH_68), :2])[0, 2]
        every = np.broadcast_to(offsets, (MESH_POINTS, 3))[self.rim]
        points = seen(self.points + self.hangs[:, None] * every)
        points[:, :2] += np.array(MOUTH) - mouth
        return np.column_stack([points[:, :2], 1 / (_DISTANCE + points[:, 2])]).astype(np.float32)


class Unfit(Exception):
    """Why a photograph gives no clip."""


@dataclass(frozen=True)
class PortraitMaker:
    """Makes the clips of some photographs, the unit of work."""

    settings: Settings

    def __call__(self, files: Sequence[Path]) -> Made:
        """Their clips; what gives none is listed with its reason."""
        clips: list[Clip] = []
        dropped: list[Dropped] = []
        for file in files:
            try:
                clips.append(_moving(file, self.settings) if self.settings.ict else _clip(file, self.settings))
            except Unfit as reason:
                dropped.append(Dropped(file.stem, str(reason)))
        return clips, dropped


def plan(folder: Path, settings: Settings, shares: Shares) -> Plan:
    """Plan of a corpus of all photographs of a folder, one a person, split by person.

    Raises:
        PoseDubError: there are none, a clip would have too few frames, or the head model cannot be read.
    """
    files = sorted(file for file in folder.glob("*") if file.suffix.lower() in SUFFIXES)
    if not files:
        raise PoseDubError(
            f"The folder {folder} holds no photographs; give one with .jpg or .png files.", ErrorKind.NOT_FOUND
        )
    if settings.frames < SOURCES + 1:
        raise PoseDubError(f"A clip of a photograph needs at least {SOURCES + 1} frames; ask for more.")
    if settings.ict and settings.frames < LEAST_MOVING:
        raise PoseDubError(f"A mouth that moves needs at least {LEAST_MOVING} frames of a photograph; ask for more.")
    splits = shares.assign(file.stem for file in files)
    units = [tuple(files[k : k + PER_UNIT]) for k in range(0, len(files), PER_UNIT)]
    recorded = {"generator": "portraits", **asdict(settings), "shares": asdict(shares), "count": len(files)}
    if settings.ict:
        mouth_motion(settings.ict)
        recorded["ict"] = settings.ict.name
    else:  # corpora made before there was a choice go on
        del recorded["ict"]
    return Plan(units, PortraitMaker(settings), lambda entry: splits[entry.identity], recorded)


def _clip(file: Path, settings: Settings) -> Clip:
    relief, own = _relief(file, settings)
    rng = np.random.default_rng([settings.seed, *file.stem.encode()])
    turns = _turns(rng, settings.frames)
    screens = [relief.turned(yaw, pitch) for yaw, pitch in turns]
    size = (CROP_SIDE, CROP_SIDE)
    ids = [visible_triangles(screen, relief.triangles, 0, size)[0] for screen in screens]
    sources = np.arange(settings.frames - SOURCES, settings.frames, dtype=np.int16)
    flow, visible = _flow(relief, screens, ids, sources)
    pictures = [_drawn(relief, *both) for both in zip(screens, ids, strict=True)]
    clip = _labelled(file.stem, pictures, screens, turns, own)
    return replace(clip, flow_sources=sources, flow=flow, visible=visible)


def _moving(file: Path, settings: Settings) -> Clip:
    """A clip of a photograph whose head turns a little and whose mouth moves, with another mouth for each frame."""
    assert settings.ict is not None
    relief, own = _relief(file, settings)
    rng = np.random.default_rng([settings.seed, *file.stem.encode()])
    motion, head = mouth_motion(settings.ict), _turned_by(own)
    face = relief.points[:MESH_POINTS]
    around = relief.triangles[~lie_inside(relief.points[:, :2], relief.triangles, MESH_OUTLINE)]
    relief = replace(relief, triangles=np.concatenate([motion.skin, around, between_lips()]))
    behind = inner_mouth(relief.texture, face * _TEXTURE, rng)
    rest = motion.moved(at_rest(rng, motion, face))
    moves = [rest + motion.moved(shape) for shape in mouth_path(rng, settings.frames)]
    spoken = [move @ head.T * (1.0, -1.0, -1.0) * span(face) for move in moves]
    times = np.arange(0, settings.frames + _TURN_FRAMES, _TURN_FRAMES)
    turns = eased_path(rng.uniform(-1, 1, (len(times), 2)) * _SWAY, list(times), settings.frames, 1.0)
    shots = [_shot(relief, behind, turn, offsets) for turn, offsets in zip(turns, spoken, strict=True)]
    donors = (np.arange(settings.frames) + rng.integers(1, settings.frames, settings.frames)) % settings.frames
    others = [_shot(relief, behind, turn, spoken[donor])[0] for turn, donor in zip(turns, donors, strict=True)]
    pictures, screens = zip(*shots, strict=True)
    clip = _labelled(file.stem, pictures, screens, turns, own)
    return replace(clip, others=tuple(encode_jpeg(picture[OTHERS_TOP:]) for picture in others))


def _labelled(
    name: str,
    pictures: Sequence[NDArray[np.uint8]],
    screens: Sequence[Floats],
    turns: Iterable[Iterable[float]],
    own: Floats,
) -> Clip:
    """A silent clip of pictures whose points show at `screens`, of a head at angles `own` (3,) that is turned further.

    Args:
        turns: yaw and pitch of each frame, degrees.
    """
    marks = np.stack([screen[list(MESH_68), :2] for screen in screens])
    head = _turned_by(own)
    return Clip(
        name=name,
        identity=name,
        source=PORTRAIT,
        jpegs=tuple(encode_jpeg(picture) for picture in pictures),
        mel=np.full((mel_rows_needed(len(pictures)), 80), np.nan, np.float16),
        angles=np.array([angles_of(_turned_by([*turn, 0.0]) @ head) for turn in turns], np.float32),
        landmarks=marks.astype(np.float32),
        opening=lip_opening(marks),
    )


def _turned_by(angles: Iterable[float]) -> Floats:
    return rotation(*(float(angle) for angle in angles))


def _shot(
    relief: Relief, behind: NDArray[np.uint8], turn: Floats, offsets: Floats
) -> tuple[NDArray[np.uint8], Floats]:
    """A frame of the photograph with another mouth, and where its points (V, 3) show."""
    screen = relief.turned(float(turn[0]), float(turn[1]), offsets)
    ids, _ = visible_triangles(screen, relief.triangles, 0, (CROP_SIDE, CROP_SIDE))
    matrix = head_still(relief.points, screen)
    x, y = np.meshgrid(*[np.arange(CROP_SIDE) + 0.5] * 2)
    still = np.stack([x, y], -1) @ matrix[:, :2].T + matrix[:, 2]
    # Between the face and what lies around it some pixels show neither.
    places = np.where(ids[..., None] < 0, still, _places(relief, screen, ids))
    mouth = (ids >= len(relief.triangles) - len(between_lips())).astype(np.float32)
    share = cv2.GaussianBlur(mouth, (0, 0), _SOFT)[..., None]
    skin = _sampled(relief.texture, places).astype(np.float32)
    return np.asarray(skin + share * (_sampled(behind, still) - skin), np.uint8), screen


def _turns(rng: np.random.Generator, count: int) -> list[tuple[float, float]]:
    """Yaw and pitch of each frame, degrees: as it is, a little turned, and at the end further."""
    mild = [(0.0, 0.0), *((float(y), float(p)) for y, p in rng.uniform(-1, 1, (count - SOURCES - 1, 2)) * MILD)]
    sides = rng.choice([-1.0, 1.0], (SOURCES, 2))
    strong = [(float(rng.uniform(*STRONG[0]) * y), float(rng.uniform(*STRONG[1]) * p)) for y, p in sides]
    return mild + strong


def _relief(file: Path, settings: Settings) -> tuple[Relief, Floats]:
    """The photograph as a surface, and the angles (3,) in degrees at which it shows the head."""
    read = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if read is None:
        raise Unfit("cannot be read")
    picture = np.ascontiguousarray(read[:, :, ::-1])
    face = choose(finder().find(picture), None, (picture.shape[1], picture.shape[0]))
    if face is None:
        raise Unfit("no face")
    if face.box[2] - face.box[0] < settings.min_face:
        raise Unfit(f"face narrower than {settings.min_face} pixels")
    side = CROP_SIDE * _TEXTURE
    matrix = similarity(face.points) * _TEXTURE
    texture = warp_to(picture, matrix, (side, side), cv2.BORDER_REFLECT)
    with models() as ready:
        found = ready.meshes(texture, _LEAST_SCORE, faces=1)
    if not found:
        raise Unfit("no landmarks")
    points = found[0].points[:MESH_POINTS].astype(np.float64)
    angles = mesh_angles(head_axes(points))
    if abs(angles[0]) > _MOST_YAW:
        raise Unfit(f"turned by more than {_MOST_YAW:.0f} degrees")
    return _surface(points / _TEXTURE, np.asarray(texture, np.uint8)), angles


def _surface(face: Floats, texture: NDArray[np.uint8]) -> Relief:
    """The face's points, and points around them that ever less follow it."""
    hull = cv2.convexHull(face[:, :2].astype(np.float32))
    steps = np.arange(-4 * _OUTER, CROP_SIDE + 4 * _OUTER + 1, _OUTER, dtype=np.float64)
    grid = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    away = np.array([-cv2.pointPolygonTest(hull, (float(x), float(y)), True) for x, y in grid])
    grid, away = grid[away > _OUTER / 2], away[away > _OUTER / 2]
    width = float(np.ptp(face[list(MESH_OUTLINE), 0]))
    rim = face[list(MESH_OUTLINE)]
    nearest = np.linalg.norm(grid[:, None] - rim[None, :, :2], axis=2).argmin(axis=1)
    depth = rim[nearest, 2] + _FALLS_BACK * np.minimum(away, _REACH * width / 2)
    t = np.clip(1 - away / (_REACH * width), 0, 1)
    points = np.concatenate([face, np.column_stack([grid, depth])])
    near = np.clip(1 - away / (_HANGS * width), 0, 1)
    follows, hangs = (np.concatenate([np.ones(len(face)), x * x * (3 - 2 * x)]) for x in (t, near))
    on = np.concatenate([np.arange(len(face)), np.array(MESH_OUTLINE)[nearest]])
    return Relief(points, follows, on, hangs, triangulated(points[:, :2]), texture)


def _drawn(relief: Relief, screen: Floats, ids: NDArray[np.int32]) -> NDArray[np.uint8]:
    """The photograph as a turned surface shows it."""
    return _sampled(relief.texture, _places(relief, screen, ids))


def _places(relief: Relief, screen: Floats, ids: NDArray[np.int32]) -> Floats:
    """Where the photograph shows what a turned surface has at each pixel, (h, w, 2)."""
    weights = barycentrics(screen, relief.triangles, ids)
    corners = relief.points[relief.triangles[np.maximum(ids, 0)], :2]
    return np.einsum("hwk,hwkc->hwc", weights, corners)


def _sampled(texture: NDArray[np.uint8], places: Floats) -> NDArray[np.uint8]:
    x, y = np.moveaxis(places.astype(np.float32) * _TEXTURE - 0.5, 2, 0)
    return np.asarray(cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.uint8)


def _flow(
    relief: Relief, screens: Sequence[Floats], ids: Sequence[NDArray[np.int32]], sources: NDArray[np.int16]
) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
    """As `corpus.synthetic` has it: places (n, k, 56, 56, 2) in the source frames, and whether they show there."""
    centres = (np.arange(GRID, dtype=np.float64) + 0.5) * CELL
    points = np.stack(np.meshgrid(centres, centres), -1).reshape(-1, 2)
    shape = (len(screens), len(sources), GRID, GRID)
    flow, visible = np.empty((*shape, 2), np.float16), np.empty(shape, bool)
    for i, screen in enumerate(screens):
        for j, source in enumerate(sources):
            places, seen = correspond_at(
                points,
                points,
                relief.triangles,
                ids[i],
                screen,
                ids[source],
                screens[source],
                _TOLERANCE,
                len(relief.triangles),
            )
            flow[i, j], visible[i, j] = places.reshape(GRID, GRID, 2), seen.reshape(GRID, GRID)
    return flow, visible
