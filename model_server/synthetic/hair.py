"""Hair as explicit strands: scalp hair grown from roots along a combing field, brows, lashes and beard.

A strand is a polyline that follows its root vertex; the renderer widens it to a ribbon facing the camera. Growth rules
use the average head's frame (cm): the scalp's outline is given by azimuth around the head's vertical axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from model_server.synthetic.appearance import Look
from model_server.synthetic.head import HeadModel
from model_server.synthetic.texture import beard_cover, brow_cover, texel_map

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int32]

# Lengths and places are cm, other factors are found by eye: what the picture needed.
HEAD_CENTRE = np.array([0.0, 4.5, 0.5], np.float32)
MAP = 64, 128  # cells of the map of the head's radius: polar angle, azimuth
MAP_BORDER = 8  # cells by which it is continued around the azimuth before it is smoothed
# Where tied hair is gathered, behind the head.
KNOT = np.array([0.0, 5.0, -10.5], np.float32)
# Height of the hairline (cm) by azimuth from the front (degrees).
HAIRLINE = (
    (0, 28, 48, 62, 74, 84, 92, 112, 124, 140, 180),
    (10.9, 10.7, 9.2, 6.6, 3.4, 2.2, 6.2, 6.2, 2.5, -1.2, -2.6),
)


@dataclass(frozen=True)
class Strands:
    """Polylines with their look.

    Attributes:
        points: (N, K, 3) from root to tip, in the neutral face of the identity, cm.
        roots: (N,) head vertex that carries each strand.
        width: (N, K) ribbon width, cm.
        colour: (N, K, 3) linear albedo.
    """

    points: Floats
    roots: Ints
    width: Floats
    colour: Floats


@dataclass(frozen=True)
class Roots:
    """Where strands grow.

    Attributes:
        points: (N, 3) on the neutral face of the identity, cm.
        normals: (N, 3) of the skin there.
        average: (N, 3) the same places on the average head, cm.
        vertices: (N,) head vertex that carries each strand.
    """

    points: Floats
    normals: Floats
    average: Floats
    vertices: Ints

    def tangent(self, directions: Floats) -> Floats:
        """Directions (N, 3) without their part along the normals."""
        return directions - (directions * self.normals).sum(1, keepdims=True) * self.normals


@dataclass(frozen=True)
class Style:
    """How scalp hair grows.

    Attributes:
        top, side: length on the crown and at the sides, cm.
        lift: part of the first direction along the skin's normal.
        gravity: downward pull per cm.
        curl: strength of curls; waves of long hair are weak curls.
        comb: which combing field; see `_combing`.
        clearance: how far hair stays off the head, cm.
    """

    top: float
    side: float
    lift: float
    gravity: float
    curl: float
    comb: str
    clearance: float

    @property
    def steps(self) -> int:
        """Pieces of a strand."""
        return 6 if self.top < 8 else 9


STYLES = {
    "crop": Style(2.6, 1.3, 0.75, 0.02, 0.10, "forward", 0.15),
    "parted": Style(5.5, 2.2, 0.55, 0.06, 0.06, "parted", 0.25),
    "swept": Style(6.0, 2.5, 0.75, 0.03, 0.08, "back", 0.3),
    "bob": Style(17.0, 13.0, 0.35, 0.16, 0.05, "parted", 0.5),
    "long": Style(27.0, 23.0, 0.35, 0.16, 0.10, "parted", 0.5),
    "tied": Style(15.0, 10.0, 0.12, 0.0, 0.01, "tied", 0.28),
    "curly": Style(4.0, 3.0, 0.9, 0.0, 0.75, "out", 0.2),
    "buzz": Style(0.6, 0.5, 0.9, 0.0, 0.05, "out", 0.0),
    "wavy": Style(22.0, 18.0, 0.4, 0.13, 0.35, "parted", 0.6),
    "shag": Style(9.0, 8.0, 0.5, 0.10, 0.28, "forward", 0.4),
    "fringe": Style(13.0, 12.0, 0.35, 0.17, 0.04, "forward", 0.3),
    "afro": Style(8.0, 7.0, 0.95, 0.0, 0.95, "out", 0.3),
    "pixie": Style(4.5, 2.6, 0.5, 0.06, 0.12, "forward", 0.2),
    "slick": Style(7.5, 3.0, 0.2, 0.02, 0.02, "back", 0.15),
}


def scalp_cover(points: Floats, look: Look, softness: float = 0.8) -> Floats:
    """Density of hair roots 0..1 at points (..., 3) of the average head."""
    if look.style == "bald":
        return np.zeros(points.shape[:-1], np.float32)
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    azimuth = np.degrees(np.arctan2(np.abs(x), z - HEAD_CENTRE[2]))
    front = np.clip((75.0 - azimuth) / 20.0, 0.0, 1.0)
    line = np.interp(azimuth, *HAIRLINE) + look.hairline * front
    ragged = 0.22 * np.sin(x * 5.1 + z) + 0.18 * np.sin(x * 11.3 + y * 3.0)
    cover = np.clip((y - line + ragged * 0.6) / softness + 0.5, 0.0, 1.0)
    return np.where(_ears(points) | (y < -5.0), 0.0, cover).astype(np.float32)


def grow_hair(head: HeadModel, shape: Floats, look: Look, count: int, rng: np.random.Generator) -> Strands:
    """Scalp hair of an identity with neutral vertices `shape` (V, 3), as about `count` strands."""
    style = STYLES[look.style]
    roots = _scatter_roots(head, shape, look, count, rng)
    n = len(roots.points)
    crown = np.clip((roots.average[:, 1] - 4.0) / 7.0, 0.0, 1.0)
    length = (style.side + (style.top - style.side) * crown) * look.hair_length * rng.uniform(0.75, 1.1, n)
    length *= 0.45 + 0.55 * scalp_cover(roots.average, look, 3.0)  # shorter towards the hairline
    points = _grow(roots, length, style, look, _radius_map(shape, head.neutral), rng)
    clump = 0.75 + 0.5 * _clump_noise(roots.average, rng)
    # Darker at the root; wider where strands are fewer, so that they cover as much.
    shade = np.linspace(0.62, 1.12, style.steps + 1)[None, :] * (clump * rng.uniform(0.7, 1.3, n))[:, None]
    colour = look.hair * shade[..., None]
    taper = np.linspace(1.0, 0.45, style.steps + 1)[None, :]
    width = 0.14 * np.sqrt(6000.0 / count) * taper * rng.uniform(0.7, 1.3, n)[:, None]
    return Strands(points, roots.vertices, width.astype(np.float32), colour.astype(np.float32))


def grow_brows(head: HeadModel, shape: Floats, look: Look, count: int, rng: np.random.Generator) -> Strands:
    """Brow hairs, pointing outwards and a little up, lying on the skin."""
    face = texel_map(head, ("Face",), 256)
    cover = brow_cover(face.brow_along, face.brow_across, look.brow_width * 0.95)
    roots, place = _pick_on_face(head, shape, cover, count, rng)
    along = face.brow_along[_texels(place, cover.shape[0])]
    side = np.sign(roots.points[:, :1])
    up = np.interp(along, [0.0, 0.3, 1.0], [1.4, 0.55, -0.1])[:, None]
    lean = np.concatenate([side, up, -0.2 * np.ones_like(side)], axis=1)
    length = rng.uniform(0.35, 0.75, count) * np.interp(along, [0.0, 0.5, 1.0], [1.0, 0.9, 0.4])
    return _short_hairs(roots, lean, length, 0.2, look.brows * 0.8, 0.026, rng)


def grow_beard(head: HeadModel, shape: Floats, look: Look, count: int, rng: np.random.Generator) -> Strands:
    """Short beard hairs over the lower face."""
    face = texel_map(head, ("Face",), 256)
    cover = beard_cover(face.position, face.lips)
    roots, _ = _pick_on_face(head, shape, cover, count, rng)
    lean = np.array([0.0, -1.0, 0.1]) + rng.normal(0, 0.25, roots.points.shape)
    length = rng.uniform(0.18, 0.45, count) * (0.4 + look.stubble) * look.beard
    return _short_hairs(roots, lean, length, 0.35, look.brows, 0.03, rng)


def grow_lashes(head: HeadModel, shape: Floats, look: Look, rng: np.random.Generator) -> Strands:
    """Lashes of both lids along the eyes' outline, curving outwards."""
    parts = []
    for start in (36, 42):
        marks = head.landmarks[start : start + 6]
        for lid, sign in ((marks[:4], 1.0), (marks[[0, 5, 4, 3]], -1.0)):
            parts.append(_lid_lashes(head, shape, lid, sign, look, rng))
    return join(parts)


