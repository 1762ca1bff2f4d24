"""Painted textures: albedo and gloss of the face and of an eye, evaluated at each texel's place on the average head.

All identities share one texture layout, so the place of every texel is worked out once per head model and size. Rules
for skin regions are given in that average head's coordinates (cm), which makes them fit any identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from model_server.synthetic.appearance import Look, linear
from model_server.synthetic.head import HeadModel
from model_server.synthetic.rasterizer import barycentrics, visible_triangles

Floats = npt.NDArray[np.floating]

# Places (cm) are those of the average head, factors and strengths are found by eye: what the picture needed.
EYE_CENTRE = (3.2375, 3.611)  # corneal apex of the average head, |x| and y, cm
IRIS_RADIUS = 0.62  # cm
PIXELS_PER_CM = 50.0  # of the masks that distances to outlines are measured in
FAR = -9.0  # cm, of a signed distance: where a region cannot be, as behind the face
LIPS_BEHIND, LIDS_BEHIND = 8.5, 7.5  # z, cm: what lies further back is neither


@dataclass(frozen=True)
class TexelMap:
    """Where texels lie on the average head.

    Attributes:
        position: (S, S, 3) point of the average head under each texel, cm.
        lips: (S, S) signed distance to the lips' outline in the frontal view, cm, positive inside.
        brow_along: (S, S) place along the brow, 0 at the nose .. 1 at the temple.
        brow_across: (S, S) signed height over the brow's centre line, cm.
        eye_rim: (S, S) distance to the eyelids' outline in the frontal view, cm, positive inside.
    """

    position: Floats
    lips: Floats
    brow_along: Floats
    brow_across: Floats
    eye_rim: Floats


@lru_cache(maxsize=8)
def texel_map(head: HeadModel, parts: tuple[str, ...], size: int) -> TexelMap:
    """Places of the texels of one texture tile, holes filled from the nearest chart."""
    position = _texel_positions(head, parts, size)
    marks = head.neutral[head.landmarks]
    along, across = _brow_coordinates(position, marks[22:27])
    lips = _signed_distance(position[..., :2], smooth_outline(marks[48:60, :2]))
    rim = _signed_distance(np.stack([np.abs(position[..., 0]), position[..., 1]], -1), smooth_outline(marks[42:48, :2]))
    lips[position[..., 2] < LIPS_BEHIND] = FAR
    rim[position[..., 2] < LIDS_BEHIND] = FAR
    return TexelMap(position, lips, along, across, rim)


def paint_face(texels: TexelMap, look: Look, scalp: Floats, rng: np.random.Generator) -> Floats:
    """Face texture (S, S, 6): linear albedo, gloss 0..1, relief as slopes along x and y.

    Args:
        texels: places of the face's texels.
        look: the person.
        scalp: (S, S) cover by hair roots 0..1.
        rng: source of mottling, pores and single hairs.
    """
    size = texels.lips.shape[0]
    colour = look.skin * _skin_variation(texels, look, rng)
    colour = _paint_stubble(colour, texels, look, rng)
    colour, gloss = _paint_lips(colour, texels, look, rng)
    colour = _paint_brows(colour, texels, look, rng)
    colour = _paint_eyelids(colour, texels, look)
    roots = np.clip(scalp * (0.85 + 0.5 * noise(rng, size, size // 3)), 0.0, 1.0)[..., None]
    colour = colour * (1 - 0.95 * roots) + look.hair * 0.6 * 0.95 * roots
    slopes = _slopes(_relief(texels, look, rng))
    return np.concatenate([np.clip(colour, 0.003, 0.95), gloss[..., None], slopes], axis=2).astype(np.float32)


def paint_eye(texels: TexelMap, look: Look, rng: np.random.Generator) -> Floats:
    """Eye texture (S, S, 6): white with veins, iris painted by radius, pupil and dark limbal ring."""
    position = texels.position
    dx, dy = np.abs(position[..., 0]) - EYE_CENTRE[0], position[..., 1] - EYE_CENTRE[1]
    radius = np.hypot(dx, dy) / IRIS_RADIUS
    radius[position[..., 2] < 8.0] = 9.0
    size = radius.shape[0]
    angle = np.arctan2(dy, dx)
    fibres = _angular_noise(rng, angle, 90) * 0.6 + _angular_noise(rng, angle, 31) * 0.4
    iris = look.iris * (0.75 + 0.55 * fibres + 0.5 * np.exp(-(((radius - 0.52) / 0.12) ** 2)))[..., None]
    iris *= (1.0 - 0.75 * _step(radius, 0.80, 1.02))[..., None]
    pupil = _step(radius, 0.43, 0.37)[..., None]
    iris = iris * (1 - pupil) + 0.004 * pupil
    veins = np.clip(noise(rng, size, 40) * noise(rng, size, 90), 0, 1) * _step(radius, 1.2, 2.4)
    white = linear([0.71, 0.67, 0.65]) - veins[..., None] * np.array([0.02, 0.10, 0.10], np.float32)
    white = white * (1.0 - 0.35 * _step(radius, 1.5, 2.6)[..., None] * np.array([0.3, 0.9, 0.9], np.float32))
    inside = _step(radius, 1.07, 0.95)[..., None]
    colour = white * (1 - inside) + iris * inside
    flat = np.array([1.0, 0.0, 0.0], np.float32) * np.ones((size, size, 1), np.float32)
    return np.concatenate([np.clip(colour, 0.002, 0.9), flat], axis=2).astype(np.float32)


def noise(rng: np.random.Generator, size: int, cells: int) -> Floats:
    """Smooth noise (size, size) around 0..1 with about `cells` bumps along each side."""
    cells = max(min(cells, size), 2)
    return np.clip(
        cv2.resize(rng.random((cells, cells), np.float32), (size, size), interpolation=cv2.INTER_CUBIC), 0, 1
    )


def smooth_outline(points: Floats, per_edge: int = 8) -> Floats:
    """A closed Catmull-Rom spline through points (N, 2)."""
    t = (np.arange(per_edge) / per_edge)[:, None]
    before, after, later = np.roll(points, 1, 0), np.roll(points, -1, 0), np.roll(points, -2, 0)
    curves = [
        0.5 * (2 * p + (c - a) * t + (2 * a - 5 * p + 4 * c - d) * t**2 + (3 * p - a - 3 * c + d) * t**3)
        for a, p, c, d in zip(before, points, after, later, strict=True)
    ]
    return np.concatenate(curves).astype(np.float32)


def _texel_positions(head: HeadModel, parts: tuple[str, ...], size: int) -> Floats:
    """Point (S, S, 3) of the average head under each texel: its charts drawn as triangles of a picture."""
    chosen = np.isin(head.parts, parts)
    corners = head.corner_uv[chosen].reshape(-1, 2)
    screen = np.stack([corners[:, 0] * size, (1 - corners[:, 1]) * size, np.ones(len(corners))], 1).astype(np.float32)
    triangles = np.arange(len(corners), dtype=np.int32).reshape(-1, 3)
    ids, _ = visible_triangles(screen, triangles, 0, (size, size))
    weights = barycentrics(screen, triangles, ids)
    places = head.neutral[head.triangles[chosen]][np.maximum(ids, 0)]
    return _fill_holes(np.einsum("hwk,hwkc->hwc", weights, places), ids >= 0)


def _fill_holes(values: Floats, known: npt.NDArray[np.bool_]) -> Floats:
    """Values (S, S, C) where they are known (S, S), elsewhere that of the nearest known one."""
    _, labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = np.zeros((labels.max() + 1, values.shape[2]), np.float32)
    nearest[labels[known]] = values[known]
    return nearest[labels].astype(np.float32)


def _signed_distance(xy: Floats, outline: Floats) -> Floats:
    """Signed distance of frontal-view points (..., 2) to a closed outline (N, 2), positive inside, cm."""
    low = outline.min(0) - 3.0
    width, height = np.ceil((outline.max(0) + 3.0 - low) * PIXELS_PER_CM).astype(int)
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.round((outline - low) * PIXELS_PER_CM).astype(np.int32)], [1])
    inside, outside = (cv2.distanceTransform(m, cv2.DIST_L2, 5) for m in (mask, 1 - mask))
    grid = ((xy - low) * PIXELS_PER_CM).astype(np.float32)
    distance = (inside - outside) / PIXELS_PER_CM
    return np.asarray(cv2.remap(distance, grid[..., 0], grid[..., 1], cv2.INTER_LINEAR, borderValue=[FAR]))


def _brow_coordinates(position: Floats, brow: Floats) -> tuple[Floats, Floats]:
    x, z = np.abs(position[..., 0]), position[..., 2]
    along = (x - brow[0, 0] + 0.1) / (brow[-1, 0] - brow[0, 0] + 0.35)
    height = np.interp(x, brow[:, 0], brow[:, 1] - np.array([0.35, 0.25, 0.18, 0.15, 0.12]))
    across = (position[..., 1] - height).astype(np.float32)
    across[z < 6.0] = 9.0
    return along.astype(np.float32), across


def _step(values: Floats, low: float, high: float) -> Floats:
    """Smoothstep from 0 at `low` to 1 at `high`; falling when low > high."""
    t = np.clip((values - low) / (high - low), 0.0, 1.0)
    return (t * t * (3 - 2 * t)).astype(np.float32)


def _blob(position: Floats, centre: tuple[float, float, float], radius: tuple[float, float, float]) -> Floats:
    """A soft spot mirrored on both sides of the face, 1 at its centre."""
    mirrored = np.concatenate([np.abs(position[..., :1]), position[..., 1:]], axis=2)
    distance = (((mirrored - np.array(centre, np.float32)) / np.array(radius, np.float32)) ** 2).sum(2)
    return np.exp(-distance).astype(np.float32)


def _skin_variation(texels: TexelMap, look: Look, rng: np.random.Generator) -> Floats:
    """Factor (S, S, 3) on the skin's albedo: flush, shaded eye sockets, mottling, freckles, pores, fine lines."""
    p, size = texels.position, texels.lips.shape[0]
    flush = (
        (
            0.9 * _blob(p, (4.2, -0.2, 8.5), (2.2, 1.8, 3.0))
            + 0.8 * _blob(p, (0.3, 0.2, 12.6), (1.5, 1.2, 2.0))
            + 0.5 * _blob(p, (0.0, -6.6, 10.5), (1.6, 1.0, 2.0))
            + 0.8 * _step(np.abs(p[..., 0]), 7.6, 8.6)
        )
        * look.flush
        * (1.0 - 0.6 * look.darkness)
    )
    socket = _blob(p, (2.9, 2.2, 9.0), (1.5, 0.7, 2.0)) + 0.6 * _blob(p, (1.7, 3.6, 9.0), (0.6, 0.9, 2.0))
    mottle = noise(rng, size, 14) * 0.5 + noise(rng, size, 40) * 0.3 + noise(rng, size, 120) * 0.2 - 0.5
    pores = noise(rng, size, size // 2) - 0.5
    lines = look.wrinkles * _forehead_lines(p, rng)
    spots = look.freckles * _step(noise(rng, size, size // 6), 0.72, 0.9) * _blob(p, (2.2, 1.0, 10), (3.5, 2.2, 5.0))
    tone = 1 + 0.10 * mottle + 0.07 * pores - 0.13 * socket - 0.10 * lines
    factor = tone[..., None] * (1 + flush[..., None] * np.array([0.05, -0.16, -0.14], np.float32))
    factor *= 1 + mottle[..., None] * np.array([0.05, -0.05, -0.03], np.float32)
    factor *= 1 - spots[..., None] * np.array([0.25, 0.42, 0.5], np.float32)
    return (factor * (1 - socket[..., None] * np.array([0.03, 0.06, 0.0], np.float32))).astype(np.float32)


def _relief(texels: TexelMap, look: Look, rng: np.random.Generator) -> Floats:
    """Height (S, S) of pores, unevenness, lip creases and forehead lines, in units of a texel of a 512 texture."""
    p, size = texels.position, texels.lips.shape[0]
    bare = _step(texels.lips, 0.1, -0.1)
    rough = 0.22 * noise(rng, size, size // 3) + 0.9 * noise(rng, size, size // 9) + 1.6 * noise(rng, size, 28)
    creases = _angular_noise(rng, p[..., 0] * 2.2, 64) * (1 - bare)
    return rough * (0.35 + 0.65 * bare) * 0.6 + 0.8 * creases - 2.0 * look.wrinkles * _forehead_lines(p, rng)


def _slopes(height: Floats) -> Floats:
    """Slopes (S, S, 2) along x (right) and y (up)."""
    scale = height.shape[0] / 512.0
    down, right = np.gradient(height * scale * 0.34)
    return np.stack([right, -down], 2).astype(np.float32)


def _forehead_lines(position: Floats, rng: np.random.Generator) -> Floats:
    x, y = position[..., 0], position[..., 1]
    level = y + 0.12 * np.sin(x * 0.8 + rng.uniform(0, 6)) + 0.02 * x * x
    ridges = np.clip(np.sin(level * 2 * np.pi / 1.1), 0, 1) ** 8
    return (ridges * _step(y, 7.0, 7.8) * _step(y, 11.5, 10.0) * _step(np.abs(x), 4.5, 3.0)).astype(np.float32)


def _paint_stubble(colour: Floats, texels: TexelMap, look: Look, rng: np.random.Generator) -> Floats:
    if look.stubble <= 0.0:
        return colour
    cover = beard_cover(texels.position, texels.lips)
    size = cover.shape[0]
    grain = _step(noise(rng, size, size // 2), 0.35, 0.75)
    strength = (cover * look.stubble * (0.30 + 0.55 * grain))[..., None]
    return (colour * (1 - 0.62 * strength) + look.brows * 0.5 * strength).astype(np.float32)


def beard_cover(position: Floats, lips: Floats) -> Floats:
    """Density (...) of beard roots 0..1 at points (..., 3) of the average head."""
    x, y, z = np.abs(position[..., 0]), position[..., 1], position[..., 2]
    line = np.interp(x, [0.0, 1.2, 2.8, 4.0, 6.0, 7.2, 8.0], [-1.7, -1.8, -2.6, -4.2, -2.6, 2.0, 2.0])
    cover = _step(line - y, -0.2, 0.9) * _step(lips, 0.0, -0.25)
    return (cover * _step(z, 1.8, 3.2) * _step(y + 0.25 * z, -9.5, -6.8)).astype(np.float32)


def _paint_lips(colour: Floats, texels: TexelMap, look: Look, rng: np.random.Generator) -> tuple[Floats, Floats]:
    p, lips = texels.position, texels.lips
    cover = _step(lips, -0.10, 0.16) * _step(p[..., 2], 8.5, 9.5)
    creases = _angular_noise(rng, p[..., 0] * 2.2, 64)
    body = look.lips * (0.86 + 0.22 * creases)[..., None]
    body = body * (1 - 0.25 * _step(p[..., 1], -3.2, -2.5)[..., None] * 0.8)
    mixed = colour * (1 - cover[..., None]) + body * cover[..., None]
    oily = 0.35 + 0.35 * _blob(p, (0.0, 1.5, 12.0), (1.2, 3.0, 3.0)) + 0.25 * _blob(p, (0.0, 9.0, 9.0), (4.0, 2.0, 4.0))
    grain = 0.6 + 0.8 * noise(rng, lips.shape[0], lips.shape[0] // 3)
    gloss = np.clip(oily * grain, 0, 1) * (1 - cover) + 0.75 * cover
    return mixed.astype(np.float32), gloss.astype(np.float32)


def _paint_brows(colour: Floats, texels: TexelMap, look: Look, rng: np.random.Generator) -> Floats:
    cover = brow_cover(texels.brow_along, texels.brow_across, look.brow_width)
    size = cover.shape[0]
    # Hairs lean outwards: strokes are noise stretched along a slanted direction.
    slant = texels.brow_across - texels.brow_along * 1.2
    rows = np.clip(((slant * 9.0) % 64) / 64 * size, 0, size - 1).astype(np.float32)
    columns = np.clip(texels.brow_along * size * 0.35, 0, size - 1).astype(np.float32)
    strokes = cv2.remap(noise(rng, size, 160), columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    strength = np.clip(cover * look.brow_density * (0.30 + 0.6 * strokes), 0, 0.8)[..., None]
    return (colour * (1 - strength) + (look.brows * 0.7 + 0.15 * look.skin) * strength).astype(np.float32)


def brow_cover(along: Floats, across: Floats, width: float) -> Floats:
    """Density of brow hairs 0..1 by place along and across the brow."""
    half = width * np.interp(along, [0.0, 0.15, 0.6, 1.0], [0.30, 0.42, 0.34, 0.08])
    profile = _step(np.abs(across) / np.maximum(half, 1e-3), 1.15, 0.35)
    return (profile * _step(along, -0.02, 0.14) * _step(along, 1.02, 0.85)).astype(np.float32)


def _paint_eyelids(colour: Floats, texels: TexelMap, look: Look) -> Floats:
    p, rim = texels.position, texels.eye_rim
    upper = _step(p[..., 1], 3.0, 3.5)
    lash = _step(rim, -0.24, -0.04) * (0.25 + (0.65 if look.long_lashes else 0.4) * upper)
    fold = np.exp(-(((rim + 0.50) / 0.13) ** 2)) * 0.3 * upper
    inner = _step(rim, 0.0, 0.12) * _step(np.abs(p[..., 0]), 2.3, 1.9)
    if look.eye_shadow is not None:
        lid = look.eye_shadow_strength * upper * _step(rim, -0.95, -0.35) * _step(rim, 0.05, -0.1)
        colour = colour * (1 - lid[..., None]) + look.eye_shadow * lid[..., None]
    dark = (1 - np.clip(lash + fold, 0, 0.95))[..., None]
    pink = 1 + inner[..., None] * np.array([0.2, -0.2, -0.15], np.float32)
    return (colour * dark * pink).astype(np.float32)


def _angular_noise(rng: np.random.Generator, angle: Floats, bumps: int) -> Floats:
    """Noise 0..1 of an angle (...) in radians, with `bumps` random values around the circle."""
    values = rng.random(bumps)
    place = (angle / (2 * np.pi) * bumps) % bumps
    return np.interp(place, np.arange(bumps + 1), np.append(values, values[0])).astype(np.float32)
