"""Colour of faces: what it is in a picture, and giving a drawn face that of the footage (Reinhard et al., 2001)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from model_server.pipeline.faces.alignment import moved, similarity, warp
from model_server.pipeline.faces.finder import Points
from model_server.pipeline.media.partial import AnyPicture

Picture = NDArray[np.uint8]
Tone = NDArray[np.float64]

# Mouth and jaw are left out: what they show changes with speech, and colours must not.
_LOWEST = 0.62
# Deviations may differ by this factor; more would only bring noise out.
_MAX_GAIN = 1.5
_SHRINK = 0.85
# Lab of 8 bits has L in [0, 255].
_LAB_SCALE = np.array([100 / 255, 1, 1])


def face_tone(rgb: AnyPicture, points: Points, outline: Points) -> Tone:
    """Mean and standard deviation of Lab (L in [0, 100]) over the upper face, (6,).

    Args:
        rgb: uint8 picture.
        points: left eye, right eye and mouth, (3, 2), pixels.
        outline: edge of the face, (n, 2), pixels.
    """
    matrix = similarity(points)
    return _tone(warp(rgb, matrix), moved(points, matrix), moved(outline, matrix))


def view_tone(view: Picture, points: Points, outline: Points) -> Tone:
    """The same for a picture that is a network view already, points and outline in its pixels."""
    return _tone(view, points, outline)


def matched(view: Picture, own: Tone, wanted: Tone) -> Picture:
    """A drawn face with mean and deviation `wanted` in place of its `own`, uint8 RGB."""
    lab = cv2.cvtColor(view.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    gain = np.clip(wanted[3:] / np.maximum(own[3:], 1e-3), 1 / _MAX_GAIN, _MAX_GAIN)
    shifted = (lab - own[:3]) * gain + wanted[:3]
    rgb = cv2.cvtColor(shifted.astype(np.float32), cv2.COLOR_LAB2RGB)
    return np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)


def _tone(view: Picture, points: Points, outline: Points) -> Tone:
    mask = _upper_face(view.shape[:2], points, outline)
    if not mask.any():
        return np.full(6, np.nan)
    mean, deviation = cv2.meanStdDev(cv2.cvtColor(view, cv2.COLOR_RGB2LAB), mask=mask)
    return np.concatenate([mean.ravel() * _LAB_SCALE - (0, 128, 128), deviation.ravel() * _LAB_SCALE])


def _upper_face(shape: tuple[int, ...], points: Points, outline: Points) -> NDArray[np.uint8]:
    """1 inside the (shrunken) outline and above the nose's tip."""
    middle = outline.mean(axis=0)
    mask = np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint(middle + _SHRINK * (outline - middle)).astype(np.int32)], (1,))
    eyes = points[:2].mean(axis=0)
    down = points[2] - eyes
    across, along = (np.arange(shape[1]) - eyes[0]) * down[0], (np.arange(shape[0]) - eyes[1]) * down[1]
    mask[across + along[:, None] >= _LOWEST * max(float(down @ down), 1e-6)] = 0
    return mask
