"""Decoded media of a dub, from which both paths start: portrait views, raw speech, views of the pose source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_server.pipeline.faces.finder import FaceFinder
from model_server.pipeline.faces.portrait import PortraitViews, portrait_views
from model_server.pipeline.faces.pose import read_pose
from model_server.pipeline.faces.pose_reading import PoseReader
from model_server.pipeline.request import DubSpec, PoseVideo
from model_server.pipeline.speech.audio import SpeechFile, decode_speech


@dataclass(frozen=True)
class Decoded:
    """Media of a dub in memory, before any network saw them.

    Attributes:
        speech: its raw samples lie on disk, as for the server.
        views: network views of the pose source's frames, each once; (m, 224, 224, 3).
        view_of: which of them shows the pose of each frame of the dub, (n,).
    """

    portrait: PortraitViews
    speech: SpeechFile
    views: NDArray[np.uint8]
    view_of: NDArray[np.intp]


def decode(spec: DubSpec, files: Mapping[str, Path], folder: Path) -> Decoded:
    """Decode all media with the pipeline's own code.

    Args:
        spec: its pose comes from a movie or picture.
        files: media by asset id.
        folder: where the raw speech goes.
    """
    finder = cache(FaceFinder)
    speech = decode_speech(files[spec.speech.asset], folder / "speech.f32", spec.speech.start)
    assert spec.portrait is not None
    portrait = portrait_views(files[spec.portrait.asset], spec.portrait, spec.size, finder)
    assert isinstance(spec.pose, PoseVideo)
    times = [spec.pose.start + spec.pose.speed * k / spec.fps for k in range(spec.frame_count)]
    views: list[NDArray[np.uint8]] = []

    def number(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Numbers in place of codes: the track then tells which view each frame has."""
        first = len(views)
        views.extend(batch)
        return np.repeat(np.arange(first, len(views), dtype=np.float32)[:, None], 1, axis=1)

    track = read_pose(files[spec.pose.asset], spec.pose.face, times, PoseReader(number), finder)
    return Decoded(portrait, speech, np.stack(views), track.codes[:, 0].astype(np.intp))
