"""Lips are told by speech alike in whatever range they are asked for, and only where lower faces are drawn."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soxr
import torch

from model_server.engines.base import Performance
from model_server.engines.pcavs.conditioning import GAIN, PUBLISHED_GAIN
from model_server.engines.pcavs.engine import PcavsEngine, as_pcavs
from model_server.engines.pcavs.in_place import drawable
from model_server.engines.pcavs.spoken_lips import WINDOW, LipReader
from model_server.engines.runtime.thread_pool import ThreadPool
from model_server.engines.shipped import shipped_weights
from model_server.engines.weights import load_engine
from model_server.engines.weights_file import keep_part, read_tensors
from model_server.errors import PoseDubError
from model_server.evaluation.clips import samples_at
from model_server.networks.pcavs.lip_shape import heard_rows
from model_server.networks.pcavs.presets import OPTIONAL_PARTS, POSE_SIZE
from model_server.networks.speech_recogniser.log_mel import log_mel
from model_server.pipeline.speech.audio import SAMPLE_RATE
from tests.pipeline.conftest import INPUTS

RATE = Fraction(25)
COUNT = WINDOW + 60


class Told:
    """Implements `Sound` with samples."""

    rms = 0.1

    def __init__(self, samples: np.ndarray) -> None:
        self.samples = samples

    def read(self, first: int, count: int) -> np.ndarray:
        return samples_at(self.samples, first, first + count)


@pytest.fixture(scope="module")
def speech() -> Told:
    """Thirteen seconds: a sentence again and again."""
    soundfile = pytest.importorskip("soundfile")
    samples, rate = soundfile.read(INPUTS / "speech.flac", dtype="float32", always_2d=True)
    said = np.resize(soxr.resample(samples[:, 0], rate, SAMPLE_RATE), COUNT * SAMPLE_RATE // 25)
    return Told(said * np.float32(0.1 / said.std()))


@pytest.fixture(scope="module")
def engine() -> PcavsEngine:
    weights = shipped_weights()
    assert weights
    return as_pcavs(load_engine(weights, "cpu", "fp32"))


@pytest.fixture(scope="module")
def reader(engine: PcavsEngine) -> LipReader:
    network = engine._networks.lip_shape
    assert network
    return LipReader.of(network, "cpu", ThreadPool(1), lambda work: work())


def test_shapes_are_those_of_the_whole_sound_in_any_range(reader: LipReader, speech: Told) -> None:
    whole = reader.shapes(speech, RATE, range(COUNT))
    part = range(WINDOW - 7, WINDOW + 9)
    np.testing.assert_array_equal(reader.shapes(speech, RATE, part), whole[part.start : part.stop])
    heard = reader._recogniser(log_mel(torch.from_numpy(speech.samples)[None]))
    with torch.inference_mode():
        at_once = reader._network(heard_rows(heard))[0].numpy()
    # Behind the sound there is silence in a dub, and nothing here.
    np.testing.assert_allclose(whole[:-30], at_once[: COUNT - 30], atol=0.02)
    assert whole[:, 0].std() > 0.5 and whole[:, 0].max() > 2


def test_other_frame_rates_lie_between_rows(reader: LipReader, speech: Told) -> None:
    known, double = (reader.shapes(speech, rate, range(40)) for rate in (RATE, 2 * RATE))
    np.testing.assert_allclose(double[1::2], 0.75 * known[:20] + 0.25 * known[1:21], atol=0.02)
    assert reader.shapes(speech, RATE, range(0)).shape == (0, 4)


def test_lips_are_told_where_lower_faces_are_drawn_and_nowhere_else(engine: PcavsEngine, speech: Told) -> None:
    codes = np.zeros((30, POSE_SIZE), np.float32)
    portrait = Performance(speech, RATE, 0, codes, {GAIN: PUBLISHED_GAIN})
    turned, drawn = (engine.conditioning(one).of(range(5, 30)) for one in (portrait, replace(portrait, in_place=True)))
    assert not any(one.value.lips.any() for one in turned) and any(one.value.lips.any() for one in drawn)
    for plain, told in zip(turned, drawn, strict=True):
        np.testing.assert_array_equal(plain.value.window, told.value.window)
        assert told.key == plain.key + told.value.lips.tobytes()


def test_lips_open_no_further_than_they_can_be_drawn() -> None:
    """And the further they are asked to, the further they do."""
    shapes = [np.array([opening, opening / 2, -1, 0.5], np.float32) for opening in np.arange(0, 16, 0.5)]
    drawn = [drawable(shape) for shape in shapes]
    openings = [one[0] for one in drawn]
    assert openings == sorted(set(openings)) and max(openings) < 6.6
    for asked, one in zip(shapes[:8], drawn[:8], strict=True):
        np.testing.assert_array_equal(asked, one)
    np.testing.assert_allclose(drawn[-1], shapes[-1] * (openings[-1] / shapes[-1][0]), rtol=1e-5)


def test_weights_for_another_recogniser_are_refused(speech: Told, tmp_path: Path) -> None:
    weights = shipped_weights()
    assert weights and weights.path
    copy = tmp_path / "w.safetensors"
    copy.write_bytes(weights.path.read_bytes())
    prefix = OPTIONAL_PARTS["lip_shape"]
    part = {name: value.clone() for name, value in read_tensors(copy).items() if name.startswith(prefix)}
    part[f"{prefix}hears"][0] += 1
    other = as_pcavs(load_engine(keep_part(copy, prefix, part), "cpu", "fp32"))
    codes = np.zeros((3, POSE_SIZE), np.float32)
    with pytest.raises(PoseDubError, match="speech recogniser of another version"):
        other.conditioning(Performance(speech, RATE, 0, codes, {GAIN: PUBLISHED_GAIN}, in_place=True))
