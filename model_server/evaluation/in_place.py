"""How well lower faces drawn into clips follow the speech, hide the old mouth, and look as sharp as the footage.

Each clip is dubbed in place with its own sound, which its true frames judge, and with that of another clip, whose lips
it should then have and not its own. Lips are measured by the face mesh.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from model_server import scratch
from model_server.corpus.mesh import MeshReader
from model_server.corpus.shards import FPS
from model_server.engines.base import Condition, FrameSource, Performance
from model_server.engines.pcavs.conditioning import GAIN, PUBLISHED_GAIN
from model_server.engines.pcavs.engine import PcavsEngine
from model_server.engines.registry import traits
from model_server.errors import PoseDubError
from model_server.evaluation.clips import EvalClip, EvalSource, TakeSound
from model_server.evaluation.measure import faces_of, heard_by, seen_by
from model_server.evaluation.metrics.lips import correlation, partial_correlation
from model_server.evaluation.metrics.registry import mean
from model_server.evaluation.metrics.sync import found_offset
from model_server.evaluation.pose_sources import to_and_fro
from model_server.evaluation.sync.judge import MARGIN, SyncJudge, paired
from model_server.evaluation.views import Pictures, batches
from model_server.networks.pcavs.lower_face import REFERENCES
from model_server.networks.pcavs.presets import POSE_SIZE
from model_server.pipeline.compositing.blending import Patch, composed, laid, overlay
from model_server.pipeline.compositing.in_place import differing, lip_movement, side_of
from model_server.pipeline.faces.alignment import warp, warp_to
from model_server.pipeline.faces.finder import FaceFinder, FoundFace
from model_server.pipeline.faces.head_angles import angles_of
from model_server.pipeline.faces.lower_face import SIDE, HeadPlace, hidden, taken
from model_server.synthetic.occluders import occluder

Floats = NDArray[np.floating]

FEATHER = 0.2
_CLOSED = 0.15  # of the widest opening; below it lips count as closed
_FINE = 0.25  # of the sampling frequency
# Frames with something over the mouth, the alpha from which a pixel is that thing's, and how far it may change.
_COVERED_FRAMES, _OPAQUE, _KEPT = 12, 250, 8


@dataclass(frozen=True)
class InPlaceFigures:
    """Of one clip, or their means.

    Attributes:
        lips: correlation of the lip opening with the true one, own sound.
        movement: standard deviation of the opening over the true one's.
        other: correlation with the lips of the clip that another sound comes from.
        leak: correlation with the clip's own lips when it speaks another's words, without what both clips' lips share.
        shared: the same of these words drawn into the clip that they come from, which cannot know this clip's lips:
            what words have in common; a leak is what `leak` has more.
        closed: part of the frames with truly closed lips in which the drawn ones are, own sound.
        shut: opening of the drawn ones in these frames, over the largest true one.
        found, found_other: 1 where the judge finds own and other words within a frame of the lips, else 0.
        sharpness: energy of the mouth's details for that of the true frames.
        flicker: change from frame to frame of the lower face for the true one's, own sound.
        kept: part of the pixels of things laid over the mouth that stay within 8 of 255.
    """

    lips: float
    movement: float
    other: float
    leak: float
    shared: float
    closed: float
    shut: float
    found: float
    found_other: float
    sharpness: float
    flicker: float
    kept: float


def evaluate_in_place(
    sources: Sequence[EvalSource], engine: PcavsEngine, judge: SyncJudge, progress: Callable[[], None] = lambda: None
) -> dict[str, InPlaceFigures]:
    """Figures of each clip; each speaks the words of the next one, too.

    Args:
        judge: of sound and lips, with which nothing was trained.

    Raises:
        PoseDubError: there is only one clip, or one cannot be used.
    """
    if len(sources) < 2:
        raise PoseDubError("Dubs in place are measured with each other's words; give two clips or more.")
    if traits(engine.weights).in_place != "lower_face":
        raise PoseDubError(f"The weights {engine.weights.name} have no network for lower faces; choose others.")
    tools, found, lips = _Tools(MeshReader(), judge), [], []
    for number, source in enumerate(sources):
        with scratch.folder() as folder, scratch.folder() as beside:
            clip, other = source.open(folder), sources[(number + 1) % len(sources)].open(beside)
            dubbed = DubbedClip(clip, engine)
            figures, openings = _figures(dubbed, other, tools)
        found.append(figures)
        lips.append(openings)
        progress()
    shared = [_shared(one, other) for one, other in zip(lips, lips[1:] + lips[:1], strict=True)]
    names = (source.name for source in sources)
    return {name: replace(one, shared=value) for name, one, value in zip(names, found, shared, strict=True)}


def as_table(found: Mapping[str, InPlaceFigures]) -> str:
    """Markdown: a row for each clip, then their means."""
    names = [field.name for field in fields(InPlaceFigures)]
    means = InPlaceFigures(*(mean(getattr(one, name) for one in found.values()) for name in names))
    rows = [["clip", *names], ["---"] * (len(names) + 1)]
    rows += [
        [clip, *(f"{getattr(one, name):.2f}" for name in names)] for clip, one in [*found.items(), ("mean", means)]
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


class DubbedClip:
    """A clip whose lower faces are drawn anew, as in a dub; frames without a face stay as they are.

    Args:
        clip: of one person, one shot.
        engine: with weights that draw in place.
    """

    def __init__(self, clip: EvalClip, engine: PcavsEngine) -> None:
        self.clip, self._engine = clip, engine
        faces = [FaceFinder().filling(view) for view in self._views()]
        if not any(faces):
            raise PoseDubError(f"No face was found in {clip.name}; give clips of one speaking face.")
        self._places = [_place(face) if face else None for face in faces]
        spans = np.array([place.span for place in self._places if place])
        self._side, self._shown = side_of(spans), round(SIDE * float(np.median(spans)))
        self._movement = lip_movement(np.array([face.opening for face in faces if face]))
        self._identity = engine.identity_in([self._source(row) for row in _reference_rows(faces)])

    def film(self, sound: EvalClip, shown: Pictures | None = None) -> Iterator[Pictures]:
        """Network views (m, 224, 224, 3) of the clip with the words of `sound`, to and fro.

        Args:
            shown: the clip's first frames with something before them; the whole clip when None.
        """
        said, moments = self._said(sound), to_and_fro(sound.count, self.clip.count)
        for first, end in batches(self.clip.count if shown is None else len(shown)):
            views = self.clip.views(first, end) if shown is None else shown[first:end]
            yield np.stack([self._dubbed(row, view, said[moments[row]]) for row, view in enumerate(views, first)])

    @property
    def side(self) -> int:
        """Of the lower faces' pictures."""
        return self._side

    def layer(self, row: int, thing: Floats) -> Patch | None:
        """A thing (side, side, 4) in [0, 1] that lies over the lower face of a frame; None where it shows none."""
        place = self._places[row]
        if place is None:
            return None
        size = self.clip.views(row, row + 1)[0].shape
        colours = np.rint(thing[..., :3] * 255).astype(np.uint8)
        return laid(colours, thing[..., 3].astype(np.float32), place.crop(self._side), (size[1], size[0]))

    def mouths(self, film: Iterator[Pictures]) -> NDArray[np.float32]:
        """Grey lower faces (m, s, s) of the frames of a film that show a face, as large as these show them."""
        views = [view for part in film for view in part]
        seen = [(view, place) for view, place in zip(views, self._places, strict=True) if place]
        crops = [warp(view, place.crop(self._shown), self._shown) for view, place in seen]
        return np.stack([cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY) for crop in crops]).astype(np.float32)

    def truth(self) -> Iterator[Pictures]:
        """The true views."""
        return (self.clip.views(*span) for span in batches(self.clip.count))

    def _views(self) -> Iterator[NDArray[np.uint8]]:
        return (view for part in self.truth() for view in part)

    def _source(self, row: int) -> FrameSource:
        place = self._places[row]
        assert place is not None
        return self._seen(self.clip.views(row, row + 1)[0], place)

    def _seen(self, view: NDArray[np.uint8], place: HeadPlace) -> FrameSource:
        crop, size = place.crop(self._side), (self._side, self._side)
        unseen = hidden(place, crop, self._side)
        return FrameSource(
            warp_to(view, crop, size, smooth=True), unseen, place.angles.astype(np.float32), self._movement
        )

    def _said(self, sound: EvalClip) -> Sequence[Condition]:
        """What decides the lips in each frame of a clip, as in a dub."""
        codes = np.zeros((sound.count, POSE_SIZE), np.float32)
        spoken = Performance(TakeSound(sound), Fraction(FPS), 0, codes, {GAIN: PUBLISHED_GAIN}, in_place=True)
        return self._engine.conditioning(spoken).of(range(sound.count))

    def _dubbed(self, row: int, view: NDArray[np.uint8], said: Condition) -> NDArray[np.uint8]:
        place = self._places[row]
        if place is None:
            return view
        crop = place.crop(self._side)
        drawn = self._engine.draw(self._identity, [replace(said, source=self._seen(view, place))], 0)[0]
        mask = taken(place, crop, self._side, FEATHER)
        return composed(
            view, laid(drawn[..., :3], mask * (drawn[..., 3] / np.float32(255)), crop, (view.shape[1], view.shape[0]))
        )


