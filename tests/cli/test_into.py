"""`posedub dub --into`: a person in footage is dubbed in place."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from model_server.pipeline.media.encode import decode_png
from model_server.pipeline.media.video import open_footage
from tests.cli.commands import posedub
from tests.clips import CUT, FRAMES, HERO, SIZE, still_head, two_people
from tests.conftest import speechlike, write_wav
from tests.pipeline.conftest import scene
from tests.pipeline.makers import write_movie

FACE = f"{HERO[0]},{HERO[1]}"
Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_people(tmp_path_factory.mktemp("footage"))


@pytest.fixture(scope="module")
def sound(footage: Path) -> Path:
    return write_wav(footage.with_name("speech.wav"), speechlike(FRAMES / 25))


@pytest.fixture(scope="module")
def made(footage: Path, sound: Path) -> dict[str, tuple[dict[int, Picture], str]]:
    """Pictures and stderr of the full and the overlay dub."""
    results = {}
    for output in ("full", "overlay"):
        out = footage.with_name(output)
        options = ["--into", footage, "--face", FACE, "--audio", sound, "--output", output]
        done = posedub("dub", *options, "--data", footage.with_name("data"), "--out", out)
        pictures = {int(path.stem): decode_png(path.read_bytes()) for path in out.glob("*.png")}
        results[output] = pictures, done.stderr
    return results


def meadow(folder: Path) -> Path:
    """A movie of nobody."""
    return write_movie(folder / "meadow.mp4", [scene(320, 180)] * 40)


def warnings(stderr: str) -> list[str]:
    lines = stderr.replace("\r", "\n").splitlines()
    return [line[line.index("warning: ") :].strip() for line in lines if "warning: " in line]


def test_every_frame_is_there_in_the_footages_size(made: dict) -> None:
    for output, channels in (("full", 3), ("overlay", 4)):
        pictures, _ = made[output]
        assert sorted(pictures) == list(range(FRAMES))
        assert {picture.shape for picture in pictures.values()} == {(SIZE[1], SIZE[0], channels)}


def test_only_the_chosen_face_is_touched(made: dict, footage: Path) -> None:
    full, over = made["full"][0], made["overlay"][0]
    for index, source in open_footage(footage).iter_frames(range(FRAMES)):
        clear = over[index][..., 3] == 0
        assert np.array_equal(full[index][clear], source[clear])
        alpha = over[index][..., 3:] / 255.0
        assert np.abs(alpha * over[index][..., :3] + (1 - alpha) * source - full[index]).max() <= 1
    left, right = over[0][:, :320, 3], over[0][:, 320:, 3]
    assert left.max() == 255 and right.max() == 0
    left, right = over[CUT][:, :320, 3], over[CUT][:, 320:, 3]
    assert left.max() == 0 and right.max() == 255
    assert not over[FRAMES - 1].any()


def test_warnings_carry_the_timecodes_of_the_footage(made: dict) -> None:
    lines = warnings(made["full"][1])
    (cut,) = [line for line in lines if "cuts to another shot" in line]
    assert cut.startswith("warning: 00:00:00:12 to 00:00:00:13 (1 frame)") and "at 00:00:00:12;" in cut
    (gone,) = [line for line in lines if "gone" in line]
    (cut_off,) = [line for line in lines if "cut off" in line]
    assert gone.startswith("warning: 00:00:00:24 to 00:00:01:05 (6 frames)") and "00:00:00:24 to 00:00:01:05;" in gone
    assert "00:00:00:23 to 00:00:00:24" in cut_off
    assert len(lines) == 3


def test_longer_speech_plays_the_footage_back_and_forth(footage: Path, tmp_path: Path) -> None:
    sound = write_wav(tmp_path / "long.wav", speechlike(1.6))
    options = ["--into", footage, "--face", FACE, "--audio", sound, "--pose-mode", "fixed", "--range", "28:33"]
    done = posedub("dub", *options, "--data", tmp_path / "data", "--out", tmp_path / "out")
    pictures = [decode_png((tmp_path / "out" / f"{k:06}.png").read_bytes()) for k in range(28, 33)]
    assert np.array_equal(pictures[0], pictures[3]) and np.array_equal(pictures[1], pictures[2])
    assert any("back and forth" in line for line in warnings(done.stderr))


def test_a_full_frame_movie_has_the_footages_size(footage: Path, sound: Path, tmp_path: Path) -> None:
    options = ["--into", footage, "--face", FACE, "--audio", sound, "--range", "0:4", "--mouth-only", "1"]
    posedub("dub", *options, "--data", tmp_path / "data", "--out", tmp_path / "dub.mp4")
    with av.open(str(tmp_path / "dub.mp4")) as movie:
        track = movie.streams.video[0]
        assert (track.width, track.height, track.average_rate) == (*SIZE, Fraction(25))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--output", "overlay", "--out", "dub.mp4"], "transparent"),
        (["--mouth-only", "2"], "outside 0 to 1"),
        (["--feather", "-1"], "feather -1.0"),
        (["--face-time", "1.1"], "No face was found at 1.10 s"),
        (["--face-time", "99"], "--face-time 99 is behind the end of"),
    ],
)
def test_wrong_use_is_one_sentence(footage: Path, sound: Path, tmp_path: Path, options: list, said: str) -> None:
    nobody = options[0] == "--face-time"
    into = meadow(tmp_path) if nobody else footage
    portrait = ["--portrait", footage] if nobody else []
    base = ["--into", into, *portrait, "--audio", sound, "--data", tmp_path / "data", "--out", tmp_path / "out"]
    done = posedub("dub", *base, *options, check=False)
    last = done.stderr.strip().splitlines()[-1]
    usage = "see posedub dub --help" in last
    assert done.returncode == (2 if usage else 1) and said in last and last.startswith("posedub")


def test_the_footages_rate_is_the_dubs(sound: Path, tmp_path: Path) -> None:
    film = write_movie(tmp_path / "film.mp4", [scene(320, 180)] * 5, rate=Fraction(24000, 1001))
    done = posedub("dub", "--into", film, "--audio", sound, "--out", tmp_path / "out", check=False)
    assert "No face was found" in done.stderr
    options = ["--into", film, "--fps", "500", "--audio", sound, "--out", tmp_path / "out"]
    assert "frame rate 500" in posedub("dub", *options, check=False).stderr


def test_output_without_footage_says_what_is_missing(sound: Path, tmp_path: Path) -> None:
    done = posedub("dub", "--audio", sound, "--output", "full", "--out", tmp_path, check=False)
    assert done.returncode == 2 and "--output needs --into" in done.stderr


def test_footage_of_one_picture_stands_still(sound: Path, tmp_path: Path) -> None:
    options = ["--into", still_head(tmp_path, frames=1), "--audio", sound, "--range", "0:3"]
    done = posedub("dub", *options, "--data", tmp_path / "data", "--out", tmp_path / "out")
    (said,) = warnings(done.stderr)
    assert said.endswith("The footage is shorter than the dub; from here on it stands still.")
