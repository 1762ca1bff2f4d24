"""One synthetic actor in a studio: a fixed view, exact labels, sound of exactly the frames' length."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from model_server.cli.main import main
from model_server.corpus.actor.clips import ActorClip, fitted_sound, read_actor_clip
from model_server.corpus.actor.script import monologue
from model_server.corpus.actor.statistics import described, quiet_frames
from model_server.corpus.labels import alignment_points, lip_opening
from model_server.corpus.pictures import decode_jpeg
from model_server.corpus.shards import Corpus
from model_server.errors import PoseDubError
from model_server.features import VIEW_LEFT, VIEW_SIDE
from model_server.pipeline.faces.alignment import LEFT_EYE, MOUTH, RIGHT_EYE
from tests.corpus.makers import tiny_corpus

SIDE, FRAMES = 96, 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ict = os.environ.get("POSEDUB_ICT")
    if not ict:
        pytest.skip("POSEDUB_ICT does not name ICT-FaceKit's ict.npz")
    pytest.importorskip("espeakng_loader")
    out = tmp_path_factory.mktemp("actor") / "corpus"
    small = ["--minutes", 0.12, "--frames", FRAMES, "--size", SIDE, "--texture", 128, "--strands", 300]
    command = ["corpus", "synthetic", "--actor", "--ict", ict, *small, "--supersampling", 1, "--seed", 14, "--out", out]
    assert main([str(part) for part in command]) == 0
    return out


@pytest.fixture(scope="module")
def clips(folder: Path) -> list[ActorClip]:
    corpus = Corpus.open(folder)
    return [read_actor_clip(corpus, name) for name in corpus.names()]


def test_clips_have_exact_lengths_and_one_actor(folder: Path, clips: list[ActorClip]) -> None:
    assert len(clips) == 3 and {clip.identity for clip in clips} == {"actor-14"}
    assert {entry.split for entry in Corpus.open(folder).entries} == {"train", "val", "test"}
    for clip in clips:
        assert clip.frames == FRAMES and len(clip.samples) == FRAMES * 640
        assert clip.angles.shape == (FRAMES, 3) and clip.lids.shape == (FRAMES,)
        assert decode_jpeg(clip.jpegs[0]).shape == (SIDE, SIDE, 3)
    assert (folder / "contact_sheet.png").stat().st_size > 10_000


def test_camera_light_and_background_stay(clips: list[ActorClip]) -> None:
    corner = np.stack([decode_jpeg(clip.jpegs[k])[:6, :6] for clip in clips for k in (0, 20, 59)]).astype(float)
    assert corner.std(axis=0).mean() < 3  # sensor noise alone
    assert decode_jpeg(clips[0].jpegs[0]).std() > 20


def test_the_view_is_the_networks(clips: list[ActorClip]) -> None:
    points = np.concatenate([alignment_points(clip.landmarks) for clip in clips]).mean(axis=0) * VIEW_SIDE / SIDE
    wanted = np.array([LEFT_EYE, RIGHT_EYE, MOUTH]) - [VIEW_LEFT, 0]
    assert np.abs(points - wanted).max() < 14  # the head turns away from the middle


def test_lips_move_with_the_sound_and_rest_in_silence(clips: list[ActorClip]) -> None:
    spoken = [clip for clip in clips if np.abs(clip.samples).max() > 0.1]
    assert spoken
    for clip in spoken:
        opening, quiet = lip_opening(clip.landmarks), quiet_frames(clip.samples)
        assert opening[~quiet].mean() > opening[quiet].mean() + 0.02


def test_what_is_said_fills_the_clip_after_a_silent_beginning() -> None:
    pytest.importorskip("espeakng_loader")
    for seed in range(4):
        speech = monologue(np.random.default_rng(seed), 6.0, ("en-us+f2",), None, 0.5)
        assert speech.duration >= 6.0 and speech.sample_rate == 16000
        level = np.sqrt(np.mean(speech.samples[:4800] ** 2))
        assert level < 0.01  # 0.3 s of room or nothing
    assert len(fitted_sound(np.ones(700, np.float32), 2)) == 1280


def test_an_actors_corpus_is_described(
    clips: list[ActorClip], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = described(clips)
    assert "0.1 minutes in 3 clips" in lines[0] and lines[1].startswith("yaw") and "Hz" in lines[3]
    assert main(["corpus", "info", str(folder)]) == 0
    assert lines[0] in capsys.readouterr().out


def test_clips_of_another_kind_are_refused(tmp_path: Path) -> None:
    corpus = Corpus.open(tiny_corpus(tmp_path / "tiny", 1, 1))
    with pytest.raises(PoseDubError, match="no actor's"):
        read_actor_clip(corpus, corpus.names()[0])
    assert main(["corpus", "info", str(tmp_path / "tiny"), "--sheet", str(tmp_path / "sheet.png")]) == 0
