"""What the engine promises: a frame depends on its own inputs, and on all of them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from model_server.engines.base import Engine, Precision
from model_server.engines.pcavs.engine import PcavsEngine
from model_server.engines.pcavs.untrained import untrained_state
from model_server.engines.pcavs.weights import untrained
from model_server.engines.registry import check_size
from model_server.engines.runtime.priority_lock import hurried
from model_server.engines.weights import default_weights, load_engine
from model_server.errors import ErrorKind, PoseDubError
from model_server.networks.cpu.bf16 import native
from model_server.networks.pcavs.model import build
from tests.conftest import drawn_head

Rows = tuple[NDArray[np.float32], NDArray[np.float32]]


def noise_crops(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth random pictures."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 7, 7, 3)).astype(np.uint8)
    return coarse.repeat(32, axis=1).repeat(32, axis=2)


def rows(count: int, seed: int = 0) -> Rows:
    random = np.random.default_rng(seed)
    return random.random((count, 80, 20), np.float32), random.standard_normal((count, 12), np.float32)


@pytest.fixture(scope="module")
def batched() -> Engine:
    return PcavsEngine(build("lite", untrained_state("lite")), untrained(), "cpu", "fp32", rows=8)


@pytest.fixture(scope="module")
def half() -> Engine:
    if not native():
        pytest.skip("this processor has no instructions for half precision")
    return load_engine(untrained(), "cpu", "bf16")


@pytest.mark.parametrize("engine_name", ["lite", "batched", "half"])
def test_a_frame_is_the_same_whatever_its_place_and_neighbours(
    engine_name: str, request: pytest.FixtureRequest
) -> None:
    engine: Engine = request.getfixturevalue(engine_name)
    identity = engine.identity(noise_crops(1))
    window, code = rows(1, seed=5)
    alone = engine.frames(identity, window, code, 1.2, seed=9)[0]
    for count, place in ((2, 0), (2, 1), (4, 2), (5, 4), (7, 3)):
        windows, codes = rows(count, seed=10 * count + place)
        windows[place], codes[place] = window[0], code[0]
        drawn = engine.frames(identity, windows, codes, 1.2, seed=9)
        assert drawn.shape == (count, 224, 224, 3) and drawn.dtype == np.uint8
        assert drawn[place].tobytes() == alone.tobytes()
        assert all(drawn[other].tobytes() != alone.tobytes() for other in range(count) if other != place)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_frames_are_the_same_however_many_processors_there_are(precision: Precision) -> None:
    if precision == "bf16" and not native():
        pytest.skip("this processor has no instructions for half precision")
    (windows, codes), crops, portrait = rows(9), noise_crops(5, seed=1), drawn_head()[None]

    def made(processors: int) -> list[bytes]:
        with told_of(processors):
            engine = load_engine(default_weights(), "cpu", precision)
            identity = engine.identity(portrait)
            own, contents = identity.own, engine.speech_contents(windows)
            poses, frames = engine.pose_codes(crops), engine.frames(identity, windows, codes, 1.2, 0)
            return [part.tobytes() for part in (own.mouth.numpy(), own.pose.numpy(), contents, poses, frames)]

    assert made(1) == made(2) == made(3)


@contextmanager
def told_of(processors: int) -> Iterator[None]:
    """The process has so many processors, as it believes."""
    before = torch.get_num_threads()
    torch.set_num_threads(processors)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("engine_name", ["lite", "batched", "half"])
def test_a_pose_code_is_the_same_whatever_its_place_and_neighbours(
    engine_name: str, request: pytest.FixtureRequest
) -> None:
    engine: Engine = request.getfixturevalue(engine_name)
    crops = noise_crops(6)
    together = engine.pose_codes(crops)
    assert together.shape == (6, 12) and together.dtype == np.float32
    for place in (0, 3, 5):
        np.testing.assert_array_equal(engine.pose_codes(crops[place : place + 1])[0], together[place])
    np.testing.assert_array_equal(engine.pose_codes(crops[::-1]), together[::-1])


def test_every_input_matters(lite: Engine) -> None:
    identity, other = lite.identity(noise_crops(1)), lite.identity(noise_crops(1, seed=1))
    (window, code), (window2, code2) = rows(1), rows(1, seed=1)
    base = lite.frames(identity, window, code, 1.2, 0)
    assert base.tobytes() == lite.frames(identity, window, code, 1.2, 0).tobytes()
    for changed in (
        lite.frames(other, window, code, 1.2, 0),
        lite.frames(identity, window2, code, 1.2, 0),
        lite.frames(identity, window, code2, 1.2, 0),
        lite.frames(identity, window, code, 0.0, 0),
        lite.frames(identity, window, code, 1.2, 2**64 - 1),
    ):
        assert changed.tobytes() != base.tobytes()
    assert base.tobytes() == lite.frames(identity, window, code, 1.2, 0).tobytes()


def test_speech_is_encoded_once_however_often_the_pose_changes() -> None:
    networks, encoded = build("lite", untrained_state("lite")), []
    networks.speech_encoder.register_forward_pre_hook(lambda _, inputs: encoded.append(len(inputs[0])))
    engine = PcavsEngine(networks, untrained(), "cpu", "fp32")
    identity, (windows, codes) = engine.identity(noise_crops(1)), rows(4)
    first = engine.frames(identity, windows, codes, 1.2, 0)
    calls = len(encoded)
    turned = engine.frames(identity, windows[::-1], codes + 1, 1.5, 0)
    assert calls > 0 and len(encoded) == calls
    engine.forget()
    assert np.array_equal(turned, engine.frames(identity, windows[::-1], codes + 1, 1.5, 0))
    assert len(encoded) > calls and not np.array_equal(first, turned)


def test_without_mouth_strength_sound_does_not_matter(lite: Engine) -> None:
    identity = lite.identity(noise_crops(1))
    (window, code), (window2, _) = rows(1), rows(1, seed=1)
    silent = [lite.frames(identity, sound, code, 0.0, 0).tobytes() for sound in (window, window2)]
    assert silent[0] == silent[1]


def test_several_crops_are_averaged(lite: Engine) -> None:
    crops = noise_crops(3)
    together, parts = lite.identity(crops), [lite.identity(crops[n : n + 1]) for n in range(3)]
    for name in ("vector", "map", "pose"):
        values = [np.asarray(getattr(part, name)) for part in parts]
        np.testing.assert_allclose(np.asarray(getattr(together, name)), np.mean(values, 0), rtol=1e-4, atol=1e-5)
    assert together.vector.shape == (1, 256) and together.map.shape == (1, 192, 7, 7) and together.pose.shape == (12,)
    np.testing.assert_array_equal(parts[0].pose, lite.pose_codes(crops[:1])[0])


@pytest.mark.parametrize("engine_name", ["lite", "batched"])
@pytest.mark.parametrize("size", [224, 320, 512])
def test_frames_are_drawn_from_the_portrait_at_its_size(
    engine_name: str, size: int, request: pytest.FixtureRequest
) -> None:
    engine: Engine = request.getfixturevalue(engine_name)
    crop = noise_crops(1)[0]
    portrait = np.asarray(Image.fromarray(crop).resize((size, size), Image.Resampling.BICUBIC))
    windows, codes = rows(2)
    drawn = engine.frames(engine.identity(crop[None], portrait), windows, codes, 1.2, 0)
    assert drawn.shape == (2, size, size, 3)
    similarity = np.corrcoef(drawn[0].ravel(), portrait.ravel())[0, 1]
    assert similarity > 0.8
    again = engine.frames(engine.identity(crop[None], portrait), windows[1:], codes[1:], 1.2, 0)
    assert again[0].tobytes() == drawn[1].tobytes()


def test_the_portraits_own_pose_matters() -> None:
    """Flows start at zero, so the pose reaches the untrained picture through its paint."""
    engine = load_engine(untrained(), "cpu")
    identity = engine.identity(noise_crops(1))
    window, code = rows(1)
    other = replace(identity, own=identity.own.map(lambda code: code + 1))
    pictures = [engine.frames(person, window, code, 1.2, 0).tobytes() for person in (identity, other)]
    assert pictures[0] != pictures[1]


def test_weights_that_do_not_warp_refuse_other_sizes() -> None:
    with pytest.raises(PoseDubError, match="untrained full draw 224x224 pictures only"):
        check_size(448, untrained("full"))
    check_size(224, untrained("full"))


def test_untrained_pictures_are_neither_flat_nor_saturated(lite: Engine) -> None:
    windows, codes = rows(4)
    drawn = lite.frames(lite.identity(noise_crops(1)), windows, 3 * codes, 1.2, 0)  # 30 degrees are about 3
    assert drawn.std() > 20
    assert np.mean((drawn == 0) | (drawn == 255)) < 0.05
    assert drawn.astype(float).std(axis=0).mean() > 2


def test_bfloat16_draws_nearly_the_same(lite: Engine, half: Engine) -> None:
    windows, codes = rows(2)
    exact, rough = (
        engine.frames(engine.identity(noise_crops(1)), windows, codes, 1.2, 0).astype(float) for engine in (lite, half)
    )
    assert 0 < np.abs(exact - rough).mean() < 2
    assert half.precision == "bf16" and half.fingerprint() != lite.fingerprint()


def test_the_fingerprint_names_the_weights(lite: Engine) -> None:
    again = load_engine(untrained(), "cpu", "fp32")
    assert again.fingerprint() == lite.fingerprint()
    assert untrained().id in lite.fingerprint() and " cpu " in lite.fingerprint() and " fp32 " in lite.fingerprint()


def engine_with_memory_for(pictures: int, rows: int) -> PcavsEngine:
    """As on a GPU that holds only so many pictures at once."""
    networks = build("lite", untrained_state("lite"))

    def refuse(_: object, inputs: tuple[Tensor, ...]) -> None:
        if len(inputs[1]) > pictures:
            raise torch.OutOfMemoryError("CUDA out of memory")

    networks.generator.register_forward_pre_hook(refuse)
    return PcavsEngine(networks, untrained(), "cpu", "fp32", rows=rows)


def test_with_little_memory_fewer_frames_are_drawn_at_once() -> None:
    short, fitting = engine_with_memory_for(2, rows=8), engine_with_memory_for(2, rows=2)
    windows, codes = rows(5)
    identity = fitting.identity(noise_crops(1))  # last bits of a reading depend on how many rows are read at once
    drawn = [engine.frames(identity, windows, codes, 1.2, 0) for engine in (short, fitting)]
    assert np.array_equal(*drawn)
    assert short.batch_size == fitting.batch_size and short.fingerprint() == fitting.fingerprint()


def test_without_memory_for_one_frame_a_sentence_says_so() -> None:
    engine = engine_with_memory_for(0, rows=4)
    with pytest.raises(PoseDubError, match="no memory left for even one frame") as raised:
        engine.frames(engine.identity(noise_crops(1)), *rows(2), 1.2, 0)
    assert raised.value.kind is ErrorKind.UNAVAILABLE


def test_somebody_in_a_hurry_waits_for_what_is_being_drawn_and_not_for_a_batch() -> None:
    networks, count = build("lite", untrained_state("lite")), 8
    engine = PcavsEngine(networks, untrained(), "cpu", "fp32", rows=1)
    identity, (windows, codes) = engine.identity(noise_crops(1)), rows(count)
    alone = engine.frames(identity, windows, codes, 1.2, 0)
    drawn, asked, drawn_before = [0], list[Future[None]](), list[int]()

    def ask() -> None:
        with hurried():
            engine.pose_codes(noise_crops(1))
        drawn_before.append(drawn[0])

    def count_up(*_: object) -> None:
        drawn[0] += 1
        if not asked:
            asked.append(pool.submit(ask))
            with engine._turns._condition:
                while not engine._turns.wanted():
                    engine._turns._condition.wait(0.01)

    networks.generator.register_forward_pre_hook(count_up)
    with ThreadPoolExecutor(1) as pool:
        assert np.array_equal(engine.frames(identity, windows, codes, 1.2, 0), alone)
        asked[0].result()
    assert drawn_before[0] <= torch.get_num_threads() + 1 < count == drawn[0]
