"""Strip time against Blender itself: the sound as it is mixed, the movie frame as it is rendered."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import accumulate
from math import floor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from model_server.pipeline.faces.pose import source_frames
from model_server.pipeline.media.video import open_footage
from tests.pipeline.makers import browser_recording, write_movie

from .conftest import RATE, Blender

RATES = {
    Fraction(24000, 1001): {"fps": 24, "fps_base": 1.001},
    Fraction(24): {"fps": 24},
    Fraction(25): {"fps": 25},
    Fraction(30000, 1001): {"fps": 30, "fps_base": 1.001},
    Fraction(30): {"fps": 30},
    Fraction(60): {"fps": 60},
}


def same(samples: np.ndarray, expected: np.ndarray) -> bool:
    """Equal lengths and sounds; Blender divides 16-bit samples by 32767, others by 32768."""
    return len(samples) == len(expected) and np.allclose(samples, expected, rtol=1e-4, atol=1e-6)


def cut(blender: Blender, name: str, folder: Path) -> np.ndarray:
    """Samples (n,) that a dub of the strip would send."""
    target = folder / "cut.wav"
    blender.cut(name=name, target=str(target))
    samples, rate = soundfile.read(target, dtype="float32")
    assert rate == RATE
    return samples


@pytest.mark.parametrize("fps", RATES, ids=lambda fps: f"{float(fps):g}")
def test_sound_is_cut_to_the_sample_at_every_rate(blender: Blender, media: Path, tmp_path: Path, fps: Fraction) -> None:
    blender.new_scene(**RATES[fps])
    strip = blender.add(kind="sound", file=str(media / "speech.wav"), name="speech", channel=1, start=101)
    strip = blender.set_strip(name="speech", frame_offset_start=7, frame_offset_end=5)
    source, _ = soundfile.read(media / "speech.wav", dtype="float32")

    samples = cut(blender, "speech", tmp_path)

    first, count = floor(7 / fps * RATE + Fraction(1, 2)), floor((strip["right"] - strip["left"]) / fps * RATE + 0.5)
    assert strip["left"] == 108
    assert same(samples, source[first : first + count])


def test_sound_offset_moves_the_cut_and_leaves_silence(blender: Blender, media: Path, tmp_path: Path) -> None:
    blender.add(kind="sound", file=str(media / "speech.wav"), name="speech", channel=1, start=1, sound_offset=0.25)
    source, _ = soundfile.read(media / "speech.wav", dtype="float32")

    samples = cut(blender, "speech", tmp_path)

    assert not samples[: RATE // 4].any()
    assert same(samples[RATE // 4 :], source[: len(samples) - RATE // 4])


def test_strip_longer_than_its_file_ends_in_silence(blender: Blender, media: Path, tmp_path: Path) -> None:
    blender.add(kind="sound", file=str(media / "speech.wav"), name="speech", channel=1, start=1)
    blender.set_strip(name="speech", frame_final_end=73)

    samples = cut(blender, "speech", tmp_path)

    assert len(samples) == 3 * RATE
    assert samples[: 2 * RATE].any()
    assert not samples[2 * RATE :].any()


def test_packed_sound_is_cut_like_its_file(blender: Blender, media: Path, tmp_path: Path) -> None:
    file = tmp_path / "packed.wav"
    file.write_bytes((media / "speech.wav").read_bytes())
    blender.add(kind="sound", file=str(file), name="speech", channel=1, start=1, frame_offset_start=3)
    before = cut(blender, "speech", tmp_path)
    blender.pack_sounds()
    file.unlink()

    assert np.array_equal(cut(blender, "speech", tmp_path), before)


def test_cut_lies_where_blender_mixes_the_sound(blender: Blender, media: Path, tmp_path: Path) -> None:
    blender.new_scene(fps=24, fps_base=1.001)
    blender.add(kind="sound", file=str(media / "speech.wav"), name="speech", channel=1, start=5, sound_offset=0.05)
    blender.set_strip(name="speech", frame_offset_start=9, animation_offset_start=4)
    samples = cut(blender, "speech", tmp_path)

    blender.mixdown(name="speech", target=str(tmp_path / "mix.wav"))
    mixed = soundfile.read(tmp_path / "mix.wav", dtype="float32")[0].mean(axis=1)
    lags = range(-3, 4)
    piece = samples[4800:9600]
    scores = [float(np.dot(piece, mixed[4800 + lag : 9600 + lag])) for lag in lags]
    assert lags[int(np.argmax(scores))] == 0


def test_retimed_sound_is_cut_as_blender_mixes_it(blender: Blender, media: Path, tmp_path: Path) -> None:
    seconds = np.arange(2 * RATE) / RATE
    soundfile.write(tmp_path / "rising.wav", 0.5 * np.sin(2 * np.pi * 500 * seconds**2), RATE)  # at t: 1000 t Hz
    blender.add(kind="sound", file=str(media / "speech.wav"), name="loud", channel=2, start=1)
    blender.add(kind="sound", file=str(tmp_path / "rising.wav"), name="speech", channel=1, start=11)
    assert blender.retime(name="speech") > 0
    before = blender.editing_state()
    strip = blender.strips()[0]

    samples = cut(blender, "speech", tmp_path)

    assert blender.editing_state() == before
    assert len(samples) == (strip["right"] - strip["left"]) * RATE // 24
    # Twice as fast: half a second into the strip the file's first second is heard, 1 kHz, in 4.5 an octave higher.
    window = samples[RATE // 2 - 600 : RATE // 2 + 600] * np.hanning(1200)
    octave = 2 if blender.version()[0] < 5 else 1
    assert np.argmax(np.abs(np.fft.rfft(window))) * RATE / 1200 == pytest.approx(1000 * octave, rel=0.08)


def shown_index(blender: Blender, frame: int, folder: Path) -> int:
    """Which movie frame Blender shows: frame n has luma 20 + 4n."""
    picture = Image.open(blender.shown_picture(frame=frame, target=str(folder / "shown.png"))).convert("RGB")
    return round((float(np.asarray(picture)[32, 32].mean()) - 20) / 4)


MOVIES = [("25fps.mp4", Fraction(25)), ("2997fps.mp4", Fraction(30000, 1001))]


@pytest.mark.parametrize("scene_fps", [Fraction(24), Fraction(24000, 1001)], ids=["24", "23.976"])
@pytest.mark.parametrize("adjusted", [False, True], ids=["frame by frame", "adjusted"])
@pytest.mark.parametrize(("movie", "rate"), MOVIES, ids=["25", "29.97"])
def test_pose_is_read_from_the_movie_frame_that_is_shown(
    blender: Blender, media: Path, tmp_path: Path, scene_fps: Fraction, adjusted: bool, movie: str, rate: Fraction
) -> None:
    blender.new_scene(**RATES[scene_fps])
    file = str(media / movie)
    strip = (
        blender.add_adjusted_movie(file=file, start=10)
        if adjusted
        else blender.add(kind="movie", file=file, name=movie, channel=1, start=10)
    )
    blender.set_strip(name=strip["name"], frame_offset_start=2, animation_offset_start=5)
    blender.add(kind="sound", file=str(media / "speech.wav"), name="speech", channel=2, start=14)
    blender.add(kind="image", file=str(media / "portrait.png"), name="face", channel=3, start=1)
    blender.select(names=["face", "speech", strip["name"]])

    plan = blender.plan()

    start, speed = Fraction(plan["pose"]["start"]), Fraction(plan["pose"]["speed"])
    assert plan["pose"]["file"] == file
    blender.set_strip(name="face", mute=True)
    for k in (0, 1, 7, 18):
        assert floor((start + speed * k / scene_fps) * rate) == shown_index(blender, 14 + k, tmp_path)


def test_portrait_is_the_movie_frame_at_the_playhead(blender: Blender, media: Path, tmp_path: Path) -> None:
    blender.add_adjusted_movie(file=str(media / "2997fps.mp4"), start=10)
    blender.add(kind="sound", file=str(media / "speech.wav"), name="speech", channel=2, start=1)
    blender.select(names=["speech", "2997fps.mp4"])
    blender.settings(pose_kind="fixed")
    blender.playhead(frame=27)

    time = Fraction(blender.plan()["portrait"]["time"])

    assert floor(time * Fraction(30000, 1001)) == shown_index(blender, 27, tmp_path)


def test_pose_strip_elsewhere_on_the_timeline_is_read_from_its_left_handle(blender: Blender, media: Path) -> None:
    blender.new_scene(fps=25)
    blender.add(kind="movie", file=str(media / "25fps.mp4"), name="pose", channel=1, start=500, frame_offset_start=10)
    blender.add(kind="sound", file=str(media / "speech.wav"), name="speech", channel=2, start=1)
    blender.add(kind="image", file=str(media / "portrait.png"), name="face", channel=3, start=1)
    blender.select(names=["face", "speech", "pose"])

    pose = blender.plan()["pose"]

    assert (Fraction(pose["start"]), Fraction(pose["speed"])) == (Fraction(21, 50), 1)


def test_movie_that_plays_backwards_is_refused_with_a_sentence(blender: Blender, media: Path) -> None:
    blender.add(kind="movie", file=str(media / "25fps.mp4"), name="pose", channel=1, start=1, use_reverse_frames=True)
    blender.add(kind="sound", file=str(media / "speech.wav"), name="speech", channel=2, start=1)
    blender.select(names=["speech", "pose"])

    assert 'The strip "pose" plays backwards.' in blender.op(name="dub")["error"]


def test_movie_that_blender_cannot_play_is_read_at_its_own_speed(blender: Blender, media: Path, tmp_path: Path) -> None:
    """A browser's recording states neither rate nor length."""
    pictures = [np.full((48, 64, 3), 4 * k, np.uint8) for k in range(30)]
    file = browser_recording(tmp_path / "recorded.webm", pictures, list(range(0, 1200, 40)))
    blender.new_scene(fps=25)
    blender.add(kind="movie", file=str(file), name="pose", channel=1, start=1)
    blender.add(kind="sound", file=str(media / "speech.wav"), name="speech", channel=2, start=1)
    blender.add(kind="image", file=str(media / "portrait.png"), name="face", channel=3, start=1)
    blender.select(names=["face", "speech", "pose"])

    pose = blender.plan()["pose"]

    assert (Fraction(pose["start"]), Fraction(pose["speed"])) == (Fraction(1, 50), 1)


