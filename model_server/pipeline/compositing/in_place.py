"""Frames of footage in which only the lower face is drawn anew: what is cut out for it, and how it is laid back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from model_server.engines.base import FrameSource, InPlace
from model_server.features import CROP_SIDE
from model_server.pipeline.compositing.blending import Mask, Patch, coloured, laid
from model_server.pipeline.compositing.canvas import FootageCanvas
from model_server.pipeline.faces.alignment import view_transform, warp_to
from model_server.pipeline.faces.head_angles import angles_of
from model_server.pipeline.faces.lower_face import SIDE, hidden, taken
from model_server.pipeline.faces.outlines import inside_map
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
# Frames in which a shot must show the person for references of its own.
_FEWEST = 8
# Lips opened so far, in distances between the eyes, look as different as a head turned by so many degrees; the part of
# the frames at either end that may be measured wrong.
_OPENED, _TURNED, _OUTLIERS = 0.1, 10.0, 0.02
# Lips open further than that are no reference where others are: most drawn lips open less, and of a wide mouth a
# second lower lip would stay on the chin below them.
_WIDE = 0.12
# Quantiles of the lips' opening between which a speaker moves; how far apart they are mostly, in distances between the
# eyes; below which nobody speaks; and how much less or more than mostly lips may be made to go.
_MOVING, _MOSTLY, _STILL, _PERSONAL = (0.1, 0.95), 0.078, 0.018, (0.5, 2.0)
# Movement is told in such steps: a few more frames of the footage then leave those alone that are made.
_MOVEMENT_STEP = 1 / 16
# Details are finer than so many pixels; they are made that much stronger or weaker at most.
_FINE, _MOST_GAIN = 1.5, 2.5
# Part of every key: to be changed with anything that changes composed pictures.
_VERSION = "in place 5"


class Region:
    """What is cut out of frames for an engine that draws into them, by row of a track.

    Args:
        kind: "lower_face" for that alone, as large as it is shown; "view" for the network view.

    Attributes:
        side: of the pictures, pixels.
    """

    def __init__(self, track: FaceTrack, kind: InPlace) -> None:
        self._track, self.kind = track, kind
        self._movement = lip_movement(track.lips[track.absences == Absence.NONE, 0])
        self.side = shown_side(track) if kind == "lower_face" else CROP_SIDE

    def crop(self, row: int) -> NDArray[np.float64]:
        """Transform (2, 3) to it from a picture in natural proportions."""
        if self.kind == "lower_face":
            return self._track.place(row).crop(self.side)
        return view_transform(self._track.transforms[row], self.side)

    def taken(self, row: int, feather: float) -> Mask:
        """How much of what is drawn is taken, (side, side) in [0, 1]; `feather` in distances between the eyes."""
        return taken(self._track.place(row), self.crop(row), self.side, feather)

    def source(self, picture: Picture, row: int, crop: NDArray[np.float64] | None = None) -> FrameSource:
        """What a picture shows; `crop` (2, 3) where the picture is not in natural proportions."""
        cut = warp_to(picture, self.crop(row) if crop is None else crop, (self.side, self.side), smooth=True)
        place = self._track.place(row)
        unseen = hidden(place, self.crop(row), self.side)
        return FrameSource(cut, unseen, place.angles.astype(np.float32), self._movement)

    def bytes_of(self, row: int) -> bytes:
        """All that decides what is cut out and laid back, for a key."""
        place = self._track.place(row)
        size = [place.span, self._movement]
        return np.concatenate([place.nose, place.angles, size, self.crop(row).ravel()]).tobytes()


class InPlaceCanvas(FootageCanvas):
    """Footage with its lower face drawn anew, or an overlay for it; arguments as of `FootageCanvas` and `Region`.

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
        kind: InPlace,
        cancelled: Callable[[], bool] = never,
    ) -> None:
        self._region, self._cancelled = Region(track, kind), cancelled
        super().__init__(output, footage, times, self._region.side, track, cancelled)
        self.covered: set[int] = set()
        self.rate = average_rate(footage.times, footage.duration)
        self._held: dict[int, Picture] = {}
        self._looked_at: dict[int, FrameSource] = {}
        self._references_keys: dict[int, str] = {}
        # What HDR footage looks like in SDR, which is what networks see.
        self._looks = Playback(footage, cancelled) if self._appearance.keeps_hdr else None

    def _laid(self, index: int) -> tuple[str | bytes, ...]:
        row, kind = self._row(index), self._region.kind
        where = (_VERSION, f"{kind} {self._side}", self._region.bytes_of(row))
        if kind == "view":
            return (*where, *super()._laid(index))
        return (*where, f"{self._output.feather!r} {self._opacities[row]!r}")

    def shot(self, index: int) -> int:
        """Number of the footage's shot that a frame shows."""
        return int(self.track.shots[self._row(index)])

    def references_key(self, shot: int) -> str:
        """Key of a shot's references, of which nothing is read for it."""
        if shot not in self._references_keys:
            rows = self._reference_rows(shot)
            places = (self.track.indices[rows].tobytes(), *(self._region.bytes_of(row) for row in rows))
            what = (_VERSION, self._asset, str(self._appearance.viewer), self._region.kind)
            self._references_keys[shot] = digest(*what, *places)
        return self._references_keys[shot]

    def references(self, shot: int) -> list[FrameSource]:
        """Frames of the footage that show the person's mouth, closed and open, as it looks in a shot."""
        playback = Playback(self._footage, self._cancelled)
        rows = self._reference_rows(shot)
        return [self._region.source(playback.picture(int(self.track.indices[row])), row) for row in rows]

    def _reference_rows(self, shot: int) -> list[int]:
        return sorted(reference_rows(self.track, self.track.shot_rows[shot]))

    def source(self, index: int) -> FrameSource | None:
        """See `Canvas.source`; what is needed of the frame is held until it is composed."""
        if self._output.mode != "overlay":
            self._held[index] = super()._shown(index)
        if not self.draws(index):
            return None
        self._looked_at[index] = self._source(index, self._row(index))
        return self._looked_at[index]

    def _source(self, index: int, row: int) -> FrameSource:
        if self._looks:
            return self._region.source(self._looks.picture(int(self.frames[index])), row)
        picture = self._held[index] if index in self._held else super()._shown(index)
        return self._region.source(picture, row, self._from_stored(self._region.crop(row)))

    def _shown(self, index: int) -> Picture:
        held = self._held.pop(index, None)
        return super()._shown(index) if held is None else held

    def _piece(self, index: int, view: Picture) -> Patch | None:
        row, source = self._row(index), self._looked_at.pop(index)
        mask = self._region.taken(row, self._output.feather)
        visible = view[..., 3] / np.float32(255) if view.shape[2] == 4 else np.ones_like(mask)
        if float((mask * (1 - visible)).sum()) > MOST_COVERED * float(mask.sum()):
            self.covered.add(index)
            return None
        drawn = view[..., :3] if self._region.kind == "lower_face" else self._fitted(index, view, source)
        share = mask * visible * np.float32(self._opacities[row])
        return laid(drawn, share, self._from_stored(self._region.crop(row)), self._appearance.size)

    def _fitted(self, index: int, view: Picture, source: FrameSource) -> Picture:
        """A whole drawn face with the colours and the sharpness that the footage has where it stays."""
        inside = inside_map(self._side, self._placement(index).outline) > 0
        return as_sharp(coloured(view, self._placement(index)), source.picture, inside & (source.hidden == 0))

    def _row(self, index: int) -> int:
        return int(self._rows[index])


