"""An actor's footage has one view a video, all of its sound, and a sentence for whatever cannot work."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from model_server.cli.main import main
from model_server.corpus.actor.clips import ActorClip, read_actor_clip
from model_server.corpus.actor.footage import Settings, check, lid_closure, plan
from model_server.corpus.build import Shares, build
from model_server.corpus.layouts import find_videos
from model_server.corpus.pictures import decode_jpeg, encode_jpeg
from model_server.corpus.shards import Corpus, Entry, Index, write_index, write_shard
from model_server.corpus.speech.clips import encoded_sound
from model_server.errors import PoseDubError
from model_server.pipeline.media.video import Video
from tests.conftest import speechlike, write_movie

INPUTS = Path(__file__).parents[1] / "demo" / "inputs"
RATE = 16000


@pytest.fixture(scope="module")
def heads() -> list[np.ndarray]:
    """A rendered head that turns, in the middle of a grey room of 480x360 pixels."""
    room = np.full((360, 480, 3), 120, np.uint8)
    pictures = []
    for _, picture in Video(INPUTS / "pose.mp4").iter_frames(range(60)):
        pictures.append(room.copy())
        pictures[-1][20:340, 80:400] = picture
    return pictures


def talkie(path: Path, pictures: Sequence[np.ndarray], fps: int = 25) -> Path:
    """A movie with sound."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = speechlike(len(pictures) / fps, RATE).astype(np.float32)
    with av.open(str(path), "w") as movie:
        video, audio = movie.add_stream("libx264", rate=fps), movie.add_stream("aac", rate=RATE, layout="mono")
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = "yuv420p"
        for picture in pictures:
            movie.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        movie.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        frame.sample_rate = RATE
        movie.mux(audio.encode(frame))
        movie.mux(audio.encode(None))
    return path