def join(parts: list[Strands]) -> Strands:
    """All strands of several sets, shorter polylines padded by repeating the tip."""
    longest = max(part.points.shape[1] for part in parts)
    padded = [
        [np.concatenate([a, np.repeat(a[:, -1:], longest - a.shape[1], 1)], 1) for a in (p.points, p.width, p.colour)]
        for p in parts
    ]
    points, width, colour = (np.concatenate(arrays) for arrays in zip(*padded, strict=True))
    return Strands(points, np.concatenate([p.roots for p in parts]), width, colour)


def _scatter_roots(head: HeadModel, shape: Floats, look: Look, count: int, rng: np.random.Generator) -> Roots:
    """Roots on the scalp, as dense as hair grows there on the average head."""
    triangles = head.triangles[np.isin(head.parts, ("Face", "BackHead"))]
    average = head.neutral[triangles]
    centre = average.mean(1)
    outwards = np.linalg.norm(centre - HEAD_CENTRE, axis=1) > 6.5
    area = np.linalg.norm(np.cross(average[:, 1] - average[:, 0], average[:, 2] - average[:, 0]), axis=1)
    odds = area * scalp_cover(centre, look) * outwards
    chosen = rng.choice(len(triangles), count, p=odds / odds.sum())
    weights = rng.dirichlet([1.0, 1.0, 1.0], count)[..., None]
    corners = shape[triangles[chosen]]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9
    points, places = (corners * weights).sum(1), (average[chosen] * weights).sum(1)
    return Roots(points, normals, places, triangles[chosen, 0])


