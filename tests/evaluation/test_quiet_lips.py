"""Sounds without speech, and what a mouth does to them."""

from types import SimpleNamespace

import numpy as np
import pytest

from model_server.evaluation import quiet_lips
from model_server.evaluation.quiet_lips import as_table, quiet_windows
from model_server.training.recogniser.background import KINDS
from tests.evaluation.conftest import marks


def test_every_kind_is_heard_alone_and_in_a_pause() -> None:
    windows = quiet_windows()
    assert len(windows) == 1 + 2 * len(KINDS) and windows["silence"].max() == 0
    assert all(part.shape == (quiet_lips.FRAMES, 80, 20) for part in windows.values())
    for kind in KINDS:
        alone, soft = windows[f"{kind} alone"], windows[f"{kind} in a pause"]
        difference = (alone - soft)[(alone > 0.3) & (alone < 0.99)]
        assert np.median(difference) == pytest.approx(0.2, abs=0.01)  # 20 of the features' 100 dB


class _LoudMouth:
    """Opens as wide as it is loud; a frame holds its opening."""

    def identity(self, crops: np.ndarray, relief: object) -> SimpleNamespace:
        return SimpleNamespace(pose=np.zeros(12, np.float32))

    def frames(self, identity: object, windows: np.ndarray, *rest: object) -> np.ndarray:
        return windows.mean(axis=(1, 2))


class _Reader:
    def read(self, view: np.ndarray) -> SimpleNamespace:
        opening = np.array([float(view)])
        return SimpleNamespace(landmarks=marks(np.zeros((1, 3)), opening)[0])


def test_openings_are_shares_of_that_of_speech() -> None:
    speech = [(0.1 * np.random.default_rng(0).standard_normal(32000)).astype(np.float32)]
    tools = SimpleNamespace(reader=_Reader())
    stills = {"ann": np.zeros((224, 224, 3), np.uint8)}
    found = quiet_lips.quiet_lips(stills, speech, _LoudMouth(), tools)  # type: ignore[arg-type]
    shares = found["ann"].shares()
    assert shares["silence"] == 0 and 0.5 < shares["noise alone"] < 1.5
    assert shares["noise in a pause"] < shares["noise alone"]
    table = as_table(found).splitlines()
    assert table[0].startswith("| picture | speech | silence |") and table[2].startswith("| ann |")
