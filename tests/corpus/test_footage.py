"""Footage is found in its layouts, cropped at 25 fps; what cannot be used is named. Real clips with POSEDUB_GRID."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from model_server.cli.main import main
from model_server.corpus.build import Shares, build
from model_server.corpus.footage import Settings, VideoMaker, plan
from model_server.corpus.labels import alignment_points
from model_server.corpus.layouts import find_videos
from model_server.corpus.shards import Corpus, windows
from model_server.errors import PoseDubError
from model_server.pipeline.faces.alignment import MOUTH
from tests.conftest import drawn_head, speechlike, write_movie
from tests.corpus.makers import tiny_corpus


def talkie(path: Path, sound: np.ndarray, frames: int = 30, rate: int = 16000) -> Path:
    """A movie of a flat picture with sound."""
    with av.open(str(path), "w") as movie:
        video, audio = movie.add_stream("libx264", rate=25), movie.add_stream("aac", rate=rate, layout="mono")
        video.height, video.width, video.pix_fmt = 64, 64, "yuv420p"
        for _ in range(frames):
            movie.mux(video.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, np.uint8), format="rgb24")))
        movie.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray(sound[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = rate
        movie.mux(audio.encode(frame))
        movie.mux(audio.encode(None))
    return path


@pytest.mark.parametrize(
    ("file", "name", "identity", "source"),
    [
        ("id00017/5MkXgwdrmJw/00001.mp4", "id00017-5MkXgwdrmJw-00001", "id00017", "footage"),
        ("ABOUT/train/ABOUT_00003.mp4", "lrw-train-ABOUT_00003", "lrw-train-ABOUT_00003", "footage"),
        ("grid/s7/bbaf2n.mpg", "grid-s7-bbaf2n", "grid-s7", "grid"),
        ("grid_s1/bbaf2n.mpg", "grid-s1-bbaf2n", "grid-s1", "grid"),
        ("ten/s20_brbk7n.mpg", "grid-s20-brbk7n", "grid-s20", "grid"),
        ("ten/s2_id2_vcd_swwp2s.mpg", "grid-s2-swwp2s", "grid-s2", "grid"),
        ("anna/holiday.clip.mov", "root-anna-holiday_clip", "anna", "footage"),
    ],
)
def test_layouts_are_recognised(tmp_path: Path, file: str, name: str, identity: str, source: str) -> None:
    path = tmp_path / "root" / file
    path.parent.mkdir(parents=True)
    path.touch()
    path.with_suffix(".txt").touch()
    [video] = find_videos([tmp_path / "root"])
    assert (video.path, video.name, video.identity, video.source) == (path, name, identity, source)


def test_copies_count_once_and_names_may_be_people(tmp_path: Path) -> None:
    for file in ("a/grid_s1/bbaf2n.mpg", "b/s1_bbaf2n.mpg", "x/one.mp4", "x/two.mp4"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert len(find_videos([tmp_path / "a", tmp_path / "b"])) == 1
    assert len({v.identity for v in find_videos([tmp_path / "x"], "flat", "name")}) == 2
    with pytest.raises(PoseDubError, match="does not exist"):
        find_videos([tmp_path / "none"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(PoseDubError, match="no video"):
        find_videos([tmp_path / "empty"])


def test_what_gives_no_clip_is_named_with_its_reason(tmp_path: Path) -> None:
    source = tmp_path / "videos"
    source.mkdir()
    write_movie(source / "mute.mp4", [drawn_head()] * 5, Fraction(25))
    talkie(source / "wall.mp4", speechlike(1.2, 16000))
    talkie(source / "still.mp4", np.zeros(19200))
    (source / "broken.mp4").write_bytes(b"no movie")
    assert main(["corpus", "footage", str(source), "--out", str(tmp_path / "out")]) == 0
    document = json.loads((tmp_path / "out" / "corpus.json").read_text())
    reasons = {item["source"]: item["reason"] for item in document["dropped"]}
    assert reasons["videos-mute"] == "without sound" and reasons["videos-still"] == "silent"
    assert reasons["videos-wall"] == "no face" and "broken.mp4" in reasons["videos-broken"]
    assert document["clips"] == [] and document["counts"]["dropped"] == 4


def test_info_and_merge_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tiny_corpus(tmp_path / "tiny"))
    assert main(["corpus", "merge", folder, "--out", str(tmp_path / "joined")]) == 0
    assert main(["corpus", "info", str(tmp_path / "joined"), "--sheet", str(tmp_path / "x.png"), "--landmarks"]) == 0
    assert "train:       4 identities, 8 clips, 96 frames" in capsys.readouterr().out
    assert (tmp_path / "x.png").stat().st_size > 10_000
    assert main(["corpus", "info", str(tmp_path)]) == 1


@pytest.fixture(scope="module")
def grid() -> list[Path]:
    if not os.environ.get("POSEDUB_GRID"):
        pytest.skip("POSEDUB_GRID does not name a folder of GRID clips")
    return sorted(Path(os.environ["POSEDUB_GRID"]).rglob("*.mpg"))[:3]


def test_grid_clips_become_aligned_clips_in_sync(tmp_path: Path, grid: list[Path]) -> None:
    videos = find_videos(grid)
    build(plan(videos, Settings(), Shares(0, 0.34)), tmp_path)
    corpus = Corpus.open(tmp_path)
    assert len(corpus.names()) == 3 and {corpus.entry(name).source for name in corpus.names()} == {"grid"}
    assert len(corpus.names("test")) == 1
    best = []
    for clip in map(corpus.clip, corpus.names()):
        assert len(clip.jpegs) >= 70 and np.abs(alignment_points(clip.landmarks)[:, 2] - MOUTH).max() < 6
        assert np.abs(clip.angles).mean() < 12
        loudness = windows(clip, range(len(clip.jpegs)))[:, :, 8:12].mean(axis=(1, 2))
        inner = np.arange(5, len(loudness) - 5)
        best.append([np.corrcoef(clip.opening[inner], loudness[inner + lag])[0, 1] for lag in range(-4, 5)])
    assert abs(int(np.mean(best, axis=0).argmax()) - 4) <= 1


def test_long_videos_are_cut_and_short_rests_dropped(grid: list[Path]) -> None:
    clips, dropped = VideoMaker(Settings(max_frames=30, min_frames=20))(find_videos(grid[:1]))
    assert [clip.name.split(".")[1] for clip in clips] == ["0", "1"]
    assert [item.reason for item in dropped] == ["face shown for less than 20 frames"]
    _, dropped = VideoMaker(Settings(min_face=400))(find_videos(grid[:1]))
    assert [item.reason for item in dropped] == ["face narrower than 400 pixels"]