@dataclass(frozen=True)
class CoveredClip:
    """The first frames of a clip with something over the mouth.

    Attributes:
        frames: network views (m, 224, 224, 3).
        covers: where it lies, (m, 224, 224).
    """

    frames: Pictures
    covers: NDArray[np.bool_]

    @staticmethod
    def of(dubbed: DubbedClip, seed: int) -> CoveredClip:
        """Another thing for each frame."""
        frames, covers = [], []
        for number, view in enumerate(dubbed.clip.views(0, min(_COVERED_FRAMES, dubbed.clip.count))):
            layer = dubbed.layer(number, occluder(np.random.default_rng([seed, number]), dubbed.side))
            frames.append(composed(view, layer))
            covers.append(overlay(layer, (view.shape[1], view.shape[0]))[..., 3] > _OPAQUE)
        return CoveredClip(np.stack(frames), np.stack(covers))

    def kept(self, made: Pictures) -> float:
        """Part of the covering pixels that a dub left within 8 of 255."""
        same = (np.abs(made.astype(np.int16) - self.frames) <= _KEPT).all(axis=3)
        return float(same[self.covers].mean()) if self.covers.any() else float("nan")


class _Tools(NamedTuple):
    reader: MeshReader
    judge: SyncJudge


class _Openings(NamedTuple):
    """Of a clip's lips in truth and with its own words (n,), and which frames of the other clip it spoke."""

    true: Floats
    own: Floats
    moments: list[int]


