"""The protocol: every take is made by every method, beside true frames and baselines (PC-AVS, section 4.1).

Self-driven: the first frame is the portrait, the take's own sound is spoken, and the head follows a pose source that
shows the same motion under another look (`pose_sources`). Whether the mouth follows the pose source is measured with
a source that speaks otherwise; where the self-driven one does not, that is another take as it is.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_server import scratch
from model_server.errors import PoseDubError
from model_server.evaluation.clips import EvalClip, EvalSource
from model_server.evaluation.comparison import Comparison, Face, Gallery, Pair
from model_server.evaluation.frozen_mouth import frozen
from model_server.evaluation.generate import FilmMaker
from model_server.evaluation.measure import Instruments, Measured, faces_of, heard_by, measure
from model_server.evaluation.pose_sources import (
    Kind,
    PoseSource,
    frozen_source,
    generated_source,
    rendered_source,
    to_and_fro,
)
from model_server.evaluation.sync.judge import MARGIN, paired
from model_server.evaluation.sync.syncnet import embed_sound
from model_server.evaluation.views import Pictures, batches

TRUE, FROZEN, COPIED = "true frames", "frozen mouth", "copied portrait"
BASELINES = {
    TRUE: "the true frames against themselves: what each figure can reach, and what its instrument misses",
    FROZEN: "the true frames with the first frame's mouth: right head and face, no speech",
    COPIED: "the first frame at all times",
}
GALLERY_SIZE = 20
DELAY = 5  # frames
_FRONTAL_FRAMES = 8


@dataclass(frozen=True)
class Settings:
    """How to evaluate.

    Attributes:
        pose_source: kind; None renders where angles and `ict` are known, else takes the frozen mouth.
        ict: head model for rendered pose sources.
    """

    pose_source: Kind | None = None
    ict: Path | None = None

    def kind(self, take: EvalClip) -> Kind:
        """Kind of pose source of a take; PoseDubError when it cannot be had."""
        can_render = take.angles is not None and self.ict is not None
        if self.pose_source == "rendered" and not can_render:
            raise PoseDubError(
                f"The pose source of {take.name} cannot be rendered: that takes a synthetic clip and --ict; choose "
                "--pose-source frozen or generated."
            )
        return self.pose_source or ("rendered" if can_render else "frozen")


@dataclass
class Outcome:
    """What an evaluation found.

    Attributes:
        comparisons: for each method, its takes.
        skipped: takes that could not be used, with the reason.
        pose_sources: kind of each take's pose source.
        seconds: spent on each take.
    """

    comparisons: dict[str, list[Comparison]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    pose_sources: dict[str, Kind] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def evaluate(
    sources: Sequence[EvalSource],
    generators: Mapping[str, FilmMaker],
    instruments: Instruments,
    settings: Settings | None = None,
    portraits: Sequence[Pictures] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Outcome:
    """Evaluate methods on takes; a take that cannot be used is skipped for all of them.

    Args:
        sources: the takes.
        generators: the weights under test by the name of their row.
        instruments: what measures.
        settings: pose sources.
        portraits: network views (224, 224, 3) of further people for the gallery.
        progress: told (takes done, takes in all).

    Raises:
        PoseDubError: no take could be used.
    """
    settings = settings or Settings()
    outcome = Outcome()
    people = _People.of(sources, portraits, instruments, outcome.skipped)
    for number, source in enumerate(sources):
        progress(number, len(sources))
        if source.name in outcome.skipped:
            continue
        begin = time.monotonic()
        try:
            with scratch.folder() as folder:
                take = source.open(folder)
                other = _another(sources, number, outcome.skipped).open(folder)
                scene = _Scene(take, other, folder, instruments, settings, people.gallery(source.identity))
                for name, comparison in scene.comparisons(generators):
                    outcome.comparisons.setdefault(name, []).append(comparison)
            outcome.pose_sources[source.name] = scene.kind
        except PoseDubError as error:
            outcome.skipped[source.name] = error.message
        outcome.seconds[source.name] = time.monotonic() - begin
    progress(len(sources), len(sources))
    if not outcome.comparisons:
        reasons = "; ".join(outcome.skipped.values()) or "there are none"
        raise PoseDubError(f"No clip could be evaluated ({reasons}); give clips of one speaking face.")
    return outcome


@dataclass(frozen=True)
class _People:
    """Identity vectors of everybody's portrait."""

    vectors: dict[str, NDArray[np.float32]]

    @classmethod
    def of(
        cls, sources: Sequence[EvalSource], portraits: Sequence[Pictures], tools: Instruments, skipped: dict[str, str]
    ) -> _People:
        vectors: dict[str, NDArray[np.float32]] = {}
        for source in sources:
            if source.identity not in vectors and len(vectors) <= GALLERY_SIZE * 10:
                try:
                    vectors[source.identity] = tools.identity_vectors(source.portrait()[None])[0]
                except PoseDubError as error:
                    skipped[source.name] = error.message
        for number, view in enumerate(portraits):
            vectors[f"portrait {number}"] = tools.identity_vectors(view[None])[0]
        return cls(vectors)

    def gallery(self, identity: str) -> Gallery:
        """The person and the 19 that come next by name."""
        names = sorted(self.vectors)
        own = names.index(identity)
        chosen = [names[(own + k) % len(names)] for k in range(min(GALLERY_SIZE, len(names)))]
        return Gallery(np.stack([self.vectors[name] for name in chosen]), 0)


