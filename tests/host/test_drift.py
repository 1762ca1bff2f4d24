"""No drift in ten minutes: from the timeline, through the add-on, to the speech window of each frame."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from model_server.features import MelWindows, window_start
from model_server.pipeline.speech.audio import decode_speech

from .conftest import RATE, Blender
from .test_time import RATES

MINUTES_10 = 600
TRIM, OFFSET, START = 31, Fraction(3, 8), 1001  # frames, seconds, timeline frame
CLICK_BIN = 13  # of 20: the bin centred on the middle of the window


@pytest.mark.parametrize("fps", RATES, ids=lambda fps: f"{float(fps):g}")
def test_a_click_in_mid_frame_falls_into_one_bin(blender: Blender, tmp_path: Path, fps: Fraction) -> None:
    frames = floor(MINUTES_10 * fps)
    clicked = np.unique(np.linspace(3, frames - 3, 60).astype(int)).tolist()
    soundfile.write(tmp_path / "clicks.wav", click_track(clicked, fps), RATE, "PCM_16")
    blender.new_scene(**RATES[fps])
    file = str(tmp_path / "clicks.wav")
    blender.add(kind="sound", file=file, name="clicks", channel=1, start=START, sound_offset=float(OFFSET))
    blender.set_strip(name="clicks", frame_offset_start=TRIM)
    blender.cut(name="clicks", target=str(tmp_path / "cut.wav"))

    speech = decode_speech(tmp_path / "cut.wav", tmp_path / "cut.f32")
    windows = MelWindows(speech, fps).windows(clicked)

    assert {int(window.mean(0).argmax()) for window in windows} == {CLICK_BIN}
    starts = np.array([window_start(k, fps) for k in range(frames)])
    exact = 100 * (np.arange(frames) + 0.5) / float(fps) - 10
    assert np.abs(starts - exact).max() <= 0.5 + 1e-9


def click_track(frames: list[int], fps: Fraction) -> np.ndarray:
    """Ten minutes of silence with clicks that fall into the middles of `frames` of the trimmed, offset strip."""
    samples = np.zeros((MINUTES_10 + 20) * RATE, np.float32)
    for frame in frames:
        source_time = (TRIM + frame + Fraction(1, 2)) / fps - OFFSET
        samples[round(source_time * RATE)] = 0.9
    return samples
