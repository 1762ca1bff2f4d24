"""Frames of footage in which only the lower face is drawn anew: what is cut out for it, and how it is laid back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from model_server.engines.base import FrameSource
from model_server.pipeline.compositing.blending import Patch, laid
from model_server.pipeline.compositing.canvas import FootageCanvas
from model_server.pipeline.faces.alignment import moved, warp_to
from model_server.pipeline.faces.lower_face import EYES, SIDE, HeadPlace, lower_masks
from model_server.pipeline.faces.tracking import Absence, FaceTrack
from model_server.pipeline.media.containers import never
from model_server.pipeline.media.playback import Playback
from model_server.pipeline.media.video import Footage
from model_server.pipeline.request import Output
from model_server.pipeline.result_cache import digest
from model_server.pipeline.timecode import average_rate

Picture = NDArray[np.uint8]

# Sides of the lower face's pictures, pixels.
SMALLEST, LARGEST, STEP = 96, 512, 16
# Cut out and laid back at just their size, pictures would lose half of the energy of their finest details.
_OVERSAMPLED = 1.6
# Share of the lower face that may be covered; where it is more, the frame stays as it is.
MOST_COVERED = 0.5
# Part of every key: to be changed with anything that changes composed pictures.
_VERSION = "in place 1"


class InPlaceCanvas(FootageCanvas):
    """Footage with its lower face drawn anew, or an overlay for it; arguments as of `FootageCanvas`.

    Attributes:
        covered: frames that were left as they are since too much of the face is covered.
        rate: average frames per second of the footage.
    """

    def __init__(
        self,
        output: Output,
        footage: Footage,
        times: Sequence[Fraction],
        track: FaceTrack,
        cancelled: Callable[[], bool] = never,
    ) -> None:
        super().__init__(output, footage, times, shown_side(track), track, cancelled)
        self.covered: set[int] = set()
        self.rate = average_rate(footage.times, footage.duration)
        self._held: dict[int, Picture] = {}
        # What HDR footage looks like in SDR, which is what networks see.
        self._looks = Playback(footage, cancelled) if self._appearance.keeps_hdr else None

    def key(self, index: int, drawn: str) -> str:
        """See `Canvas.key`."""
        place = self._place(index) if self.draws(index) else None
        where = np.concatenate([place.nose, place.angles, [place.span, self._opacity(index)]]) if place else np.zeros(0)
        return digest(_VERSION, super().key(index, drawn), str(self._side), where.astype(np.float64).tobytes())

    def source(self, index: int) -> FrameSource | None:
        """See `Canvas.source`; the frame's picture is held until it is composed."""
        if self._output.mode != "overlay":
            self._held[index] = super()._shown(index)
        if not self.draws(index):
            return None
        place = self._place(index)
        if self._looks:
            return frame_source(self._looks.picture(int(self.frames[index])), place.crop(self._side), place, self._side)
        picture = self._held[index] if index in self._held else super()._shown(index)
        return frame_source(picture, self._crop(index), place, self._side)

    def _shown(self, index: int) -> Picture:
        held = self._held.pop(index, None)
        return super()._shown(index) if held is None else held

    def _piece(self, index: int, view: Picture) -> Patch | None:
        place = self._place(index)
        mask, _ = lower_masks(self._side, moved(place.outline(), place.crop(self._side)), self._edge(place))
        visible = view[..., 3].astype(np.float32) / 255
        if float((mask * (1 - visible)).sum()) > MOST_COVERED * float(mask.sum()):
            self.covered.add(index)
            return None
        share = mask * visible * np.float32(self._opacity(index))
        return laid(view[..., :3], share, self._crop(index), self._appearance.size)

    def _place(self, index: int) -> HeadPlace:
        return self.track.place(int(self._rows[index]))

    def _opacity(self, index: int) -> float:
        return float(self._opacities[self._rows[index]])

    def _crop(self, index: int) -> NDArray[np.float64]:
        """From the stored picture to the lower face's."""
        return self._from_stored(self._place(index).crop(self._side))

    def _edge(self, place: HeadPlace) -> float:
        """Width of the soft edge in pixels of the lower face's picture."""
        return self._output.feather * EYES * self._side / SIDE


def shown_side(track: FaceTrack) -> int:
    """Side of the lower face's pictures at which footage shows it, of all frames of a track alike."""
    return side_of([track.place(int(row)).span for row in np.flatnonzero(track.shown)])


def side_of(spans: Sequence[float]) -> int:
    """Side of the lower face's pictures of heads of these spans, pixels: a little more than they are shown at."""
    wanted = _OVERSAMPLED * SIDE * float(np.median(spans)) if spans else SMALLEST
    return int(np.clip(-(-wanted // STEP) * STEP, SMALLEST, LARGEST))


def frame_source(picture: Picture, crop: NDArray[np.float64], place: HeadPlace, side: int) -> FrameSource:
    """What a picture shows of a head.

    Args:
        crop: from the picture to the lower face, (2, 3).
        place: of the head, in natural proportions.
    """
    _, hidden = lower_masks(side, moved(place.outline(), place.crop(side)), 0.0)
    return FrameSource(warp_to(picture, crop, (side, side), smooth=True), hidden, place.angles.astype(np.float32))


def reference_rows(track: FaceTrack, count: int = 4) -> list[int]:
    """Rows of up to `count` frames that show the person's mouth from closed to open, among the sharp ones."""
    usable = np.flatnonzero((track.absences == Absence.NONE) & np.isfinite(track.lips).all(axis=1))
    if not len(usable):
        usable = np.flatnonzero(track.shown)
    opening, detail = track.lips[usable].T
    sharp = usable[detail >= np.median(detail)] if len(usable) > 2 * count else usable
    ranked = sharp[np.argsort(track.lips[sharp, 0], kind="stable")]
    chosen = ranked[np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)]
    return [int(row) for row in chosen]