@pytest.fixture(scope="module")
def corpus(heads: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("footage")
    flipped = [np.ascontiguousarray(picture[:, ::-1]) for picture in heads]
    videos = {
        "good": heads,
        "pair": [np.concatenate([a, b], 1) for a, b in zip(heads, flipped, strict=True)],
        "cut": [*heads[:30], *(255 - picture[::-1] for picture in heads[30:])],
        "wall": [np.full((64, 64, 3), 90, np.uint8)] * 60,
        "short": heads[:30],
        "slow": heads[:40:2],
        "edge": [picture[:, 200:] for picture in heads],
    }
    for name, pictures in videos.items():
        talkie(folder / "ann" / f"{name}.mp4", pictures, 10 if name == "slow" else 25)
    write_movie(folder / "ann" / "mute.mp4", heads[:30], Fraction(25))
    index = build(plan(find_videos([folder]), Settings(size=96, max_frames=50), Shares(0, 0)), folder / "out")
    return Corpus(folder / "out", index)


def test_a_video_becomes_clips_of_one_view(corpus: Corpus, heads: list[np.ndarray]) -> None:
    clips = [read_actor_clip(corpus, name) for name in corpus.names()]
    assert [clip.frames for clip in clips] == [50]  # the rest of 10 frames is too short
    clip = clips[0]
    assert len(clip.samples) == 50 * 640 and np.abs(clip.samples).max() > 0.05
    pictures = np.stack([decode_jpeg(jpeg) for jpeg in clip.jpegs]).astype(float)
    assert pictures.shape == (50, 96, 96, 3)
    eyes, mouth = clip.landmarks[:, 36:48].mean((0, 1)), clip.landmarks[:, 48:].mean((0, 1))
    assert abs(eyes[0] - 48) < 8 and 20 < eyes[1] < 42 and 50 < mouth[1] < 72
    assert np.ptp(clip.landmarks[:, 30, 0]) > 2  # the head moves in the view, the view stays
    assert clip.angles.shape == (50, 3) and np.ptp(clip.angles[:, 0]) > 5


def test_what_gives_no_clip_is_named(corpus: Corpus) -> None:
    reasons = {item.source.rpartition("-")[2]: item.reason for item in corpus.index.dropped}
    assert reasons.keys() == {"pair", "cut", "wall", "short", "slow", "edge", "mute"}
    assert reasons["pair"] == "several people" and reasons["cut"] == "cut at 1.2 s"
    assert reasons["wall"] == "no face" and reasons["mute"] == "without sound"
    assert reasons["short"] == "shorter than 2 seconds" and reasons["slow"].startswith("fewer than 20 frames")
    assert reasons["edge"] == "face too near the picture's edge"


def test_too_little_footage_is_refused_with_its_reasons(corpus: Corpus) -> None:
    with pytest.raises(PoseDubError, match=r"0\.0 minutes of one actor \(left out: cut at 1\.2 s.*at least 1"):
        check(corpus, Settings())
    advice = check(corpus, Settings(min_minutes=0))
    assert any("are little" in line for line in advice)


def test_several_people_are_refused(tmp_path: Path, heads: list[np.ndarray]) -> None:
    for name in ("ann", "bob"):
        talkie(tmp_path / name / f"{name}.mp4", heads[:2])
    command = ["corpus", "footage", str(tmp_path), "--single-actor", "--out", str(tmp_path / "out")]
    assert main(command) == 1
    with pytest.raises(PoseDubError, match=r"several people \(ann, bob\)"):
        plan(find_videos([tmp_path]), Settings(), Shares())


def test_clips_that_show_somebody_else_are_named(tmp_path: Path) -> None:
    clips = [still(f"clip{k}", INPUTS / "stock" / file) for k, file in enumerate(("01.jpg", "01.jpg", "05.jpg"))]
    for number, chosen in enumerate((clips[:2], clips)):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_shard(folder / "shard-00000.safetensors", chosen)
        index = Index(tuple(Entry(c.name, c.identity, c.source, c.frames, "shard-00000.safetensors") for c in chosen))
        write_index(folder, index)
        if number:
            with pytest.raises(PoseDubError, match="clip0 and clip2 seem to show different people"):
                check(Corpus(folder, index), Settings(min_minutes=0))
        else:
            check(Corpus(folder, index), Settings(min_minutes=0))


def still(name: str, picture: Path) -> ActorClip:
    """Two frames of one picture."""
    image = Image.open(picture).convert("RGB")
    side = min(image.size)
    jpeg = encode_jpeg(np.asarray(image.crop((0, 0, side, side)).resize((128, 128))), fine=True)
    zero = np.zeros((2, 3), np.float32)
    sound = encoded_sound(np.zeros(1280, np.float32))
    return ActorClip(name, "ann", "footage", (jpeg, jpeg), sound, zero, zero[:, 0], np.zeros((2, 68, 2), np.float32))


def test_lids_shut_where_their_gap_closes() -> None:
    landmarks = np.zeros((20, 68, 2), np.float32)
    for first in (36, 42):
        landmarks[:, first : first + 6, 0] = [0, 3, 7, 10, 7, 3]
        landmarks[:, first + 1 : first + 3, 1] = -1.5
        landmarks[:, first + 4 : first + 6, 1] = 1.5
    landmarks[5:7, 36:48, 1] *= 0.4
    closure = lid_closure(landmarks)
    assert (closure[5:7] > 0.9).all() and closure[:5].max() < 0.05


def test_the_command_tells_what_it_found(
    heads: list[np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    talkie(tmp_path / "ann" / "good.mp4", heads)
    command = ["corpus", "footage", str(tmp_path / "ann"), "--single-actor", "--size", "64", "--out"]
    assert main([*command, str(tmp_path / "out"), "--min-minutes", "0.01"]) == 0
    told = capsys.readouterr().out
    assert "minutes in 1 clips" in told and "yaw" in told and "Note:" in told and "Contact sheet" in told
    assert json.loads((tmp_path / "out" / "corpus.json").read_text())["settings"]["generator"] == "actor footage"