def _shared(clip: _Openings, other: _Openings) -> float:
    """See `InPlaceFigures`."""
    return partial_correlation(other.own[clip.moments], clip.true, other.true[clip.moments])


def _figures(dubbed: DubbedClip, other: EvalClip, tools: _Tools) -> tuple[InPlaceFigures, _Openings]:
    """All figures but what words have in common, and what that is told from."""
    clip, moments = dubbed.clip, to_and_fro(other.count, dubbed.clip.count)
    own, others = list(dubbed.film(clip)), list(dubbed.film(other))
    true, made, spoken = (faces_of(film, tools.reader).opening for film in (clip, own, others))
    wanted = faces_of(other, tools.reader).opening[moments]
    closed, widest = true < _CLOSED * np.nanmax(true), float(np.nanmax(true))
    covered = CoveredClip.of(dubbed, zlib.crc32(clip.name.encode()))
    before, after = dubbed.mouths(dubbed.truth()), dubbed.mouths(iter(own))
    changed, change = (float(np.abs(np.diff(mouths, axis=0)).mean()) for mouths in (after, before))
    figures = InPlaceFigures(
        lips=correlation(made, true),
        movement=float(np.nanstd(made)) / max(float(np.nanstd(true)), 1e-6),
        other=correlation(spoken, wanted),
        leak=partial_correlation(spoken, true, wanted),
        shared=float("nan"),
        closed=float((made[closed] < _CLOSED * widest).mean()) if closed.any() else float("nan"),
        shut=mean(made[closed] / widest),
        found=_within_a_frame(tools.judge, own, clip, range(clip.count)),
        found_other=_within_a_frame(tools.judge, others, other, moments),
        sharpness=_details(after) / max(_details(before), 1e-6),
        flicker=changed / max(change, 1e-6),
        kept=covered.kept(np.concatenate(list(dubbed.film(clip, covered.frames)))),
    )
    return figures, _Openings(true, made, moments)


def _within_a_frame(judge: SyncJudge, film: Sequence[Pictures], sound: EvalClip, moments: Sequence[int]) -> float:
    """1 where the judge finds a sound within a frame of the lips, 0 where it does not, NaN in clips under a second."""
    heard = heard_by(judge, sound, moments[MARGIN:-MARGIN])
    offset = found_offset(paired(seen_by(judge, film), heard))
    return float(abs(offset) <= 1) if np.isfinite(offset) else float("nan")


def _details(mouths: Floats) -> float:
    """Energy above a quarter of the sampling frequency in the middle of grey lower faces (m, s, s)."""
    quarter = mouths.shape[1] // 4
    middle = mouths[:, quarter : 3 * quarter, quarter : 3 * quarter]
    window = np.hanning(middle.shape[1])[:, None] * np.hanning(middle.shape[2])
    spectrum = np.abs(np.fft.fft2((middle - middle.mean((1, 2), keepdims=True)) * window)) ** 2
    rows, columns = (np.fft.fftfreq(size) for size in middle.shape[1:])
    return float(spectrum[:, np.hypot(rows[:, None], columns) > _FINE].mean())


def _place(face: FoundFace) -> HeadPlace:
    *corners, nose = face.rigid
    return HeadPlace.of(nose, np.stack(corners), angles_of(face.axes))


def _reference_rows(faces: Sequence[FoundFace | None]) -> list[int]:
    """Frames as a dub would choose them."""
    shown = [(row, face) for row, face in enumerate(faces) if face]
    openings, axes = (
        np.array(values) for values in zip(*((face.opening, face.axes) for _, face in shown), strict=True)
    )
    return [shown[k][0] for k in differing(openings, angles_of(axes), REFERENCES)]