VARIABLE = {
    "clock.mp4": [0, *accumulate(random.Random(1).choices(range(24, 55), k=49))],
    "clock.mkv": [0, *accumulate(random.Random(2).choices(range(24, 55), k=49))],
    "phone.mp4": [0, *accumulate(random.Random(3).choices([33, 33, 34, 34, 67], k=49))],
    "steady.mkv": [round(k * 1000 / 30) for k in range(50)],
    "film.mkv": [round(k * 1001 / 24) for k in range(50)],
}


@pytest.mark.parametrize("adjusted", [False, True], ids=["frame by frame", "adjusted"])
@pytest.mark.parametrize("name", VARIABLE)
def test_movie_of_variable_rate_is_read_at_the_frame_that_is_shown(
    blender: Blender, media: Path, tmp_path: Path, name: str, adjusted: bool
) -> None:
    blender.new_scene(fps=25)
    pictures = [np.full((64, 64, 3), 20 + 4 * k, np.uint8) for k in range(50)]
    rate, options = Fraction(1000), {"crf": "1"}
    file = write_movie(tmp_path / name, pictures, milliseconds=VARIABLE[name], rate=rate, options=options)
    if adjusted:
        blender.add_adjusted_movie(file=str(file), start=1)
    else:
        blender.add(kind="movie", file=str(file), name=name, channel=1, start=1)
    blender.add(kind="sound", file=str(media / "speech.wav"), name="speech", channel=2, start=1)
    blender.select(names=["speech", name])
    blender.settings(output="overlay")

    source = blender.plan()["output"]["footage"]

    blender.settings(output="crop")
    frames = range(0, 39, 2)
    times = [Fraction(source["start"]) + Fraction(source["speed"]) * k / 25 for k in frames]
    seen = open_footage(file, "blender")
    assert source_frames(times, seen.times, seen.duration) == [shown_index(blender, 1 + k, tmp_path) for k in frames]
