"""Raw DV, as tape cameras sent it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from model_server.pipeline.media.containers import probe
from model_server.pipeline.media.video import Video
from model_server.pipeline.speech.audio import decode_speech
from tests.pipeline.makers import click_track, counter_picture

FRAMES = 12


def write_dv(path: Path, size: tuple[int, int], rate: Fraction, pixels: str) -> Path:
    """Counted pictures, with a click 0.2 s after the beginning."""
    sound = (click_track(1, [0.2], 48000) * 32767).astype(np.int16)
    with av.open(str(path), "w", format="dv") as tape:
        pictures, voice = tape.add_stream("dvvideo", rate=rate), tape.add_stream("pcm_s16le", rate=48000)
        pictures.width, pictures.height, pictures.pix_fmt = *size, pixels
        voice.layout = "stereo"
        for k in range(FRAMES):
            first, end = (int(48000 * number / rate) for number in (k, k + 1))
            frame = av.VideoFrame.from_ndarray(counter_picture(k, *size), format="rgb24")
            frame.pts, frame.time_base = k, 1 / rate
            tape.mux(pictures.encode(frame))
            block = av.AudioFrame.from_ndarray(np.repeat(sound[first:end], 2)[None], format="s16", layout="stereo")
            block.sample_rate, block.pts, block.time_base = 48000, first, Fraction(1, 48000)
            tape.mux(voice.encode(block))
        tape.mux(pictures.encode(None))
        tape.mux(voice.encode(None))
    return path


@pytest.mark.parametrize(
    ("size", "rate", "pixels"),
    [((720, 576), Fraction(25), "yuv420p"), ((720, 480), Fraction(30000, 1001), "yuv411p")],
    ids=["PAL", "NTSC"],
)
def test_pictures_and_sound(tmp_path: Path, size: tuple[int, int], rate: Fraction, pixels: str) -> None:
    path = write_dv(tmp_path / "tape.dv", size, rate, pixels)
    info, video = probe(path), Video(path)
    assert (info.kind, info.fps, info.has_audio) == ("video", rate, True)
    assert video.times == [k / rate for k in range(FRAMES)] and video.duration == FRAMES / rate
    shown = [float(np.median(picture)) for _, picture in video.iter_frames(range(FRAMES))]
    assert np.abs(np.subtract(shown, [np.median(counter_picture(k)) for k in range(FRAMES)])).max() <= 3
    decode_speech(path, tmp_path / "speech.f32")
    loud = np.flatnonzero(np.abs(np.fromfile(tmp_path / "speech.f32", np.float32)) > 0.3)
    assert abs(loud[0] / 16000 - 0.2) < 0.002
