"""Movies that the command writes look like their footage, whatever that is; what differs is said."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from model_server.pipeline.media import hdr
from model_server.pipeline.media.encode import decode_png
from model_server.pipeline.media.video import picture_at
from tests.cli.commands import posedub
from tests.clips import hero
from tests.conftest import speechlike, write_wav
from tests.pipeline.conftest import paste
from tests.pipeline.tagged import Tags, bars, decoded, oriented, stated, write_tagged

Picture = np.ndarray
SIZE = (640, 360)
FRAMES = 4


def actor(size: tuple[int, int] = SIZE) -> Picture:
    """A head before bars of colour."""
    picture = bars(*SIZE)
    paste(picture, hero(), (320, 190), 0.6)
    return picture if size == SIZE else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def dub(folder: Path, footage: Path, *options: object, out: str = "dub.mp4") -> tuple[Path, str]:
    """What the command makes of the footage, and what it says."""
    sound = write_wav(folder / "speech.wav", speechlike(FRAMES / 25))
    done = posedub(
        "dub", "--into", footage, "--audio", sound, "--data", folder / "data", "--out", folder / out, *options
    )
    return folder / out, done.stderr.replace("\r", "\n")


def apart(one: Picture, other: Picture) -> tuple[int, float]:
    """How far pictures are apart at most beside the head, and on average in the face."""
    difference = np.abs(one.astype(int) - other)
    height, width = one.shape[:2]
    face = difference[int(0.4 * height) : int(0.65 * height), int(0.45 * width) : int(0.55 * width)]
    return int(difference[:, : width // 5].max()), float(face.mean())


@pytest.mark.parametrize(
    ("size", "tags"),
    [
        ((1280, 720), Tags()),
        ((1280, 720), Tags(full=True, bits=10)),
        ((640, 360), Tags(6, primaries=6, transfer=6)),
    ],
    ids=["HD", "HD in 10 bits and full range", "SD"],
)
def test_colours_are_the_footages(tmp_path: Path, size: tuple[int, int], tags: Tags) -> None:
    footage = write_tagged(tmp_path / "actor.mp4", [actor(size)] * FRAMES, tags)
    path, _ = dub(tmp_path, footage)
    assert stated(path) == (tags.matrix, 2 if tags.full else 1, tags.primaries, tags.transfer)
    for source, result in zip(decoded(footage), decoded(path), strict=True):
        elsewhere, face = apart(source, result)
        assert elsewhere <= 2 and face > 1


def test_hdr_is_not_washed_out_and_said(tmp_path: Path) -> None:
    graded = hdr.to_hdr(actor() / 255, hdr.HLG)
    tags = Tags(9, bits=10, primaries=9, transfer=hdr.HLG)
    path, said = dub(tmp_path, write_tagged(tmp_path / "actor.mp4", [graded] * FRAMES, tags))
    assert stated(path) == (1, 1, 1, 1) and "HDR (HLG)" in said
    elsewhere, face = apart(picture_at(path, Fraction(0)), actor())
    assert elsewhere < 50 and face < 30
    assert np.abs(picture_at(path, Fraction(0))[:160, :128].astype(int) - 235).max() <= 4


def test_mirrored_anamorphic_footage_is_shown_as_players_show_it(tmp_path: Path) -> None:
    stored = cv2.flip(actor((360, 288)), 1)
    plain = write_tagged(tmp_path / "plain.mp4", [stored] * FRAMES, Tags(5, primaries=5), pixel=Fraction(64, 45))
    path, _ = dub(tmp_path, oriented(plain, tmp_path / "actor.mp4", "left and right"))
    with av.open(str(path)) as movie:
        track = movie.streams.video[0]
        assert (track.width, track.height, track.sample_aspect_ratio) == (360, 288, Fraction(64, 45))
    elsewhere, face = apart(decoded(path)[0], decoded(plain)[0][:, ::-1])
    assert elsewhere <= 3 and face > 1


def test_odd_sizes_are_filled_up(tmp_path: Path) -> None:
    footage = tmp_path / "actor.webm"
    with av.open(str(footage), "w") as movie:
        track = movie.add_stream("libvpx", rate=25, options={"crf": "4", "b": "8M"})
        track.width, track.height, track.pix_fmt = 321, 181, "yuv420p"
        for _ in range(FRAMES):
            movie.mux(track.encode(av.VideoFrame.from_ndarray(actor((321, 181)), format="rgb24")))
        movie.mux(track.encode(None))
    path, said = dub(tmp_path, footage)
    assert decoded(path)[0].shape == (182, 322, 3) and "note: " in said and "322x182" in said


def test_overlays_fit_what_blender_shows(tmp_path: Path) -> None:
    plain = write_tagged(tmp_path / "plain.mp4", [actor()] * FRAMES, Tags(6, primaries=6))
    footage = oriented(plain, tmp_path / "actor.mp4", "up and down")
    out, said = dub(tmp_path, footage, "--output", "overlay", out="layer")
    y, x = np.nonzero(decode_png((out / "000000.png").read_bytes())[..., 3])
    assert np.hypot(x.mean() - 320, y.mean() - 234) < 15  # the lower face, of one whose middle is at 195
    assert "mirrored and Blender does not" in said


def test_a_portrait_alone_is_bt709(tmp_path: Path) -> None:
    footage = write_tagged(tmp_path / "actor.mp4", [actor()], Tags(6, primaries=6))
    sound = write_wav(tmp_path / "speech.wav", speechlike(2 / 25))
    out = tmp_path / "dub.mp4"
    posedub(
        "dub", "--portrait", footage, "--audio", sound, "--pose-mode", "fixed", "--data", tmp_path / "d", "--out", out
    )
    assert stated(out) == (1, 1, 1, 1)