def shown_side(track: FaceTrack) -> int:
    """Side of the lower face's pictures at which footage shows it, of all frames of a track alike."""
    return side_of(track.spans[track.shown])


def side_of(spans: NDArray[np.float64]) -> int:
    """Side of the lower face's pictures of heads of these spans, pixels: a little more than they are shown at."""
    wanted = _OVERSAMPLED * SIDE * float(np.median(spans)) if len(spans) else SMALLEST
    return int(np.clip(-(-wanted // STEP) * STEP, SMALLEST, LARGEST))


def lip_movement(openings: NDArray[np.float64]) -> float:
    """How far a person's lips go, for most people's: voices do not tell, but footage in which they speak does.

    Args:
        openings: of the lips in frames of the footage, over the distance between the eyes, (n,); NaN counts for none.
    """
    known = openings[np.isfinite(openings)]
    spread = float(np.diff(np.quantile(known, _MOVING))[0]) if len(known) >= _FEWEST else 0.0
    steps = round(np.clip(spread / _MOSTLY, *_PERSONAL) / _MOVEMENT_STEP)
    return steps * _MOVEMENT_STEP if spread >= _STILL else 1.0


def as_sharp(view: Picture, like: Picture, where: NDArray[np.bool_]) -> Picture:
    """A picture (s, s, 3) made as sharp as another one is at some places (s, s)."""
    fine, wanted = (
        one - cv2.GaussianBlur(one, (0, 0), _FINE) for one in (view.astype(np.float32), like.astype(np.float32))
    )
    if not where.any():
        return view
    gain = float(np.clip(wanted[where].std() / max(float(fine[where].std()), 1e-3), 1 / _MOST_GAIN, _MOST_GAIN))
    return np.rint(np.clip(view + (gain - 1) * fine, 0, 255)).astype(np.uint8)


def reference_rows(track: FaceTrack, shot: slice, count: int = 4) -> list[int]:
    """Rows of up to `count` sharp frames that show the person's mouth closed and open, and the head as it turns.

    Of the shot, whose light is that of the frames, or of all where it shows the person in few frames.
    """
    known = (track.absences == Absence.NONE) & np.isfinite(track.lips).all(axis=1)
    inside = np.zeros_like(known)
    inside[shot] = True
    usable = np.flatnonzero(known & inside)
    if len(usable) < _FEWEST:
        usable = np.flatnonzero(known) if known.any() else np.flatnonzero(track.shown)
    detail = track.lips[usable, 1]
    sharp = usable[detail >= np.median(detail)] if len(usable) > 2 * count else usable
    chosen = differing(track.lips[sharp, 0], angles_of(track.axes[sharp]), count)
    return [int(row) for row in sharp[chosen]]


def differing(openings: NDArray[np.float64], angles: NDArray[np.floating], count: int) -> NDArray[np.intp]:
    """Up to `count` of n frames that look as different as can be, the one with the most closed lips first.

    Args:
        openings: of the lips, over the distance between the eyes, (n,).
        angles: yaw, pitch and roll (n, 3), degrees.
    """
    narrow = np.flatnonzero(~(openings > _WIDE))
    usable = narrow if len(narrow) >= count else np.arange(len(openings))
    looks = np.column_stack([openings[usable] / _OPENED, angles[usable, :2] / _TURNED])
    low, high = np.nanquantile(looks, _OUTLIERS, axis=0), np.nanquantile(looks, 1 - _OUTLIERS, axis=0)
    looks = np.nan_to_num(np.clip(looks, low, high))
    chosen = [int(np.argmin(looks[:, 0]))]
    distance = np.full(len(looks), np.inf)
    for _ in range(min(count, len(looks)) - 1):
        distance = np.minimum(distance, np.linalg.norm(looks - looks[chosen[-1]], axis=1))
        distance[chosen] = -1.0
        chosen.append(int(np.argmax(distance)))
    return usable[chosen]
