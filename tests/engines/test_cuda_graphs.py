"""What the engine does on a GPU; where there is none, how it chooses a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from model_server.engines.base import Engine
from model_server.engines.pcavs import cuda_graphs
from model_server.engines.pcavs.cuda_graphs import MOST_PICTURES, Draw, Drawings, pictures_at_once
from model_server.engines.pcavs.engine import PcavsEngine
from model_server.engines.pcavs.weights import untrained
from model_server.engines.weights import load_engine
from model_server.networks.pcavs.presets import PresetName
from tests.engines.test_pcavs import noise_crops, rows

MEBIBYTE = 2**20
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


@pytest.mark.parametrize(
    "free, count", [(2 * MOST_PICTURES * 40, MOST_PICTURES), (1279, 8), (1280, 16), (100, 1), (80, 1), (0, 1)]
)
def test_a_batch_takes_at_most_half_of_the_free_memory(free: int, count: int) -> None:
    assert pictures_at_once(free * MEBIBYTE, 40 * MEBIBYTE) == count


class Recorder:
    """Stands for the recording of CUDA graphs, which needs a GPU."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.shapes: list[list[tuple[int, ...]]] = []
        self._problem = problem

    def __call__(self, draw: Draw, examples: Sequence[Tensor]) -> Draw:
        if self._problem:
            raise self._problem
        self.shapes.append([tuple(example.shape) for example in examples])
        return draw


def doubled(first: Tensor, second: Tensor) -> Tensor:
    return torch.cat([first, second])


def test_a_drawing_is_recorded_once_for_its_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    monkeypatch.setattr(cuda_graphs, "RecordedDrawing", recorder)
    drawings = Drawings(doubled)
    for first in (torch.ones(1), torch.zeros(1), torch.ones(2), torch.zeros(1)):
        assert torch.equal(drawings(first, torch.zeros(3)), doubled(first, torch.zeros(3)))
    assert recorder.shapes == [[(1,), (3,)], [(2,), (3,)]]


def test_the_least_used_recording_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    monkeypatch.setattr(cuda_graphs, "RecordedDrawing", recorder)
    drawings = Drawings(doubled)
    sizes = list(range(1, cuda_graphs.MOST_RECORDED + 1))
    for size in (*sizes, 1, sizes[-1] + 1, 1, 2):  # 2 was not used for the longest time
        drawings(torch.ones(size), torch.ones(1))
    assert [shapes[0][0] for shapes in recorder.shapes] == [*sizes, sizes[-1] + 1, 2]


def test_where_nothing_can_be_recorded_drawing_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cuda_graphs, "RecordedDrawing", Recorder(RuntimeError("no capture")))
    drawings = Drawings(doubled)
    for _ in range(2):
        assert torch.equal(drawings(torch.ones(1), torch.zeros(1)), torch.tensor([1.0, 0.0]))
    assert caplog.text.count("without a CUDA graph") == 1


def test_a_lack_of_memory_while_recording_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graphs, "RecordedDrawing", Recorder(torch.OutOfMemoryError("full")))
    with pytest.raises(torch.OutOfMemoryError):
        Drawings(doubled)(torch.ones(1), torch.zeros(1))


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(np.mean((one.astype(float) - other) ** 2), 1e-9)))


@on_gpu
@pytest.mark.parametrize("preset", ["lite", "full"])
def test_pictures_are_those_of_a_processor(preset: PresetName) -> None:
    there, here = load_engine(untrained(preset), "cuda"), load_engine(untrained(preset), "cpu", "fp32")
    drawn = [engine.frames(engine.identity(noise_crops(1)), *rows(3), 1.2, 0) for engine in (there, here)]
    assert psnr(*drawn) > 40


@pytest.fixture(scope="module")
def engine() -> Engine:
    return load_engine(untrained(), "cuda", "fp32")


@on_gpu
def test_recorded_drawings_follow_what_changes(engine: PcavsEngine) -> None:
    identities, inputs = [engine.identity(noise_crops(1, seed)) for seed in (0, 1)], [rows(2, seed) for seed in (0, 1)]
    asked = [(identity, *values, 1.2, seed) for identity in identities for values in inputs for seed in (0, 1)]
    drawn = [engine.frames(*arguments).tobytes() for arguments in asked]
    assert len(set(drawn)) == len(drawn)
    assert isinstance(engine._draw, Drawings)
    engine._draw = engine._drawn
    for arguments, recorded in zip(asked, drawn, strict=True):
        plain = engine.frames(*arguments)
        assert np.abs(plain.astype(int) - np.frombuffer(recorded, np.uint8).reshape(plain.shape)).max() <= 1


@on_gpu
def test_a_frame_is_the_same_whatever_its_batch(engine: Engine) -> None:
    identity, (windows, codes) = engine.identity(noise_crops(1)), rows(engine.batch_size + 3)
    together = engine.frames(identity, windows, codes, 1.2, 0)
    for place in (0, engine.batch_size // 2, engine.batch_size + 2):
        alone = engine.frames(identity, windows[place : place + 1], codes[place : place + 1], 1.2, 0)
        assert np.array_equal(alone[0], together[place])
