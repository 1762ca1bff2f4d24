"""A dub in two halves: analysed once, its ranges rendered anywhere are the whole dub's frames."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model_server.engines.weights import default_weights, load_engine
from model_server.pipeline.analysis import Analysis, Context, analyse
from model_server.pipeline.media.encode import decode_png, encode_png
from model_server.pipeline.preview import preview
from model_server.pipeline.render import Frame, Rendering
from model_server.pipeline.request import (
    DubRequest,
    DubSpec,
    FootageSource,
    Output,
    Portrait,
    PoseFixed,
    PoseVideo,
    Speech,
)

INPUTS = Path(__file__).parents[1] / "demo" / "inputs"
FILES = {name: INPUTS / name for name in ("portrait.png", "speech.flac", "pose.mp4")}
FRAMES = 8


class Kept:
    """Results in memory."""

    def __init__(self) -> None:
        self._contents: dict[str, bytes] = {}

    def result(self, key: str) -> str | None:
        return key if key in self._contents else None

    def keep(self, key: str, content: bytes) -> str:
        self._contents[key] = content
        return key

    def read(self, sha: str) -> bytes:
        return self._contents[sha]


def context() -> Context:
    """With an engine of its own, and nothing made before."""
    return Context(load_engine(default_weights(), "cpu", "fp32"), FILES.__getitem__, Kept())


def rendered(analysis: Analysis, first: int, end: int) -> list[Frame]:
    """Frames by whoever was handed the analysis."""
    return list(Rendering(analysis, context()).frames(range(first, end)))


@pytest.fixture(scope="module")
def request_() -> DubRequest:
    source = FootageSource("pose.mp4", start=Fraction(1, 50))
    pose = PoseVideo("pose.mp4", start=Fraction(1, 50))
    portrait, speech = Portrait("portrait.png"), Speech("speech.flac", Fraction(1, 2))
    return DubRequest(DubSpec(portrait, speech, pose, Fraction(25), FRAMES, output=Output("overlay", source)))


@pytest.fixture(scope="module")
def analysis(request_: DubRequest) -> Analysis:
    return analyse(request_, context())


@pytest.fixture(scope="module")
def whole(analysis: Analysis) -> list[Frame]:
    return rendered(analysis, 0, FRAMES)


def test_any_range_is_the_wholes_also_from_another_process(analysis: Analysis, whole: list[Frame]) -> None:
    assert rendered(analysis, 3, 5) == whole[3:5]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as elsewhere:
        assert elsewhere.submit(rendered, analysis, 5, FRAMES).result() == whole[5:]


def test_a_range_that_somebody_else_takes_the_end_of_is_not_drawn_beyond(
    analysis: Analysis, whole: list[Frame]
) -> None:
    rendering, ends = Rendering(analysis, context()), iter([FRAMES, FRAMES, *[3] * FRAMES])
    assert list(rendering.frames(range(FRAMES), lambda: next(ends))) == whole[:3]


def test_a_preview_is_a_range_of_one_frame(request_: DubRequest, whole: list[Frame]) -> None:
    here = context()
    analyse(request_, here)  # pose source and footage are looked through
    shown = preview(replace(request_, first=4, end=5), here)
    assert (shown.png, shown.approximate) == (whole[4].png, False)


def test_the_encoder_that_is_handed_in_makes_the_files(analysis: Analysis, whole: list[Frame]) -> None:
    def marked(picture: NDArray[np.uint8]) -> bytes:
        return encode_png(picture) + b"mark"

    (frame,) = Rendering(analysis, context(), marked).frames(range(2, 3))
    assert frame.png == whole[2].png + b"mark"


def spoken(portrait: Path) -> list[Frame]:
    """Two frames of a portrait that speaks."""
    spec = DubSpec(Portrait("portrait"), Speech("speech.flac", Fraction(1, 2)), PoseFixed(), Fraction(25), 2)
    of = Context(load_engine(default_weights(), "cpu", "fp32"), (FILES | {"portrait": portrait}).__getitem__, Kept())
    return list(Rendering(analyse(DubRequest(spec), of), of).frames(range(2)))


def test_black_and_white_portraits_speak_in_black_and_white(tmp_path: Path) -> None:
    grey = np.asarray(Image.open(FILES["portrait.png"]).convert("L").convert("RGB"))
    noise = np.random.default_rng(0).integers(-2, 3, grey.shape)  # as much as a JPEG of it would bring in
    Image.fromarray(np.clip(grey + noise, 0, 255).astype(np.uint8)).save(tmp_path / "noisy.png")
    sepia = grey * (1, 0.9, 0.75)
    Image.fromarray(sepia.astype(np.uint8)).save(tmp_path / "sepia.png")
    paths = {"noisy": tmp_path / "noisy.png", "sepia": tmp_path / "sepia.png", "own": FILES["portrait.png"]}
    shown = {name: decode_png(spoken(path)[1].png).astype(int) for name, path in paths.items()}
    assert np.ptp(shown["noisy"], axis=2).max() == 0 and shown["noisy"].std() > 10
    assert all(np.ptp(shown[name], axis=2).mean() > 10 for name in ("sepia", "own"))
