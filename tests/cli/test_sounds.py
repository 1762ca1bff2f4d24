"""`posedub dub` with the sounds that editors have: several tracks, tracks apart, antiphase, damage, silence."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from model_server.cli import timing
from model_server.pipeline.media.encode import decode_png
from model_server.pipeline.speech.audio import decode_speech
from tests.cli.commands import posedub
from tests.cli.test_into import warnings
from tests.clips import hero, noisy
from tests.conftest import speechlike
from tests.pipeline.conftest import paste, scene
from tests.pipeline.makers import write_sound
from tests.pipeline.test_sound import clicks, damaged
from tests.pipeline.tracks import RATE, SoundTrack, stalling, ticking, write_tracks

Dub = Callable[..., str]


@pytest.fixture
def dub(media: Path, tmp_path: Path) -> Dub:
    """Dub the drawn portrait with a sound; stderr."""

    def run(sound: Path, *options: object, out: str = "frames", face: tuple = ("--crop", "aligned")) -> str:
        portrait = ("--portrait", media / "portrait.png", *face)
        base = ("--audio", sound, "--pose-mode", "frontal", "--data", tmp_path / "data", "--out", tmp_path / out)
        return posedub("dub", *portrait, *base, *options).stderr

    return run


def pictures(folder: Path) -> np.ndarray:
    return np.stack([decode_png(path.read_bytes()) for path in sorted(folder.glob("*.png"))]).astype(float)


def heard_in(movie: Path) -> np.ndarray:
    return np.fromfile(decode_speech(movie, movie.with_suffix(".f32")).path, np.float32)


def test_a_microphone_in_antiphase_moves_the_mouth_as_one_channel_does(dub: Dub, tmp_path: Path) -> None:
    voice = speechlike(0.6, RATE).astype(np.float32)
    for name, channels in (("one", [voice]), ("two", [voice, -voice])):
        sound = write_tracks(tmp_path / f"{name}.flac", [SoundTrack(np.stack(channels), "flac")])
        assert not warnings(dub(sound, out=name))
    one, two = pictures(tmp_path / "one"), pictures(tmp_path / "two")
    assert np.abs(one - two).mean() < 0.2
    assert np.ptp(two[:, 140:200, 70:150], axis=0).mean() > 1


def test_a_stall_lasts_in_the_dub(dub: Dub, tmp_path: Path) -> None:
    sound = write_tracks(
        tmp_path / "gap.webm", [SoundTrack(ticking(1.62, (0.3,)), "libopus", moved=stalling(0.79, 0.8))]
    )
    (stall,) = warnings(dub(sound))
    assert len(pictures(tmp_path / "frames")) == 61
    assert "stalls once from 00:00:00:19 on; silence stands there, 0.80 s in all" in stall


def test_damage_is_counted_and_the_movie_made(dub: Dub, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.002, (1, 2 * RATE)).astype(np.float32)
    path = damaged(write_tracks(tmp_path / "d.m4a", [SoundTrack(ticking(2, (0.3, 1.7)) + noise)]), 0.4, 1500)
    (said,) = warnings(dub(path, out="dub.mp4"))
    count = len(decode_speech(path, tmp_path / "speech").flaws.damaged)
    assert count > 1 and f"{count} packets of the sound are damaged, from 00:00:00:" in said
    assert clicks(heard_in(tmp_path / "dub.mp4")) == pytest.approx([0.3, 1.7], abs=0.003)


@pytest.mark.parametrize("formats", [((RATE, "mono"), (RATE, "stereo")), ((RATE, "stereo"), (44100, "mono"))], ids=str)
def test_changes_of_the_format_get_into_the_movie(dub: Dub, tmp_path: Path, formats: tuple) -> None:
    parts = [
        write_sound(tmp_path / f"{k}.aac", ticking(1, (0.3,))[0], rate, "aac", layout).read_bytes()
        for k, (rate, layout) in enumerate(formats)
    ]
    (tmp_path / "both.aac").write_bytes(b"".join(parts))
    (said,) = warnings(dub(tmp_path / "both.aac", out="dub.mp4"))
    assert "changes its channels or sample rate from 00:00:01:00 on" in said
    source = clicks(heard_in(tmp_path / "both.aac"))
    assert len(source) == 2 and clicks(heard_in(tmp_path / "dub.mp4")) == pytest.approx(source, abs=0.003)


def test_a_track_is_named_and_another_one_asked_for(dub: Dub, tmp_path: Path) -> None:
    tracks = [
        SoundTrack(0 * ticking(0.4, ()), default=True, tags={"title": "Desktop"}),
        SoundTrack(ticking(0.4, (0.1,)), tags={"title": "Microphone", "language": "deu"}),
        SoundTrack(ticking(0.4, (0.3,))),
    ]
    sound = write_tracks(tmp_path / "obs.mkv", tracks)
    (said,) = warnings(dub(sound, out="dub.mp4"))
    assert "has 3 tracks; number 2 (Microphone, deu) drives the mouth" in said
    assert clicks(heard_in(tmp_path / "dub.mp4")) == pytest.approx([0.1], abs=0.003)
    (said,) = warnings(dub(sound, "--audio-track", "3", out="dub.mp4"))
    assert "number 3 drives the mouth" in said
    assert clicks(heard_in(tmp_path / "dub.mp4")) == pytest.approx([0.3], abs=0.003)
    track, silent = warnings(dub(sound, "--audio-track", "1", out="dub.mp4"))
    assert "number 1 (Desktop)" in track and "Nothing is heard" in silent
    done = posedub(
        "dub", "--portrait", sound, "--audio", sound, "--audio-track", 4, "--out", tmp_path / "x", check=False
    )
    assert done.returncode == 1
    assert "obs.mkv has 3 sound tracks, so there is no number 4" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("level", [0.0, 0.0002])
def test_a_dub_in_which_nothing_is_heard(dub: Dub, tmp_path: Path, level: float) -> None:
    sound = level * np.random.default_rng(0).uniform(-1, 1, (1, RATE // 2)).astype(np.float32)
    (said,) = warnings(dub(write_tracks(tmp_path / "mute.flac", [SoundTrack(sound, "flac")])))
    assert said.startswith("warning: 00:00:00:00 to 00:00:00:13 (13 frames): Nothing is heard in the sound of this dub")


@pytest.fixture(scope="module")
def head() -> list[np.ndarray]:
    """Fifteen pictures of a head; a bar at the bottom is white in the fifth one."""
    shown = []
    for k in range(15):
        picture = scene(320, 180)
        paste(picture, hero(), (160, 80), 0.3)
        picture[160:] = 255 if k == 5 else 0
        shown.append(noisy(picture, k, 1))
    return shown


def into_itself(path: Path, *options: object, out: str) -> tuple[list[float], list[Fraction], float]:
    """Dub footage to its own sound: seconds of the clicks, of the pictures, and of the white bar in the movie."""
    movie = path.with_name(out)
    done = posedub("dub", "--into", path, "--audio", path, *options, "--data", path.with_name("data"), "--out", movie)
    assert not [line for line in warnings(done.stderr) if "back and forth" in line]
    with av.open(str(movie)) as container:
        frames = [(frame.pts * frame.time_base, frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]
    bar = next(float(time) for time, picture in frames if picture[170:].mean() > 128)
    return clicks(heard_in(movie)), [time for time, _ in frames], bar


def test_sound_that_begins_late_stays_with_its_pictures(tmp_path: Path, head: list) -> None:
    path = write_tracks(tmp_path / "late.mkv", [SoundTrack(ticking(0.4, (0.1,)), begins=0.2)], head)
    heard, times, bar = into_itself(path, out="dub.mp4")
    assert heard == pytest.approx([0.3], abs=0.003)
    assert times == [Fraction(k, 25) for k in range(15)] and bar == 0.2


def test_pictures_that_begin_late_stay_with_their_sound(tmp_path: Path, head: list) -> None:
    path = write_tracks(tmp_path / "late.mp4", [SoundTrack(ticking(1, (0.1, 0.7)))], head, pictures_begin=0.4)
    heard, times, bar = into_itself(path, out="dub.mp4")
    assert heard == pytest.approx([0.1, 0.7], abs=0.003)
    assert times == [Fraction(k + 10, 25) for k in range(15)] and bar == 0.6
    heard, times, bar = into_itself(path, "--range", "4:12", out="part.mp4")
    assert heard == pytest.approx([0.14], abs=0.003)
    assert times == [Fraction(k, 25) for k in range(8)] and bar == 0.04


@pytest.mark.parametrize(
    ("seconds", "begins", "pictures_begin", "frames"),
    [(0.3, 0, 0, 15), (0.62, 0, 0, 15), (0.9, 0, 0, 23), (0.4, 0.2, 0, 15), (0.8, 0, 0.4, 15), (1.6, 0, 0.4, 30)],
)
def test_all_of_the_footage_is_dubbed_to_its_own_sound(
    tmp_path: Path, head: list, seconds: float, begins: float, pictures_begin: float, frames: int
) -> None:
    """Also where the sound ends before; less than a frame behind it is what encoders pad."""
    track = SoundTrack(ticking(seconds, (0.1,)), begins=begins)
    path = write_tracks(tmp_path / "clip.mp4", [track], head, pictures_begin)
    first = timing.first_second(path)
    heard = timing.frames_of_sound(path, 0, first, Fraction(25))
    assert timing.frames_of_footage(path, heard, Fraction(25)) == frames


def test_a_file_given_by_two_names_is_one(tmp_path: Path, head: list) -> None:
    path = write_tracks(tmp_path / "clip.mp4", [SoundTrack(ticking(0.4, (0.1,)))], head)
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(path.read_bytes())
    posedub("dub", "--into", path, "--audio", copy, "--data", tmp_path / "data", "--out", tmp_path / "frames")
    assert len(list((tmp_path / "frames").glob("*.png"))) == 15
