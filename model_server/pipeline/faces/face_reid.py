"""Who is who in a movie: a simple face_feature vector of an aligned face, compared among heads turned alike."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model_server.pipeline.faces.alignment import similarity, warp
from model_server.pipeline.faces.finder import FoundFace
from model_server.pipeline.media.partial import AnyPicture

Vector = NDArray[np.float32]

# Distances below this are taken for the same person. In real clips, faces of one person turned alike differ by up to
# 1.4 (95 %), those of two people by 2.3 and more.
SAME_PERSON = 1.5
_FACE = (slice(20, 172), slice(52, 172))  # rows and columns of the crop that are face, not backdrop
_GRID = (10, 12)
_HOG_SIDE = 96
# What makes a distance of 1 in light, colour and gradients, and how many degrees of yaw do.
_LIGHT, _COLOUR, _GRADIENT, _TURN = 0.6, 12.0, 0.4, 45.0
_EXPOSURE = 1 / 8
_NEW_VIEW = 0.4
_NEW_SHARE = 0.1
_MAX_VIEWS = 12


@dataclass(frozen=True)
class FaceFeature:
    """What a face looks like.

    Attributes:
        light: lightness on a 10 x 12 grid, mean 0 and deviation 1: what is brighter than what.
        colour: mean Lab, L in eighths of its 8-bit value, so that exposure counts little.
        gradients: HOG (Dalal and Triggs, CVPR 2005) of unit length.
        yaw: degrees.
    """

    light: Vector
    colour: Vector
    gradients: Vector
    yaw: float

    def distance(self, other: FaceFeature) -> float:
        """0 for the same picture; grows with the difference in yaw, for which nothing can be compared."""
        light = 1 - float((self.light * other.light).mean())
        colour = float(np.abs(self.colour - other.colour).sum())
        gradient = 1 - float(self.gradients @ other.gradients)
        turn = abs(self.yaw - other.yaw) / _TURN
        return light / _LIGHT + colour / _COLOUR + gradient / _GRADIENT + turn


def face_feature(rgb: AnyPicture, face: FoundFace) -> FaceFeature:
    """FaceFeature of a face in a uint8 RGB picture."""
    crop = np.ascontiguousarray(warp(rgb, similarity(face.points))[_FACE])
    grid = cv2.resize(cv2.cvtColor(crop, cv2.COLOR_RGB2LAB), _GRID, interpolation=cv2.INTER_AREA).astype(np.float32)
    colour = grid.reshape(-1, 3).mean(axis=0) * (_EXPOSURE, 1, 1)
    light = grid[..., 0].ravel()
    light = (light - light.mean()) / (light.std() + 1e-3)
    grey = cv2.resize(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), (_HOG_SIDE, _HOG_SIDE), interpolation=cv2.INTER_AREA)
    gradients = np.asarray(_hog().compute(grey), np.float32).ravel()
    unit = gradients / (np.linalg.norm(gradients) + 1e-6)
    return FaceFeature(light, colour.astype(np.float32), unit, face.yaw)


def _hog() -> cv2.HOGDescriptor:
    return cv2.HOGDescriptor((_HOG_SIDE, _HOG_SIDE), (32, 32), (16, 16), (16, 16), 9)


class Gallery:
    """Views met so far of one person, or of all others."""

    def __init__(self) -> None:
        self._views: list[FaceFeature] = []

    @property
    def views(self) -> int:
        """How many views are known."""
        return len(self._views)

    def distance(self, seen: FaceFeature) -> float:
        """Distance to the nearest view, infinite without any."""
        return min((view.distance(seen) for view in self._views), default=np.inf)

    def learn(self, seen: FaceFeature) -> None:
        """Take in a view that certainly belongs here: a new one, or a share of the one that is like it."""
        distances = [view.distance(seen) for view in self._views]
        nearest = int(np.argmin(distances)) if distances else -1
        if nearest >= 0 and (distances[nearest] < _NEW_VIEW or len(distances) == _MAX_VIEWS):
            self._views[nearest] = _mixed(self._views[nearest], seen)
        else:
            self._views.append(seen)


def _mixed(old: FaceFeature, new: FaceFeature) -> FaceFeature:
    light = old.light + _NEW_SHARE * (new.light - old.light)
    colour = old.colour + _NEW_SHARE * (new.colour - old.colour)
    gradients = old.gradients + _NEW_SHARE * (new.gradients - old.gradients)
    return FaceFeature(light / (light.std() + 1e-3), colour, gradients / (np.linalg.norm(gradients) + 1e-6), old.yaw)