def _another(sources: Sequence[EvalSource], number: int, skipped: Mapping[str, str]) -> EvalSource:
    """The next take of somebody else; of the same person, or the take itself, when there is no other."""
    following = [sources[(number + k) % len(sources)] for k in range(1, len(sources))]
    usable = [source for source in following if source.name not in skipped]
    strangers = [source for source in usable if source.identity != sources[number].identity]
    return next(iter(strangers or usable), sources[number])


class _Scene:
    """One take, what drives it, and what is known of its truth."""

    def __init__(
        self,
        take: EvalClip,
        other: EvalClip,
        folder: Path,
        instruments: Instruments,
        settings: Settings,
        gallery: Gallery,
    ) -> None:
        self._take, self._other, self._folder = take, other, folder
        self._tools, self._settings, self._gallery = instruments, settings, gallery
        self.kind = settings.kind(take)
        self._true = self._measure(take.views(*span) for span in batches(take.count))
        judge, syncnet = instruments.judge, instruments.syncnet
        self._sound = self._judged(0) if judge else None
        self._delayed = self._judged(DELAY)[:, :-1] if judge else None
        self._official = embed_sound(syncnet, take) if syncnet else None

    def comparisons(self, generators: Mapping[str, FilmMaker]) -> Iterator[tuple[str, Comparison]]:
        """The take by every method."""
        yield TRUE, self._comparison(self._true, driver=self._true.face)
        yield FROZEN, self._comparison(self._measure(frozen(self._take, self._tools.reader)), driver=self._true.face)
        yield COPIED, self._comparison(self._measure(self._copies()), driver=self._true.face)
        shared = None if self.kind == "generated" else self._shared_source()
        shared_face = shared and faces_of(shared.store, self._tools.reader)
        for name, generator in generators.items():
            source = shared or generated_source(self._take, self._other, generator, self._folder)
            driver = shared_face or faces_of(source.store, self._tools.reader)
            yield name, self._generated(generator, source, driver)

    def _generated(self, generator: FilmMaker, source: PoseSource, driver: Face) -> Comparison:
        take, reader = self._take, self._tools.reader
        made = self._measure(generator.film(take, generator.pose_codes(source.store), lids=take.lids))
        cross = (made.face, driver) if source.speaks else self._cross(generator)
        frontal = faces_of(generator.frontal(take, _FRONTAL_FRAMES), reader).angles
        return self._comparison(made, driver, *cross, frontal)

    def _cross(self, generator: FilmMaker) -> tuple[Face | None, Face | None]:
        """Faces made with the other take as pose source, and that take's own; none when there is no other."""
        if self._other.name == self._take.name:
            return None, None
        moments = to_and_fro(self._other.count, self._take.count)
        lids = None if self._other.lids is None else self._other.lids[moments]
        made = generator.film(self._take, generator.pose_codes(self._other)[moments], lids=lids)
        driver = faces_of(self._other, self._tools.reader)
        played = Face(driver.landmarks[moments], driver.angles[moments])
        return faces_of(made, self._tools.reader), played

    def _comparison(
        self,
        made: Measured,
        driver: Face,
        cross_made: Face | None = None,
        cross_driver: Face | None = None,
        frontal: NDArray[np.float32] | None = None,
    ) -> Comparison:
        return Comparison(
            take=self._take.name, made=made.face, true=self._true.face, driver=driver, pictures=made.pictures,
            cross_made=cross_made, cross_driver=cross_driver, frontal=frontal,
            identity=made.identity, gallery=self._gallery, sync=_pair(made.sync, self._sound, paired),
            acceptance=self._tools.judge.acceptance if self._tools.judge else None,
            delayed=self._delayed, delay=DELAY, syncnet=_pair(made.syncnet, self._official, Pair),
        )  # fmt: skip

    def _measure(self, made: Iterator[Pictures]) -> Measured:
        return measure(made, self._take, self._tools)

    def _copies(self) -> Iterator[Pictures]:
        first = self._take.views(0, 1)
        for begin, end in batches(self._take.count):
            yield np.repeat(first, end - begin, axis=0)

    def _shared_source(self) -> PoseSource:
        """The pose source that does not depend on the weights."""
        ict = self._settings.ict
        if self.kind == "rendered" and ict is not None:
            return rendered_source(self._take, ict, zlib.crc32(self._take.name.encode()), self._folder)
        return frozen_source(self._take, self._tools.reader, self._folder)

    def _judged(self, delay: int) -> NDArray[np.float32]:
        """What the judge hears in all frames but two at either end, the sound coming `delay` frames later."""
        judge = self._tools.judge
        assert judge is not None
        return heard_by(judge, self._take, range(MARGIN - delay, self._take.count - MARGIN - delay))


def _pair(
    pictures: NDArray[np.float32] | None,
    sound: NDArray[np.float32] | None,
    of: Callable[[NDArray[np.float32], NDArray[np.float32]], Pair],
) -> Pair | None:
    return None if pictures is None or sound is None else of(pictures, sound)
