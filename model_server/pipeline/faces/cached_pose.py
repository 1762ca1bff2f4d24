"""Pose codes of an asset, read once for each engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy as np

from model_server.engines.base import Engine, PoseReadingChoice
from model_server.pipeline.faces.finder import FaceFinder
from model_server.pipeline.faces.parts import Parts
from model_server.pipeline.faces.pose import PoseTrack, read_pose
from model_server.pipeline.faces.pose_reading import PoseReader, resolved
from model_server.pipeline.faces.tracking import remembered
from model_server.pipeline.media.containers import never
from model_server.pipeline.request import FaceSelection, Viewer
from model_server.pipeline.result_cache import ResultCache, digest

# Part of the key under which codes are stored: to be changed with anything that changes them.
_VERSION = "pose 7"


def pose_track(
    path: Path,
    asset: str,
    face: FaceSelection,
    times: Sequence[Fraction],
    engine: Engine,
    results: ResultCache,
    finder: Callable[[], FaceFinder],
    progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = never,
    viewer: Viewer = "player",
    reading: PoseReadingChoice = "auto",
    share: frozenset[int] | None = None,
) -> PoseTrack:
    """Pose codes of a movie or picture at `times`, from the store when they were read before.

    Args:
        share: as of `Parts`.
    """
    way = resolved(reading, engine.weights)
    made_by = engine.weights.id, engine.precision, way
    key = digest(_VERSION, asset, viewer, repr(face), *made_by, " ".join(map(str, times)))
    blob = results.result(key)
    if blob:
        return _unpack(results.read(blob))
    track = read_pose(
        path,
        face,
        times,
        PoseReader(engine.pose_codes, reading=way, pose_map=engine.weights.pose_map, parts=Parts(results, key, share)),
        finder,
        progress=progress,
        cancelled=cancelled,
        track_faces=remembered(results, asset, viewer),
        viewer=viewer,
    )
    results.keep(key, _pack(track))
    return track


def _pack(track: PoseTrack) -> bytes:
    file = BytesIO()
    np.savez_compressed(
        file,
        codes=track.codes,
        without_face=np.array(track.without_face, np.int64).reshape(-1, 2),
        loops=-1 if track.loops_from is None else track.loops_from,
        cuts=np.array(track.cuts, np.int64),
        frames=track.frames,
        fps=np.array(track.fps.as_integer_ratio()),
        faces=track.faces,
        lids=track.lids,
    )
    return file.getvalue()


def _unpack(content: bytes) -> PoseTrack:
    with np.load(BytesIO(content), allow_pickle=False) as data:
        ranges = tuple((int(first), int(end)) for first, end in data["without_face"])
        loops = int(data["loops"])
        return PoseTrack(
            data["codes"],
            ranges,
            None if loops < 0 else loops,
            tuple(data["cuts"].tolist()),
            data["frames"],
            Fraction(*data["fps"].tolist()),
            int(data["faces"]),
            data["lids"],
        )
