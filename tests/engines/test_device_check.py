"""A device that draws wrongly, raises or lacks memory is found out and a simpler way taken, on a made-up device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model_server.cli.main import main
from model_server.engines import device
from model_server.engines.base import Condition, Engine, PrecisionChoice
from model_server.engines.device import resolve_device
from model_server.engines.runtime.device_check import CheckedEngine, checked, known_frame, psnr
from model_server.errors import PoseDubError
from model_server.jobs.execution import engine_pool
from model_server.jobs.execution.engine_pool import EnginePool
from model_server.training.distributed import join_group

Picture = NDArray[np.uint8]
Fault = Callable[["OnGpu", Picture], Picture]


class OnGpu:
    """An engine of the processor as if it were on a GPU, with something wrong."""

    device = "gpu"

    def __init__(self, engine: Engine, precision: PrecisionChoice, fault: Fault) -> None:
        self._engine, self._fault, self.weights = engine, fault, engine.weights
        self.precision, self.recorded = precision, True
        self.identity_of, self.conditioning = engine.identity_of, engine.conditioning

    def draw_plainly(self) -> None:
        self.recorded = False

    def draw(self, identity: Any, conditions: Sequence[Condition], seed: int) -> Picture:
        return self._fault(self, self._engine.draw(identity, conditions, seed))


class Machine:
    """A computer with such a GPU; keeps what was loaded."""

    def __init__(self, processor: Engine, fault: Fault) -> None:
        self._processor, self._fault = processor, fault
        self.loaded: list[tuple[str, PrecisionChoice]] = []

    def load(self, where: str, precision: PrecisionChoice) -> Any:
        self.loaded.append((where, precision))
        return self._processor if where == "cpu" else OnGpu(self._processor, precision, self._fault)

    def engine(self, choices: Path | None = None, precision: PrecisionChoice = "bf16") -> CheckedEngine:
        return checked(self.load, "gpu", precision, "key", choices)


def fine(gpu: OnGpu, made: Picture) -> Picture:
    """As in half precision: some last bits differ."""
    return np.clip(made.astype(int) + np.arange(made.size).reshape(made.shape) % 3 - 1, 0, 255).astype(np.uint8)


def black_when_recorded(gpu: OnGpu, made: Picture) -> Picture:
    return made * 0 if gpu.recorded else made


def shifted_in_half(gpu: OnGpu, made: Picture) -> Picture:
    return np.roll(made, 40, axis=2) if gpu.precision == "bf16" else made


def noise(gpu: OnGpu, made: Picture) -> Picture:
    return np.random.default_rng(0).integers(0, 256, made.shape, np.uint8)


def raising(gpu: OnGpu, made: Picture) -> Picture:
    raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nCompile with ...")


def without_memory(gpu: OnGpu, made: Picture) -> Picture:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_a_device_that_draws_right_is_taken_without_a_word(lite: Engine) -> None:
    found = Machine(lite, fine).engine()
    assert isinstance(found.engine, OnGpu) and found.engine.recorded and found.notice == ""


def test_recorded_drawings_that_are_wrong_are_given_up(lite: Engine, caplog: pytest.LogCaptureFixture) -> None:
    found = Machine(lite, black_when_recorded).engine()
    assert isinstance(found.engine, OnGpu) and not found.engine.recorded and found.engine.precision == "bf16"
    assert "comes out wrong" in found.notice and "without recorded drawings" in found.notice
    assert [record.getMessage() for record in caplog.records] == [found.notice]


def test_half_precision_that_is_wrong_is_given_up(lite: Engine) -> None:
    found = Machine(lite, shifted_in_half).engine()
    assert isinstance(found.engine, OnGpu) and found.engine.precision == "fp32" and "in float32" in found.notice


@pytest.mark.parametrize(
    ("fault", "said"),
    [(noise, "comes out wrong"), (raising, "no kernel image is available"), (without_memory, "out of memory")],
)
@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_a_useless_device_is_given_up(lite: Engine, fault: Fault, said: str, precision: PrecisionChoice) -> None:
    machine = Machine(lite, fault)
    found = machine.engine(precision=precision)
    assert found.engine is lite and "on the processor" in found.notice and said in found.notice
    assert "\n" not in found.notice and machine.loaded[-1] == ("cpu", precision)


def test_what_was_found_is_not_tried_again(lite: Engine, tmp_path: Path) -> None:
    choices = tmp_path / "choices.json"
    first = Machine(lite, noise).engine(choices)
    again = Machine(lite, noise)
    assert again.engine(choices) == first and again.loaded == [("cpu", "auto")]


def test_a_lack_of_memory_is_tried_again(lite: Engine, tmp_path: Path) -> None:
    choices = tmp_path / "choices.json"
    assert Machine(lite, without_memory).engine(choices).notice
    assert isinstance(Machine(lite, fine).engine(choices).engine, OnGpu)


def test_the_known_frame_is_a_picture_that_tells_others_apart(lite: Engine) -> None:
    frame = known_frame(lite)
    assert frame.std() > 10 and np.array_equal(frame, known_frame(lite))
    assert psnr(frame, frame) == 99 and psnr(frame[:, ::-1], frame) < 25 and psnr(frame * 0, frame) < 20


def test_devices_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "available", lambda kind: kind == "mps")
    assert [resolve_device(wanted) for wanted in ("auto", "cpu", "mps")] == ["cpu", "cpu", "mps"]
    for absent, name in (("cuda", "NVIDIA or AMD"), ("xpu", "Intel")):
        with pytest.raises(PoseDubError, match=f"no usable {name} GPU here; choose the device cpu or auto"):
            resolve_device(absent)
    with pytest.raises(PoseDubError, match="The device tpu is not known; choose auto, cpu, cuda, mps or xpu"):
        resolve_device("tpu")


@pytest.mark.parametrize(
    "words",
    [["bench"], ["evaluate", "."], ["weights", "pose", "clip.mp4"], ["train", "--preset", "lite-cpu"]],
    ids=lambda words: words[0],
)
def test_every_command_that_draws_or_learns_takes_every_device(words: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main([*words, "--device", "tpu"])
    said = capsys.readouterr().err
    assert all(f"'{name}'" in said or name in said for name in device.DEVICES) and "invalid choice: 'tpu'" in said


def test_training_places_its_tensors_on_the_device_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [join_group(kind).device.type for kind in ("cpu", "mps")] == ["cpu", "mps"]
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(PoseDubError, match="Several processes cannot share an Apple GPU"):
        join_group("mps")


def test_a_server_keeps_what_it_gave_up(lite: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    found = CheckedEngine(lite, "A known frame comes out wrong.")
    monkeypatch.setattr(engine_pool, "load_checked_engine", lambda *_: found)
    pool = EnginePool([lite.weights], "cpu")
    assert pool.notices == ()
    assert pool.engine() is lite and pool.engine(precision="fp32") is lite
    assert pool.notices == ("A known frame comes out wrong.",)
