"""Where the lower face lies in a picture, told by what speech does not move: nose, eye corners and the head's angles.

Places on the head are in spans, the distance between the outer corners of the eyes: x to the viewer's right of an
upright head, y up, z out of the face, from the base of the nose on. Neither crop nor outline tells how wide the mouth
is open: the jaw's outline is that of an open one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_server.pipeline.faces.alignment import moved
from model_server.pipeline.faces.head_angles import axes_of
from model_server.pipeline.faces.outlines import inside_map, smooth_step

Floats = NDArray[np.floating]
Mask = NDArray[np.float32]
Outline = NDArray[np.float64]

# Middle and side of the square that shows the lower face, from the nose's base to below an open jaw.
MIDDLE, SIDE = (0.0, -0.52, -0.12), 1.4
# One half of the outline of what speech moves, from under the nose over cheek and jaw to below an open chin.
_HALF = (
    (0.14, -0.06, 0.02), (0.40, -0.04, -0.22), (0.55, -0.18, -0.50), (0.56, -0.42, -0.66), (0.48, -0.76, -0.52),
    (0.28, -1.02, -0.26), (0.0, -1.1, -0.16),
)  # fmt: skip
# The same of a turned head, whose cheek and jaw a drawing shows at the wrong place: only the mouth, opened wide. Up to
# the first yaw the whole lower face is taken, from the second on no more than that, degrees.
_MOUTH_HALF = (
    (0.12, -0.06, 0.02), (0.32, -0.05, -0.10), (0.42, -0.18, -0.20), (0.43, -0.40, -0.24), (0.38, -0.62, -0.22),
    (0.22, -0.78, -0.14), (0.0, -0.82, -0.10),
)  # fmt: skip
_TURNED = (14.0, 28.0)
# A head turned further than that is measured no better.
_LEAST_SHORTENED = 0.2
# Distance between the eyes for that of their outer corners.
EYES = 0.7
# A soft edge is at least so many pixels wide, and what is hidden from the network reaches so much further.
_LEAST_EDGE, _BEYOND = 2.0, 1.5


def _both_halves(half: tuple[tuple[float, float, float], ...]) -> NDArray[np.float64]:
    return np.array([*half, *((-x, y, z) for x, y, z in half[-2::-1])])


OUTLINE, MOUTH_OUTLINE = _both_halves(_HALF), _both_halves(_MOUTH_HALF)


def span_of(left: Floats, right: Floats, angles: Floats) -> NDArray[np.float64]:
    """Distance between the outer corners of the eyes seen from the front, (...), of their places (..., 2) as seen."""
    shortened = np.linalg.norm(axes_of(angles)[..., 0, :2], axis=-1)
    return np.asarray(np.linalg.norm(right - left, axis=-1) / np.maximum(shortened, _LEAST_SHORTENED), np.float64)


@dataclass(frozen=True)
class HeadPlace:
    """Where a head is in a picture.

    Attributes:
        nose: its base, x and y in pixels.
        angles: yaw, pitch and roll (3,), degrees.
        span: pixels between the outer corners of the eyes, seen from the front.
    """

    nose: Floats
    angles: Floats
    span: float

    @staticmethod
    def of(nose: Floats, corners: Floats, angles: Floats) -> HeadPlace:
        """From the outer corners of both eyes (2, 2) as they are seen, and yaw, pitch and roll (3,)."""
        return HeadPlace(nose, angles, float(span_of(corners[0], corners[1], angles)))

    def places(self, points: Floats) -> NDArray[np.float64]:
        """Pixels (k, 2) of points (k, 3) on the head."""
        across, up = axes_of(self.angles)
        seen = points @ np.stack([across, up, np.cross(across, up)])
        return np.asarray(self.nose + self.span * seen[:, :2] * (1, -1), np.float64)

    def crop(self, side: int) -> NDArray[np.float64]:
        """Transform (2, 3) from the picture to the lower face, upright, in `side` x `side` pixels."""
        scale, roll = side / (SIDE * self.span), np.radians(float(self.angles[2]))
        turn = scale * np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
        middle = self.places(np.array([MIDDLE]))[0]
        return np.column_stack([turn, (side - 1) / 2 - turn @ middle])

    def outline(self) -> NDArray[np.float64]:
        """Edge (13, 2) of what speech moves, pixels."""
        return self.places(OUTLINE)

    def drawn_outline(self) -> NDArray[np.float64] | None:
        """Edge (13, 2) inside which a drawn lower face is taken, pixels; None where all inside `outline` is."""
        first, last = _TURNED
        turned = (abs(float(self.angles[0])) - first) / (last - first)
        return self.places(OUTLINE + min(turned, 1) * (MOUTH_OUTLINE - OUTLINE)) if turned > 0 else None


def lower_masks(side: int, outline: Outline, edge: float) -> tuple[Mask, Mask]:
    """How much of a drawn lower face is taken, and what of the old one the network must not see.

    Both (side, side) in [0, 1]; wherever something is taken, the old face was hidden.

    Args:
        outline: of what speech moves, (k, 2), pixels.
        edge: width of the soft edge, which lies inside the outline, pixels.
    """
    inside = inside_map(side, outline)
    return _taken(inside, edge), _hidden(inside)


def taken(place: HeadPlace, crop: NDArray[np.float64], side: int, feather: float) -> Mask:
    """The first of `lower_masks` of a head, in a crop (2, 3) of the picture; of turned heads less.

    Args:
        feather: width of the soft edge, in distances between the eyes.
    """
    inside, drawn = inside_map(side, moved(place.outline(), crop)), place.drawn_outline()
    if drawn is not None:
        inside = np.minimum(inside, inside_map(side, moved(drawn, crop)))
    return _taken(inside, feather * EYES * place.span * float(np.hypot(crop[0, 0], crop[1, 0])))


def hidden(place: HeadPlace, crop: NDArray[np.float64], side: int) -> Mask:
    """The second of `lower_masks` of a head, in a crop (2, 3) of the picture."""
    return _hidden(inside_map(side, moved(place.outline(), crop)))


def _taken(inside: Mask, edge: float) -> Mask:
    return smooth_step(inside / np.float32(max(edge, _LEAST_EDGE)))


def _hidden(inside: Mask) -> Mask:
    return (inside > -_BEYOND).astype(np.float32)
