"""With ICT-FaceKit's data: synthetic clips are aligned like footage and their labels hold in crop pixels."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_server.corpus.build import Shares
from model_server.corpus.labels import alignment_points
from model_server.corpus.pictures import decode_jpeg, flow_sheet
from model_server.corpus.shards import OTHERS_TOP, Clip, windows
from model_server.corpus.speech.clips import decoded_sound
from model_server.corpus.synthetic import (
    IdentityMaker,
    Settings,
    delayed,
    flow_sources,
    plan,
    seen_angles,
    spoken_landmarks,
)
from model_server.errors import PoseDubError
from model_server.head_rotation import angles_of, rotation
from model_server.pipeline.faces.alignment import LEFT_EYE, MOUTH, RIGHT_EYE
from model_server.synthetic.speech import Phoneme, Speech


@pytest.fixture(scope="module")
def settings() -> Settings:
    if not os.environ.get("POSEDUB_ICT"):
        pytest.skip("POSEDUB_ICT does not name ICT-FaceKit's ict.npz")
    pytest.importorskip("espeakng_loader")
    return Settings(Path(os.environ["POSEDUB_ICT"]), 3, 2, 12, 4, texture=128, strands=300, supersampling=1)


@pytest.fixture(scope="module")
def clips(settings: Settings) -> list[Clip]:
    return IdentityMaker(settings)(1)[0]


def test_clips_are_aligned_as_footage_is(clips: list[Clip]) -> None:
    for clip in clips:
        points = alignment_points(clip.landmarks)
        assert np.abs(points[:, 2] - MOUTH).max() < 3  # the mouth is held, smoothed over two frames
        eyes = points[:, :2].mean(axis=0)
        assert np.abs(eyes - [LEFT_EYE, RIGHT_EYE]).max() < 9


def test_flow_leads_landmarks_to_landmarks(clips: list[Clip]) -> None:
    for clip in clips:
        for j, source in enumerate(clip.flow_sources):
            for i in range(len(clip.jpegs)):
                x, y = (clip.landmarks[i] // 4).astype(int).T
                centre = np.stack([x, y], 1) * 4 + 2.0
                led = clip.flow[i, j, y, x].astype(float) + clip.landmarks[i] - centre
                error = np.linalg.norm(led - clip.landmarks[source], axis=1)
                assert np.median(error[clip.visible[i, j, y, x]]) < 1.0


def test_the_source_warped_by_the_flow_is_nearer_to_the_frame(clips: list[Clip]) -> None:
    clip = max(clips, key=lambda clip: float(np.ptp(clip.angles[:, 0])))
    far = int(np.abs(clip.angles[:, 0] - clip.angles[clip.flow_sources[0], 0]).argmax())
    still, moved, true = np.split(np.asarray(flow_sheet(clip, [far])).astype(float), 3, axis=1)
    seen = clip.visible[far, 0].repeat(4, 0).repeat(4, 1)
    assert np.abs(moved - true)[seen].mean() < 0.8 * np.abs(still - true)[seen].mean()


def test_every_label_is_there_for_every_frame(clips: list[Clip]) -> None:
    for clip in clips:
        assert decode_jpeg(clip.jpegs[0]).shape == (224, 224, 3) and len(clip.jpegs) == 12
        assert clip.angles.shape == (12, 3) and clip.visemes.shape == (12, 17) and clip.opening.shape == (12,)
        assert np.allclose(clip.visemes.astype(float).sum(1), 1, atol=0.01)
        assert windows(clip, range(12)).max() > 0.3


def test_other_mouths_change_the_mouth_and_nothing_else(settings: Settings, clips: list[Clip]) -> None:
    for clip, plain in zip(IdentityMaker(replace(settings, other_mouths=1))(1)[0], clips, strict=True):
        assert clip.jpegs == plain.jpegs and len(clip.others) == len(clip.jpegs) and plain.others == ()
        frames = np.stack([decode_jpeg(jpeg)[OTHERS_TOP:] for jpeg in clip.jpegs]).astype(float)
        changed = np.abs(np.stack([decode_jpeg(jpeg) for jpeg in clip.others]) - frames).mean(axis=3)
        lips = changed[:, 30:60, 90:135].mean(axis=(1, 2))
        assert changed[:, :8].mean() < 1.5 < np.quantile(lips, 0.7), "the nose stays, most mouths do not"


def test_the_same_seed_gives_the_same_clips(settings: Settings, clips: list[Clip]) -> None:
    again = IdentityMaker(settings)(1)[0][0]
    assert again.jpegs == clips[0].jpegs and (again.flow == clips[0].flow).all() and (again.mel == clips[0].mel).all()
    assert IdentityMaker(settings)(2)[0][0].jpegs != clips[0].jpegs


def test_a_voice_that_is_none_is_named_before_the_work(settings: Settings) -> None:
    with pytest.raises(PoseDubError, match="no-such-voice"):
        plan(Settings(settings.ict, 1, 1, voices=("no-such-voice",)), Shares())


def test_angles_are_those_that_the_turned_picture_shows() -> None:
    assert np.allclose(angles_of(rotation(30, -12, 17)), [30, -12, 17], atol=1e-3)
    turn = np.radians(-17)
    upright = 0.7 * np.array([[np.cos(turn), -np.sin(turn), 9], [np.sin(turn), np.cos(turn), 5]])
    assert np.allclose(seen_angles(np.array([[0, 0, 17.0]]), upright[None]), 0, atol=1e-3)


def test_flow_sources_are_a_portrait_and_another() -> None:
    angles, opening = np.zeros((10, 3)), np.full(10, 0.2)
    opening[7] = 0.0
    portrait, other = flow_sources(angles, opening, np.random.default_rng(0))
    assert portrait == 7 and other != 7


def test_speech_is_moved_with_its_phonemes() -> None:
    speech = Speech(np.arange(1, 101, dtype=np.float32), 100, (Phoneme("a", 0.2, 0.6),))
    later, midway = delayed(speech, 0.5), delayed(speech, -0.25)
    assert later.samples[49] == 0 and later.samples[50] == 1 and later.phonemes[0].start == pytest.approx(0.7)
    assert midway.samples[0] == 26 and midway.phonemes[0].start == pytest.approx(-0.05)


def test_varied_clips_say_how_lids_are_and_cameras_change_no_label(settings: Settings, clips: list[Clip]) -> None:
    varied = replace(settings, clips=1, varied=True, other_mouths=1)
    plain, filmed = (IdentityMaker(replace(varied, camera=share))(1)[0][0] for share in (0.0, 1.0))
    np.testing.assert_array_equal(plain.landmarks, filmed.landmarks)
    np.testing.assert_array_equal(plain.flow, filmed.flow)
    assert plain.lids.shape == (12,) and plain.lids.min() >= 0 and plain.lids.max() <= 1
    before, after = (np.stack([decode_jpeg(file) for file in clip.jpegs]).astype(int) for clip in (plain, filmed))
    assert 0.5 < np.abs(before - after).mean() < 60
    assert clips[0].lids.shape == (12,) and len(filmed.others) == 12


def test_lips_without_pictures_are_those_of_somebody_who_speaks(settings: Settings) -> None:
    sound, marks, angles = spoken_landmarks(replace(settings, frames=50), 1)
    assert marks.shape == (50, 68, 2) and angles.shape == (50, 3) and len(sound) == 50 * 640
    opening = np.abs(marks[:, 66] - marks[:, 62]).max(axis=1)
    assert opening.max() > opening.min() + 3, "lips part in two seconds of speech"
    again = spoken_landmarks(replace(settings, frames=50), 1)
    np.testing.assert_array_equal(again[1], marks)


def test_clips_keep_what_is_heard(clips: list[Clip]) -> None:
    for clip in clips:
        sound = decoded_sound(clip.sound)
        assert len(sound) >= clip.frames * 640 and np.abs(sound).max() > 1000
