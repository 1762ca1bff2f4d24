"""What a client may ask beside a dub: faces, pose codes, what a dub would take, how one of its frames looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from model_server.engines.base import PoseReadingChoice, WeightsInfo
from model_server.engines.registry import traits
from model_server.engines.runtime.value_cache import ValueCache
from model_server.errors import PoseDubError
from model_server.jobs.execution.engine_pool import EnginePool
from model_server.jobs.execution.making import Making, Work
from model_server.jobs.execution.runner import StoredResults, checked, setup_of, with_role, with_roles
from model_server.jobs.marks import frame_marking
from model_server.jobs.store import Store
from model_server.pipeline import preview as previews
from model_server.pipeline.analysis import Context
from model_server.pipeline.faces.cached_pose import pose_track
from model_server.pipeline.faces.crops import thumbnail
from model_server.pipeline.faces.finder import FaceFinder, FoundFace
from model_server.pipeline.faces.pose import PoseTrack
from model_server.pipeline.media.encode import encode_jpeg, encode_png
from model_server.pipeline.media.sandboxed import open_footage
from model_server.pipeline.preview import Estimate, Preview
from model_server.pipeline.render import Encode
from model_server.pipeline.request import MAX_FRAMES, DubRequest, FaceSelection, Viewer
from model_server.pipeline.speech_pose import SpeechPoseRequest, pose_from_speech, teller_among

THUMBNAIL = 96


class Queries:
    """Answers from the assets in a store.

    Args:
        memory: what is kept of the sources of dubs and of questions.
        encode: makes a frame's file of its picture, as in dubs.
        making: who makes dubs' frames, None for this process.
    """

    def __init__(
        self,
        store: Store,
        engines: EnginePool,
        memory: ValueCache,
        encode: Encode = encode_png,
        making: Making | None = None,
    ) -> None:
        self._making = making
        self._store = store
        self._engines = engines
        self._memory, self._encode = memory, encode

    def faces(
        self, asset: str, time: Fraction, viewer: Viewer = "player"
    ) -> tuple[list[tuple[FoundFace, bytes]], tuple[int, int]]:
        """Faces with a small JPEG of each, largest first, and the picture's (width, height)."""
        with _named(asset):
            picture = open_footage(self._store.blobs.media(asset), viewer).frame_at(time)
        found = [(face, encode_jpeg(thumbnail(picture, face.box, THUMBNAIL))) for face in FaceFinder().find(picture)]
        return found, (picture.shape[1], picture.shape[0])

    def pose(
        self,
        asset: str,
        face: FaceSelection,
        times: Sequence[Fraction],
        weights_id: str,
        viewer: Viewer = "player",
        reading: PoseReadingChoice = "auto",
    ) -> PoseTrack:
        """Pose codes (n, 12) at presentation times in seconds, and lids where the weights heed them."""
        if not 0 < len(times) <= MAX_FRAMES:
            raise PoseDubError(f"Pose codes were asked for {len(times)} times; ask for 1 to {MAX_FRAMES}.")
        engine = self._engines.engine(weights_id)
        with _named(asset):
            media, results = self._store.blobs.media(asset), StoredResults(self._store)
            track = pose_track(
                media, asset, face, list(times), engine, results, FaceFinder, viewer=viewer, reading=reading
            )
        return track if "blink" in traits(engine.weights).parameters else replace(track, lids=track.lids[:0])

    def pose_from_speech(self, request: SpeechPoseRequest) -> NDArray[np.float32]:
        """Yaw, pitch and roll (n, 3), degrees, that go with a sound."""
        request.validate()
        weights = teller_among(self._engines.info(request.weights), self._engines.weights)
        asset = request.speech.asset
        with _named(asset):
            return pose_from_speech(self._engines.engine(weights.id), self._store.blobs.media(asset), request)

    def estimate(self, request: DubRequest, cancelled: Callable[[], bool]) -> Estimate:
        """Which frames of a request would be generated; its assets need not be here."""
        weights = checked(request, self._engines)
        absent = {role for asset, role in request.spec.asset_kinds() if not self._store.blobs.has(asset)}
        if absent:
            return Estimate(((request.first, request.end),), tuple(sorted(absent)))
        return previews.estimate(request, self._context(request, weights, cancelled))

    def preview(self, request: DubRequest, index: int, cancelled: Callable[[], bool]) -> Preview:
        """Frame `index` of a dub."""
        one = replace(request, first=index, end=index + 1)
        weights = checked(one, self._engines)
        try:
            setup = setup_of(one, weights, self._engines)
            if self._making:
                return self._making.preview(Work(one, weights, setup, cancelled))
            mark = frame_marking(one, weights, setup)
            return previews.preview(one, self._context(one, weights, cancelled), self._encode, mark)
        except PoseDubError as error:
            raise PoseDubError(with_roles(error.message, one), error.kind) from error

    def _context(self, request: DubRequest, weights: WeightsInfo, cancelled: Callable[[], bool]) -> Context:
        engine = self._engines.engine(weights.id, request.spec.precision)
        media, results = self._store.blobs.media, StoredResults(self._store)
        return Context(engine, media, results, cancelled=cancelled, memory=self._memory)


@contextmanager
def _named(asset: str) -> Iterator[None]:
    """Problems of an asset whose purpose is not known here say what the client calls it by."""
    try:
        yield
    except PoseDubError as error:
        raise PoseDubError(with_role(error.message, asset, "this source"), error.kind) from error