def _combing(roots: Roots, style: Style, look: Look) -> Floats:
    """Direction (N, 3) in which hair is combed at each root."""
    x, y, z = roots.average.T
    if style.comb == "out":
        return roots.normals
    if style.comb == "tied":
        return KNOT - roots.average
    if style.comb == "back":
        return np.stack([0.15 * x, 0.0 * x + np.where(y < 8, -0.6, 0.1), -np.ones_like(x)], 1)
    if style.comb == "forward":
        swirl = np.where(y > 9, 0.5 * look.parting, 0.0)
        return np.stack([swirl + 0.1 * x, np.where(y < 9, -1.0, -0.1), np.where(z > 0, 0.7, -0.2)], 1)
    away = np.clip((x - 7.0 * look.parting) * 1.2, -1.0, 1.0)
    back = np.where(z > 4.0, -0.25, -0.35)
    return np.stack([away * np.clip((y - 3.0) / 6.0, 0.15, 1.0), np.where(y < 9, -1.0, -0.1), back], 1)


def _grow(
    roots: Roots, length: Floats, style: Style, look: Look, radius_map: Floats, rng: np.random.Generator
) -> Floats:
    """Polylines (N, steps + 1, 3) of lengths (N,): combed at the root, then pulled down and kept off the head."""
    count, steps = len(length), style.steps
    comb = roots.tangent(_combing(roots, style, look))
    comb /= np.linalg.norm(comb, axis=1, keepdims=True) + 1e-6
    stray = rng.normal(0.0, 0.13, (count, 3))
    heading = _unit(style.lift * rng.uniform(0.7, 1.3, (count, 1)) * roots.normals + comb + stray)
    phase, rate = rng.uniform(0, 2 * np.pi, (count, 1)), rng.uniform(0.8, 1.4, (count, 1))
    layer = style.clearance * rng.uniform(0.2, 2.4, count)
    points, step = [roots.points], (length / steps)[:, None]
    # Step by step along all strands at once: each heading is the one before, bent by combing, curls and weight.
    for k in range(steps):
        turn = 2 * np.pi * rate * (k + 1) / 3.0 + phase
        curl = style.curl * np.concatenate([np.cos(turn), 0.6 * np.sin(turn * 0.9), np.sin(turn)], 1)
        lying = _lying(comb, points[-1], style, k / steps)
        heading = _unit(heading + lying + curl + np.array([0.0, -1.0, 0.0]) * style.gravity * step * (k + 1))
        grown = min(1.0, (k + 1) / 3.0)
        grown_on = points[-1] + heading * step
        points.append(_push_off(grown_on, layer * grown, radius_map, hug=style.comb == "tied"))
    return np.stack(points, 1).astype(np.float32)


