"""Half precision is taken where it pays and draws the same pictures, and nowhere else."""

from __future__ import annotations

import pytest
import torch

from model_server.engines.device import check_precision
from model_server.engines.pcavs import precision
from model_server.engines.pcavs.precision import optimized
from model_server.engines.pcavs.untrained import untrained_state
from model_server.engines.pcavs.weights import untrained
from model_server.engines.weights import load_engine
from model_server.errors import ErrorKind, PoseDubError
from model_server.jobs.execution.engine_pool import EnginePool
from model_server.networks.cpu import bf16
from model_server.networks.pcavs.model import Networks, build


@pytest.fixture
def networks() -> Networks:
    return build("lite", untrained_state("lite"))


def with_gain(monkeypatch: pytest.MonkeyPatch, gain: float) -> None:
    monkeypatch.setattr(precision, "_gain", lambda networks, device: gain)
    monkeypatch.setattr(bf16, "native", lambda: True)


def test_where_it_is_no_faster_float32_is_taken(networks: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    with_gain(monkeypatch, 1.1)
    assert optimized(networks, "cpu", "auto")[1] == "fp32"


def test_a_processor_without_instructions_for_it_is_not_measured(
    networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(precision, "_gain")
    monkeypatch.setattr(bf16, "native", lambda: False)
    assert optimized(networks, "cpu", "auto")[1] == "fp32"


def test_where_it_is_faster_it_is_taken(networks: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    with_gain(monkeypatch, 3.0)
    assert optimized(networks, "cpu", "auto")[1] == "bf16"


@pytest.mark.parametrize("bound, value", [("LARGEST_ERROR", 1e-6), ("LEAST_PSNR", 120.0)])
def test_where_pictures_would_change_float32_is_taken(
    networks: Networks, monkeypatch: pytest.MonkeyPatch, bound: str, value: float
) -> None:
    with_gain(monkeypatch, 3.0)
    monkeypatch.setattr(precision, bound, value)
    assert optimized(networks, "cpu", "auto")[1] == "fp32"


def test_the_gain_is_measured(networks: Networks) -> None:
    with torch.inference_mode():
        assert 0.01 < precision._gain(networks, "cpu") < 100


@pytest.mark.parametrize("wanted", ["fp32", "bf16"])
def test_what_is_asked_for_is_not_measured(
    networks: Networks, monkeypatch: pytest.MonkeyPatch, wanted: precision.Precision
) -> None:
    monkeypatch.delattr(precision, "_gain")
    assert optimized(networks, "cpu", wanted)[1] == wanted


def test_bf16_asked_of_a_processor_without_it_gets_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert not bf16.native()
    check_precision("auto", "cpu")
    check_precision("bf16", "cuda")
    pool = EnginePool([untrained()], "cpu")
    for ask in (
        lambda: load_engine(untrained(), "cpu", "bf16"),
        lambda: EnginePool([untrained()], "cpu", "bf16"),
        lambda: pool.precision("bf16"),
        lambda: pool.engine(precision="bf16"),
    ):
        with pytest.raises(PoseDubError, match="no instructions for bf16 .* auto or fp32") as raised:
            ask()
        assert raised.value.kind is ErrorKind.UNSUPPORTED
    assert pool.precision("auto") == "auto"
