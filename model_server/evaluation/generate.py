"""Frames of a take by an engine, through the same calls as a dub: identity once, pose codes, then frames in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model_server.engines.base import PoseReadingChoice
from model_server.engines.pcavs.conditioning import PUBLISHED_GAIN
from model_server.engines.pcavs.engine import PcavsEngine
from model_server.evaluation.clips import EvalClip
from model_server.evaluation.views import Film, Pictures, batches
from model_server.pipeline.faces.finder import FaceFinder
from model_server.pipeline.faces.pose_reading import PoseReader, Rows, measured_angles, resolved
from model_server.pipeline.faces.relief import relief_of

Codes = NDArray[np.float32]
Closures = NDArray[np.float32]


@dataclass(frozen=True)
class FilmHeads:
    """Implements `Heads`."""

    film: Film

    @property
    def shots(self) -> NDArray[np.int_]:
        return np.zeros(self.film.count, int)

    def angles(self) -> NDArray[np.float32] | None:
        return measured_angles(self.views(np.arange(self.film.count)), FaceFinder())

    def views(self, rows: Rows) -> Iterator[Pictures]:
        return (self.film.views(row, row + 1)[0] for row in rows.tolist())


class FilmMaker(Protocol):
    """Makes films of takes: what an evaluation compares."""

    def pose_codes(self, film: Film) -> Codes:
        """How the head is held in each frame of a film, (n, p)."""
        ...

    def film(
        self, take: EvalClip, codes: Codes, moments: Sequence[int] | None = None, lids: Closures | None = None
    ) -> Iterator[Pictures]:
        """The person of a take speaking its sound with the given head poses, in batches of network views.

        Args:
            take: its first frame is the portrait, for engines that want one.
            codes: (n, p), one per frame.
            moments: the frame of the take whose sound each made frame speaks; its own number when None.
            lids: how far they are closed in each made frame, (n,), for weights that heed it; open when None.
        """
        ...

    def frontal(self, take: EvalClip, count: int) -> Iterator[Pictures]:
        """Frames that look straight ahead, at `count` moments spread over the take."""
        ...


class Generator:
    """PC-AVS at work on takes.

    Args:
        engine: with the weights under test.
        gain: of the speech content.
        seed: of the generator's noise.
        reading: how pose sources are read, as in a dub.
    """

    def __init__(
        self, engine: PcavsEngine, gain: float = PUBLISHED_GAIN, seed: int = 0, reading: PoseReadingChoice = "auto"
    ) -> None:
        self.engine = engine
        self._settings = gain, seed
        self._reader = PoseReader(
            engine.pose_codes, reading=resolved(reading, engine.weights), pose_map=engine.weights.pose_map
        )

    def pose_codes(self, film: Film) -> Codes:
        """See `FilmMaker.pose_codes`; the film is one shot."""
        return self._reader.codes(FilmHeads(film))

    def film(
        self, take: EvalClip, codes: Codes, moments: Sequence[int] | None = None, lids: Closures | None = None
    ) -> Iterator[Pictures]:
        """See `FilmMaker.film`."""
        portrait = take.views(0, 1)
        identity = self.engine.identity(portrait, relief=relief_of(portrait[0]))
        moments = range(len(codes)) if moments is None else moments
        for first, end in batches(len(codes)):
            windows = take.windows(moments[first:end])
            closed = 0.0 if lids is None else lids[first:end]
            yield self.engine.frames(identity, windows, codes[first:end], *self._settings, lids=closed)

    def frontal(self, take: EvalClip, count: int) -> Iterator[Pictures]:
        """See `FilmMaker.frontal`: frames at the pose code 0."""
        moments = np.linspace(0, take.count - 1, count).astype(int).tolist()
        zero = np.zeros_like(self.engine.pose_codes(take.views(0, 1)))
        return self.film(take, zero.repeat(count, 0), moments)