def _ears(points: Floats) -> npt.NDArray[np.bool_]:
    """Which points (..., 3) of the average head are on the ears."""
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    return (np.abs(x) > 7.9) & (y < 6.5) & (y > -3.0) & (np.abs(z - 1.0) < 4.0)


def _lying(comb: Floats, points: Floats, style: Style, part: float) -> Floats:
    """How combing bends hair at `part` 0..1 of its length: tied hair all the way, other hair near the root."""
    if style.comb == "tied":
        return 2.0 * _unit(KNOT - points)
    return 0.35 * comb if part < 0.5 else 0.0 * comb


def _unit(vectors: Floats) -> Floats:
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-9)


def _radius_map(shape: Floats, average: Floats) -> Floats:
    """Outer radius (64, 128) of the head without ears around its centre, by polar angle from the top and azimuth."""
    relative = shape[~_ears(average)] - HEAD_CENTRE
    radius = np.linalg.norm(relative, axis=1)
    rows, columns = _sphere_cells(relative, radius)
    grid = np.zeros(MAP, np.float32)
    np.maximum.at(grid, (rows.astype(int), columns.astype(int)), radius)
    filled = np.concatenate([grid[:, -MAP_BORDER:], grid, grid[:, :MAP_BORDER]], 1)
    filled = cv2.GaussianBlur(cv2.dilate(filled, np.ones((3, 3), np.uint8)), (5, 5), 1.2)
    return np.asarray(filled[:, MAP_BORDER:-MAP_BORDER])


def _sphere_cells(relative: Floats, radius: Floats) -> tuple[Floats, Floats]:
    """Row and column (N,) in `MAP` of places (N, 3) around the head's centre, just short of the end."""
    polar = np.arccos(np.clip(relative[:, 1] / (radius + 1e-9), -1, 1)) / np.pi * (MAP[0] - 0.01)
    around = (np.arctan2(relative[:, 0], relative[:, 2]) / (2 * np.pi) % 1.0) * (MAP[1] - 0.01)
    return polar, around


def _push_off(points: Floats, clearance: Floats, radius_map: Floats, hug: bool) -> Floats:
    """Points kept outside the head, or just above it when the hair hugs it."""
    relative = _off_the_face(points) - HEAD_CENTRE
    radius = np.linalg.norm(relative, axis=1)
    rows, columns = _sphere_cells(relative, radius)
    allowed = radius_map[rows.astype(int), columns.astype(int)] - 0.15 + clearance
    # Below the jaw hair hangs freely; the radial map no longer describes a surface to lie on.
    allowed = np.where(relative[:, 1] < -9.0, 0.0, allowed)
    kept = np.minimum(np.maximum(radius, allowed), allowed + 0.4) if hug else np.maximum(radius, allowed)
    return HEAD_CENTRE + relative * (kept / (radius + 1e-9))[:, None]


def _off_the_face(points: Floats) -> Floats:
    """Hair that hangs in front of the cheeks moved to the temples."""
    aside = points.copy()
    low = np.clip((9.0 - points[:, 1]) / 4.0, 0.0, 1.0) * (points[:, 2] > 2.5)
    target = np.sign(points[:, 0]) * np.maximum(np.abs(points[:, 0]), 7.9)
    aside[:, 0] += low * (target - points[:, 0])
    aside[:, 2] -= 0.25 * low * np.clip(points[:, 2] - 2.5, 0.0, None)
    return aside


def _clump_noise(canonical: Floats, rng: np.random.Generator) -> Floats:
    """Noise around 0.5 (N,) that strands whose roots are near each other share: sums of waves over the head."""
    total = np.zeros(len(canonical))
    for scale in (1.5, 3.5, 8.0):
        total += np.sin(canonical @ rng.normal(0, scale, 3) + rng.uniform(0, 6)) / 6 + 1 / 6
    return total


