"""Sound tracks from the headers of movie files, and values of a .blend file."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from blender_addon.core.blend_file import fields
from blender_addon.core.sound_tracks import sound_tracks
from tests.pipeline.makers import counter_picture
from tests.pipeline.tracks import SoundTrack, ticking, write_tracks

PICTURES = [counter_picture(k) for k in range(5)]


@pytest.mark.parametrize(
    ("name", "codec", "names"),
    [("a.mp4", "aac", ("Ton Ä", "deu")), ("a.mov", "aac", ("Ton Ä", "")), ("a.mkv", "aac", ("Ton Ä", "deu")),
     ("a.webm", "libopus", ("Ton Ä", "deu"))],
)  # fmt: skip
def test_tracks_are_named_as_the_file_does(tmp_path: Path, name: str, codec: str, names: tuple) -> None:
    made = [
        SoundTrack(ticking(0.2, ()), codec, tags={"title": "Ton Ä"}),
        SoundTrack(ticking(0.2, ()), codec, tags={"language": "deu"}),
    ]
    tracks = sound_tracks(write_tracks(tmp_path / name, made, PICTURES))
    assert tuple(track.name for track in tracks) == names


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "aac"), ("a.mov", "pcm_s16le"), ("a.mkv", "flac"), ("a.webm", "libopus")]
)
def test_tracks_begin_where_the_file_says(tmp_path: Path, name: str, codec: str) -> None:
    made = [SoundTrack(ticking(0.4, ()), codec), SoundTrack(ticking(0.2, ()), codec, begins=1.25)]
    tracks = sound_tracks(write_tracks(tmp_path / name, made, PICTURES))
    assert [float(track.begin) for track in tracks] == pytest.approx([0, 1.25], abs=0.025)


def test_one_track_none_and_other_files(tmp_path: Path) -> None:
    one = sound_tracks(write_tracks(tmp_path / "a.mp4", [SoundTrack(ticking(0.2, ()))], PICTURES))
    assert [(track.name, track.begin) for track in one] == [("", 0)]
    assert sound_tracks(write_tracks(tmp_path / "mute.mkv", [], PICTURES)) == ()
    assert sound_tracks(write_tracks(tmp_path / "a.wav", [SoundTrack(ticking(0.2, ()), "pcm_s16le")])) == ()
    assert sound_tracks(tmp_path / "missing.mp4") == ()


def test_damage_raises_nothing(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    for name in ("a.mp4", "a.mkv"):
        whole = write_tracks(tmp_path / name, [SoundTrack(ticking(0.2, ()))] * 2, PICTURES).read_bytes()
        for _ in range(300):
            data = bytearray(whole)
            for place in random.integers(0, len(data), 20):
                data[place] = random.integers(256)
            (tmp_path / "damaged").write_bytes(data[: random.integers(1, len(data))])
            sound_tracks(tmp_path / "damaged")


def blend(new: bool, value: float) -> bytes:
    """A .blend file of one structure: two pointers, a name of eight letters, and two numbers."""
    names = (b"*next", b"(*call)()", b"name[2][4]", b"seconds", b"stream")
    types = (b"void", b"char", b"double", b"Thing", b"short")
    dna = b"SDNANAME" + struct.pack("<i", len(names)) + b"".join(name + b"\0" for name in names)
    dna += b"\0" * (-len(dna) % 4) + b"TYPE" + struct.pack("<i", len(types)) + b"".join(one + b"\0" for one in types)
    dna += b"\0" * (-len(dna) % 4) + b"TLEN" + struct.pack("<5h", 0, 1, 8, 34, 2) + b"\0\0"
    dna += b"STRC" + struct.pack("<i2h10h", 1, 3, 5, 3, 0, 0, 1, 1, 2, 2, 3, 4, 4)
    content = struct.pack("<QQ8sdh", 1, 2, b"a name", value, 5)
    file = b"BLENDER17-01v0500" if new else b"BLENDER-v405"
    for code, data in ((b"TH\0\0", content), (b"DNA1", dna)):
        sizes = ("<4siQqq", code, 0, 9, len(data), 1) if new else ("<4siQii", code, len(data), 9, 0, 1)
        file += struct.pack(*sizes) + data
    return file


@pytest.mark.parametrize("new", [False, True], ids=["4.5", "5.0"])
def test_a_value_is_found_by_the_files_own_description(new: bool) -> None:
    assert fields(blend(new, -0.033), "Thing", ("seconds",)) == {"seconds": -0.033}
    assert fields(blend(new, 1.5), "Thing", ("stream", "minutes", "seconds")) == {"stream": 5, "seconds": 1.5}
    assert fields(blend(new, 1.0), "Other", ("seconds",)) == {}
