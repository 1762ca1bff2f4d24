"""`posedub batch`: many shots from a list, broken ones among them."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import av
import numpy as np
import pytest
from PIL import Image

from tests.cli.commands import one_sentence, posedub
from tests.conftest import drawn_head, speechlike, write_wav
from tests.servers import ServerProcess

FRAMES = 2


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    """A word's sound in the folder of the lists."""
    return write_wav(tmp_path / "voice.wav", speechlike(FRAMES / 25, 16000), 16000)


def shot(media: Path, **changes: object) -> dict[str, object]:
    given = {"portrait": media / "portrait.png", "sound": "voice.wav", "pose-mode": "frontal", "crop": "aligned"}
    return given | {name.replace("_", "-"): value for name, value in changes.items()}


def write_csv(path: Path, shots: Sequence[Mapping[str, object]], apart: str = ",") -> Path:
    columns = list(dict.fromkeys(name for one in shots for name in one))
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, columns, delimiter=apart)
        writer.writeheader()
        writer.writerows(shots)
    return path


def report(path: Path) -> dict[str, dict[str, object]]:
    return {one["name"]: one for one in json.loads(path.read_text())["shots"]}


def test_three_broken_shots_of_twenty_are_named_and_the_others_made(media: Path, tmp_path: Path, voice: Path) -> None:
    (tmp_path / "noise.wav").write_bytes(bytes(range(256)) * 9)
    shots = [shot(media, name=f"s{k:02}", mouth_strength=1 + k / 100, out="") for k in range(20)]
    shots[3]["portrait"] = "nobody.png"
    shots[8]["sound"] = "noise.wav"
    shots[13]["fps"] = "fast"
    listed, junit = write_csv(tmp_path / "shots.csv", shots), tmp_path / "junit.xml"
    words = ["batch", listed, "--data", tmp_path / "data", "--junit", junit, "--out", tmp_path / "dubs"]
    said = posedub(*words, check=False)
    assert said.returncode == 1, said.stderr
    found = report(tmp_path / "dubs" / "shots.csv.report.json")
    assert {name for name, one in found.items() if one["state"] == "failed"} == {"s03", "s08", "s13"}
    assert sum(one["state"] == "done" for one in found.values()) == 17
    assert "nobody.png" in found["s03"]["error"] and "noise.wav" in found["s08"]["error"]
    assert "no frame rate" in found["s13"]["error"]
    lines = said.stdout.splitlines()
    assert len(lines) == 21 and lines[-1].startswith("17 of 20 shots done, 3 failed;")
    made = [tmp_path / "dubs" / name for name, one in found.items() if one["job"]]
    assert all(len(list(folder.glob("*.png"))) == FRAMES for folder in made)
    suite = ElementTree.parse(junit).getroot()
    assert suite.get("tests") == "20" and suite.get("failures") == "3"
    assert {case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None} == {
        "s03", "s08", "s13"
    }  # fmt: skip

    shots[13]["fps"] = "25"
    write_csv(listed, shots, ";")
    (tmp_path / "dubs" / "s05" / "000001.png").unlink()
    touched = (tmp_path / "dubs" / "s06" / "000000.png").stat().st_mtime_ns
    posedub(*words, check=False)
    again = report(tmp_path / "dubs" / "shots.csv.report.json")
    assert {name for name, one in again.items() if one["state"] == "done"} == {"s05", "s13"}
    assert sum(one["state"] == "kept" for one in again.values()) == 16
    assert (tmp_path / "dubs" / "s05" / "000001.png").exists()
    assert (tmp_path / "dubs" / "s06" / "000000.png").stat().st_mtime_ns == touched


