"""`posedub batch edit.otio`: marked clips of a timeline are dubbed, and the timeline comes back with the results."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.cli.commands import one_sentence, posedub
from tests.clips import still_head
from tests.conftest import speechlike, write_wav

otio = pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed: pip install 'posedub[studio]'")
FIRST, COUNT, GAP = 3, 2, 4
NTSC = Fraction(24000, 1001)


def span(first: float, count: float, rate: float) -> object:
    time = otio.opentime.RationalTime
    return otio.opentime.TimeRange(time(first, rate), time(count, rate))


def clip(name: str, file: Path, first: float, count: float, rate: float = 25, begin: float = 0) -> object:
    media = otio.schema.ExternalReference(quote(file.name), span(begin, 1000, rate))
    return otio.schema.Clip(name, media, span(first + begin, count, rate))


def timeline(folder: Path, clips: list, sounds: list) -> Path:
    edit = otio.schema.Timeline("edit")
    for name, kind, children in (("V1", "Video", clips), ("A1", "Audio", sounds)):
        track = otio.schema.Track(name, kind=kind)
        track.extend(children)
        edit.tracks.append(track)
    path = folder / "edit.otio"
    otio.adapters.write_to_file(edit, str(path))
    return path


def gap(count: float, rate: float = 25) -> object:
    return otio.schema.Gap(source_range=span(0, count, rate))


def test_marked_clips_are_dubbed_where_they_are_cut(tmp_path: Path) -> None:
    plate = still_head(tmp_path).rename(tmp_path / "a plate.mp4")
    voice = write_wav(tmp_path / "voice.wav", speechlike(1.0, 16000), 16000)
    marked = clip("s 10", plate, FIRST, COUNT, begin=90000)
    marked.markers.append(otio.schema.Marker("PoseDub", span(90000, 1, 25)))
    slow = clip("slow", plate, 0, 4)
    slow.effects.append(otio.schema.LinearTimeWarp(time_scalar=0.5))
    slow.metadata["posedub"] = {}
    plain = clip("plain", plate, 0, 4)
    # The sound is cut 0.25 s in and begins 2 frames before the marked clip.
    sounds = [gap(GAP - 2), clip("voice", voice, 12000, 48000, 48000)]
    edit = timeline(tmp_path, [gap(GAP), marked, slow, plain], sounds)
    said = posedub("batch", edit, "--data", tmp_path / "data", "--out", tmp_path / "dubs", check=False)
    assert said.returncode == 1 and "failed slow: the clip 'slow' is retimed" in said.stdout, said.stdout + said.stderr

    folder = tmp_path / "dubs" / "s 10"
    assert [path.name for path in sorted(folder.glob("*.png"))] == [f"{k:06}.png" for k in range(COUNT)]
    spec = json.loads((folder / "manifest.json").read_text())["request"]["spec"]
    assert Fraction(spec["output"]["footage"]["start"]) == Fraction(FIRST, 25) + Fraction(1, 50)
    assert Fraction(spec["speech"]["start"]) == Fraction(1, 4) + Fraction(2, 25)

    result = otio.adapters.read_from_file(str(tmp_path / "dubs" / "edit.dubbed.otio"))
    dubbed, other, untouched = result.video_tracks()[0].find_clips()
    assert set(dubbed.media_references()) == {"DEFAULT_MEDIA", "posedub"}
    assert dubbed.active_media_reference_key == "posedub"
    assert dubbed.trimmed_range() == marked.trimmed_range() and dubbed.available_range() == marked.trimmed_range()
    for number in range(COUNT):
        file = dubbed.media_reference.target_url_for_image_number(number)
        assert (tmp_path / "dubs" / file).is_file()
    assert untouched.is_equivalent_to(plain) and other.active_media_reference_key == "DEFAULT_MEDIA"
    again = tmp_path / "again.otio"
    otio.adapters.write_to_file(result, str(again))
    assert otio.adapters.read_from_file(str(again)).is_equivalent_to(result)


def test_rates_of_ntsc_are_exact(tmp_path: Path) -> None:
    from model_server.cli.timeline import Timeline

    rate = float(NTSC)
    shot = clip("s1", tmp_path / "plate.mov", 24, 100, rate)
    shot.metadata["posedub"] = {"mouth_strength": 1.5}
    edit = timeline(tmp_path, [shot], [clip("v", tmp_path / "v.wav", 0, 480000, 48000)])
    (found,) = Timeline(edit).shots
    assert Fraction(found.options["fps"]) == NTSC and Fraction(found.options["into-start"]) == 24 / NTSC
    assert found.options["frames"] == "100" and found.options["mouth-strength"] == "1.5"
    assert found.options["audio"] == str(tmp_path / "v.wav")


def test_a_file_that_is_no_timeline_and_one_without_marks(tmp_path: Path) -> None:
    path = tmp_path / "edit.otio"
    path.write_text("{}")
    assert "cannot be read as a timeline" in one_sentence(posedub("batch", path, check=False))
    timeline(tmp_path, [clip("s1", path, 0, 4)], [])
    assert "has no marked clip" in one_sentence(posedub("batch", path, check=False))