def _pick_on_face(
    head: HeadModel, shape: Floats, cover: Floats, count: int, rng: np.random.Generator
) -> tuple[Roots, Floats]:
    """Roots on the face's triangles with density `cover` given as a texture (S, S); also their places (N, 2) in it."""
    chosen = head.parts == "Face"
    triangles, uv = head.triangles[chosen], head.corner_uv[chosen]
    corners = shape[triangles]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(cross, axis=1)
    odds = area * cover[_texels(uv.mean(1), cover.shape[0])]
    picked = rng.choice(len(triangles), count, p=odds / odds.sum())
    weights = rng.dirichlet([1.0, 1.0, 1.0], count)[..., None]
    points, average = ((some[picked] * weights).sum(1) for some in (corners, head.neutral[triangles]))
    roots = Roots(points, cross[picked] / area[picked, None], average, triangles[picked, 0])
    return roots, (uv[picked] * weights).sum(1)


def _texels(place: Floats, size: int) -> tuple[Ints, Ints]:
    """Rows and columns (N,) of a texture (size, size) at texture coordinates (N, 2)."""
    row, column = ((1 - place[:, 1]) * size).astype(int), (place[:, 0] * size).astype(int)
    return np.clip(row, 0, size - 1), np.clip(column, 0, size - 1)


def _short_hairs(
    roots: Roots, lean: Floats, length: Floats, lift: float, colour: Floats, width: float, rng: np.random.Generator
) -> Strands:
    """Hairs of four points that lean along the skin, rise from it by `lift` and bend back to it."""
    count = len(length)
    heading = _unit(_unit(roots.tangent(lean)) + rng.normal(0, 0.18, (count, 3)) + lift * roots.normals)
    along, normals = np.linspace(0.0, 1.0, 4)[None, :, None], roots.normals[:, None]
    points = roots.points[:, None] + heading[:, None] * along * length[:, None, None] + 0.02 * normals
    points -= normals * (along**2) * (0.25 * lift * length)[:, None, None]
    shade = rng.uniform(0.7, 1.4, (count, 1, 1)) * np.ones((1, 4, 1))
    widths = width * np.linspace(1.0, 0.3, 4)[None] * np.ones((count, 1))
    return Strands(
        points.astype(np.float32), roots.vertices, widths.astype(np.float32), (colour * shade).astype(np.float32)
    )


def _lid_lashes(
    head: HeadModel, shape: Floats, lid: Ints, sign: float, look: Look, rng: np.random.Generator
) -> Strands:
    count = 44 if sign > 0 else 26
    place = np.sort(rng.uniform(0.05, 2.95, count))
    index = place.astype(int)
    part = (place - index)[:, None]
    roots = shape[lid[index]] * (1 - part) + shape[lid[index + 1]] * part
    bulge = (0.10 * np.sin(np.pi * part) - 0.06) * sign
    roots = roots + np.concatenate([0 * bulge, bulge, 0.15 + 0 * bulge], 1)
    middle = shape[lid].mean(0)
    outwards = (roots[:, :1] - middle[0]) * 0.25
    length = (0.52 if look.long_lashes else 0.36) * (1.0 if sign > 0 else 0.5) * rng.uniform(0.7, 1.1, (count, 1))
    along = np.linspace(0, 1, 4)[None, :, None]
    forward = np.concatenate([outwards, 0 * outwards + 0.1 * sign, 0 * outwards + 1.0], 1)
    rise = np.concatenate([0.3 * outwards, 0 * outwards + sign, 0 * outwards], 1)
    points = roots[:, None] + length[:, None] * (_unit(forward)[:, None] * along + 0.7 * rise[:, None] * along**2)
    widths = np.linspace(0.04, 0.012, 4)[None] * np.ones((count, 1))
    colour = np.full((count, 4, 3), 0.012, np.float32)
    vertex = lid[np.round(place).astype(int)]
    return Strands(points.astype(np.float32), vertex.astype(np.int32), widths.astype(np.float32), colour)