def test_shots_side_by_side_on_a_server_are_those_of_this_process(media: Path, tmp_path: Path, voice: Path) -> None:
    shots = [shot(media, name=f"s{k}", mouth_strength=1 + k / 10) for k in range(2)]
    shots.append(shot(media, name="movie", output="film/movie.mp4"))
    (tmp_path / "near" / "film").mkdir(parents=True)
    (tmp_path / "far" / "film").mkdir(parents=True)
    listed = tmp_path / "shots.json"
    listed.write_text(json.dumps({"shots": shots}, default=str))
    posedub("batch", listed, "--data", tmp_path / "data", "--out", tmp_path / "near")
    with ServerProcess(tmp_path / "server") as server:
        posedub("batch", listed, "--server", server.address, "--out", tmp_path / "far", "--data", tmp_path / "data")
    for name in ("s0/000000.png", "s1/000001.png"):
        assert (tmp_path / "near" / name).read_bytes() == (tmp_path / "far" / name).read_bytes()
    with av.open(str(tmp_path / "far" / "film" / "movie.mp4")) as movie:
        assert sum(1 for _ in movie.decode(video=0)) == FRAMES


def test_the_published_demo_s_list_and_folders_run_as_they_are(tmp_path: Path) -> None:
    misc = tmp_path / "misc"
    for folder, count in (("Input/517600055", 1), ("Pose_Source/517600078", 6), ("Mouth_Source/681600002", 2)):
        (misc / folder).mkdir(parents=True)
        for k in range(count):
            Image.fromarray(drawn_head(np.sin(k))).save(misc / folder / f"{k:06}.jpg")
    (misc / "Audio_Source").mkdir()
    # Theirs is a WAV by that name, too.
    write_wav(misc / "Audio_Source" / "681600002.mp3", speechlike(0.2, 16000), 16000)
    line = (
        "misc/Input/517600055 1 misc/Pose_Source/517600078 6 misc/Audio_Source/681600002.mp3 "
        "misc/Mouth_Source/681600002 363 dummy\n"
    )
    (misc / "demo.csv").write_text(line)
    posedub("batch", misc / "demo.csv", "--data", tmp_path / "data", "--out", tmp_path / "results")
    made = tmp_path / "results" / "id_517600055_pose_517600078_audio_681600002"
    assert sorted(path.name for path in made.glob("*.png")) == [f"{k:06}.png" for k in range(5)]
    assert json.loads((made / "manifest.json").read_text())["request"]["pose_kind"] == "PoseVideo"


def test_a_folder_of_frames_is_a_movie_of_the_same_pictures(tmp_path: Path) -> None:
    from fractions import Fraction

    from model_server.pipeline.media.video import open_footage
    from model_server.pipeline.movies.frames_movie import movie_of_frames

    for kind in ("png", "jpg"):
        folder = tmp_path / kind
        folder.mkdir()
        for k in range(4):
            Image.fromarray(drawn_head(k / 4)).save(folder / f"{k:06}.{kind}", quality=95)
        movie = movie_of_frames(folder, Fraction(25), tmp_path / "movies")
        shown = open_footage(movie)
        for k in range(4):
            with Image.open(folder / f"{k:06}.{kind}") as still:
                difference = np.abs(shown.frame_at(Fraction(2 * k + 1, 50)).astype(int) - np.asarray(still))
            assert difference.max() == 0 if kind == "png" else difference.mean() < 1
        assert movie_of_frames(folder, Fraction(25), tmp_path / "movies") == movie


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("portrait,sound\n", "names no shot"),
        ("name,sound\na,v.wav\na,v.wav\n", "names 2 shots 'a'"),
        ("name,sound\n../up,v.wav\n", "cannot be a folder's"),
    ],
)
def test_lists_that_cannot_be_meant(tmp_path: Path, text: str, said: str) -> None:
    listed = tmp_path / "shots.csv"
    listed.write_text(text)
    assert said in one_sentence(posedub("batch", listed, "--data", tmp_path / "data", check=False))


def test_a_column_that_is_no_option_fails_its_shot_by_name(media: Path, tmp_path: Path, voice: Path) -> None:
    listed = write_csv(tmp_path / "shots.csv", [shot(media, name="one", colour="red")])
    said = posedub("batch", listed, "--data", tmp_path / "data", check=False)
    assert said.returncode == 1 and "failed one: line 2 has a column 'colour'" in said.stdout
