"""How far from the camera places of a portrait are: the face by its mesh, what surrounds it by a rule.

Behind the face's edge the head falls back; hair, ears and neck follow a turn ever less, what is further away not at
all.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from model_server.engines.base import Relief
from model_server.head_rotation import rotation
from model_server.networks.cpu import surface_kernels
from model_server.pipeline.faces.head_angles import angles_of, head_axes
from model_server.pipeline.faces.models import models
from model_server.pipeline.faces.triangulation import triangulated

Floats = NDArray[np.floating]

# Places of the grid along a side, and how far it reaches beyond the view: what a turn brings in from there.
GRID, REACH = 113, 0.7
MESH_POINTS = 468
# Corners of the mouth, and the middles of both lips: what crops keep in its place.
_MOUTH = (61, 291, 0, 17)
# The mesh's depths are so much too flat, by the landmarks of rendered heads that turn.
_DEPTH = 1.12
# In widths of the face: what lies outside it falls back by `_FALL` of how far, up to `_FARTHEST`. Up to `_FIRM` it
# turns with the head, from there ever less until `_LOOSE` further.
_FALL, _FARTHEST, _FIRM, _LOOSE = 1.5, 0.5, 0.12, 0.75
_LEAST_SCORE = 0.3
_BINOMIAL = 1 / 16, 1 / 4, 3 / 8, 1 / 4, 1 / 16


def relief_of(view: NDArray[np.uint8]) -> Relief | None:
    """The relief of a portrait's network view (224, 224, 3); None where no mesh fits a face in it."""
    with models() as ready:
        found = ready.meshes(view, _LEAST_SCORE)
    meshes = [one.points[:MESH_POINTS] * (2 / len(view)) - np.array([1.0, 1.0, 0.0]) for one in found]
    # Somebody else may look into the picture, too.
    middle = min(meshes, key=lambda mesh: np.linalg.norm(mesh[:, :2].mean(axis=0)), default=None)
    return None if middle is None else relief(middle)


def relief(mesh: Floats) -> Relief:
    """The relief of a face's mesh (468, 3): x and y in halves of the view from its middle, z away in the same unit."""
    pivot = mesh[list(_MOUTH)].mean(axis=0)
    away, angles = (mesh[:, 2] - pivot[2]) * _DEPTH, angles_of(head_axes(mesh))
    face, inside = _drawn(mesh, away, angles)
    hull = cv2.convexHull(mesh[:, :2].astype(np.float32), returnPoints=False)[:, 0]
    width = float(np.ptp(mesh[hull, 0]))
    outside = np.where(inside, 0.0, _distance(mesh[hull, :2])) / width
    behind = _edge_depth(mesh[hull, :2], away[hull]) + _FALL * width * np.minimum(outside, _FARTHEST)
    smooth = _smoothed(_smoothed(np.where(inside, face, behind)).T).T
    near = np.clip(1 - np.maximum(outside - _FIRM, 0) / _LOOSE, 0, 1)
    follows = near * near * (3 - 2 * near)
    follows[[0, -1]] = follows[:, [0, -1]] = 0  # so that the whole view is covered, however the head turns
    depth, follows, place = (part.astype(np.float32) for part in (smooth, follows, pivot[:2]))
    return Relief(depth, follows, place, REACH, angles)


def _drawn(mesh: Floats, depth: Floats, angles: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Depth (GRID, GRID) of the face at the grid's places, and where it is."""
    # Seen from the front no place of a face hides another one: there its points are joined.
    flip = np.array([1.0, -1.0, -1.0])
    front = np.stack([((mesh * flip) * axis).sum(axis=1) for axis in rotation(*map(float, angles)).T], axis=1) * flip
    front = (front - front.min(axis=0)) * (GRID / np.ptp(front[:, 0]))
    # A grid's place is the middle of a pixel.
    pixels = (mesh[:, :2] + 1 + REACH) * ((GRID - 1) / (2 * (1 + REACH))) + 0.5
    corners = np.column_stack([pixels, depth, depth]).astype(np.float32)
    shown = np.zeros((GRID, GRID, 1), np.float32)
    away = np.full((GRID, GRID), np.inf, np.float32)
    surface_kernels.draw(corners, triangulated(front[:, :2]), shown, away)
    return shown[..., 0], np.isfinite(away)


def _smoothed(values: Floats) -> Floats:
    """Values (GRID, GRID), each row's a binomial mean of five."""
    # OpenCV's blur and distances differ in their last bits from thread count to thread count, and so would keys.
    around = np.pad(values, ((0, 0), (2, 2)), "edge")
    shifted = [around[:, n : n + GRID] for n in range(5)]
    return sum((part * weight for part, weight in zip(shifted, _BINOMIAL, strict=True)), np.zeros_like(values))


def _places() -> Floats:
    """x and y of the grid's places, (GRID, GRID, 2)."""
    side = np.linspace(-1 - REACH, 1 + REACH, GRID)
    return np.stack(np.meshgrid(side, side), axis=-1)


def _distance(edge: Floats) -> Floats:
    """Distance (GRID, GRID) of places from the lines that join points (k, 2) to a ring."""
    line = np.roll(edge, -1, axis=0) - edge
    away = _places()[:, :, None] - edge
    along = ((away * line).sum(axis=-1) / np.square(line).sum(axis=-1)).clip(0, 1)
    return np.sqrt(np.square(away - along[..., None] * line).sum(axis=-1)).min(axis=-1)


def _edge_depth(edge: Floats, depth: Floats) -> Floats:
    """Depth (GRID, GRID) of a face's edge (k, 2), mostly of what of it is near."""
    near = 1 / np.maximum(np.linalg.norm(_places()[:, :, None] - edge, axis=-1), 1e-2) ** 3
    return (near * depth).sum(axis=-1) / near.sum(axis=-1)
