"""Sound strips of files as editors have them: tracks apart, several tracks, antiphase, nothing to hear."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from model_server.pipeline.speech.audio import SAMPLE_RATE, decode_speech
from tests.conftest import speechlike
from tests.pipeline.makers import counter_picture
from tests.pipeline.test_sound import clicks
from tests.pipeline.tracks import SoundTrack, ticking, write_tracks

from .conftest import RATE, Blender
from .test_dub import set_up

PICTURES = [counter_picture(k) for k in range(50)]


def cut_of(blender: Blender, name: str, folder: Path) -> np.ndarray:
    blender.cut(name=name, target=str(folder / "cut.wav"))
    speech = decode_speech(folder / "cut.wav", folder / "cut.f32")
    return np.fromfile(speech.path, np.float32)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize(("sound", "pictures"), [(0.55, 0.0), (0.0, 0.47), (0.03, 0.0)], ids=str)
def test_sound_apart_from_its_pictures_is_cut_as_blender_plays_it(
    blender: Blender, tmp_path: Path, suffix: str, sound: float, pictures: float
) -> None:
    """Blender moves the strip by whole frames and hides the rest."""
    blender.new_scene(fps=25)
    track = SoundTrack(ticking(1.6, (0.7, 1.3)), begins=sound)
    path = write_tracks(tmp_path / f"apart{suffix}", [track], PICTURES, pictures)
    strips = blender.add_movie_with_sound(file=str(path), start=101)

    heard = clicks(cut_of(blender, strips["SOUND"]["name"], tmp_path))

    blender.mixdown(name=strips["SOUND"]["name"], target=str(tmp_path / "mix.wav"))
    mixed = soundfile.read(tmp_path / "mix.wav", dtype="float32")[0].mean(axis=1)
    times = np.flatnonzero(np.abs(mixed) > 0.28) / RATE
    assert len(heard) == 2
    assert heard == pytest.approx([float(times[0]) + 0.0003, float(times[-1]) - 0.0003], abs=0.001)


def test_nothing_of_the_editors_is_touched_by_that(blender: Blender, tmp_path: Path) -> None:
    path = write_tracks(tmp_path / "late.mp4", [SoundTrack(ticking(1, (0.5,)), begins=0.33)], PICTURES)
    name = blender.add_movie_with_sound(file=str(path), start=101)["SOUND"]["name"]
    before = blender.editing_state()
    cut_of(blender, name, tmp_path)
    assert blender.editing_state() == before


@pytest.mark.parametrize(("gain", "level"), [(-1.0, 1.0), (-0.6, 1.0), (0.0, 0.5), (1.0, 1.0)])
def test_channels_do_not_cancel(blender: Blender, tmp_path: Path, gain: float, level: float) -> None:
    voice = np.random.default_rng(0).normal(0, 0.1, 2 * RATE)
    soundfile.write(tmp_path / "two.wav", np.stack([voice, gain * voice], axis=1), RATE, "FLOAT")
    blender.add(kind="sound", file=str(tmp_path / "two.wav"), name="speech", channel=1, start=1)

    blender.cut(name="speech", target=str(tmp_path / "cut.wav"))

    samples = soundfile.read(tmp_path / "cut.wav")[0]
    assert np.std(samples) == pytest.approx(0.1 * level, rel=0.03)


@pytest.mark.parametrize("delay", [9, 24, 60], ids=lambda delay: f"{delay / 48:.2f} ms")
def test_microphones_in_antiphase_that_stand_apart_do_not_sound_hollow(
    blender: Blender, tmp_path: Path, delay: int
) -> None:
    voice = speechlike(2, RATE).astype(np.float32)
    other = np.concatenate([np.zeros(delay), -0.9 * voice[:-delay]])
    soundfile.write(tmp_path / "two.wav", np.stack([voice, other], axis=1), RATE, "FLOAT")
    blender.add(kind="sound", file=str(tmp_path / "two.wav"), name="speech", channel=1, start=1)

    blender.cut(name="speech", target=str(tmp_path / "cut.wav"))

    samples = soundfile.read(tmp_path / "cut.wav")[0]
    assert np.abs(samples[RATE // 2 :] - voice[RATE // 2 : len(samples)]).max() < 0.01


def test_surround_is_cut_as_the_server_hears_it(blender: Blender, tmp_path: Path) -> None:
    """The voice lies in the centre, a rumble in the channel of bass effects, music behind."""
    sound = np.zeros((6, 2 * RATE), np.float32)
    sound[2] = ticking(2, (0.5, 1.5))[0]
    sound[3] = 0.8 * np.sin(2 * np.pi * 45 * np.arange(2 * RATE) / RATE)
    sound[4:] = np.random.default_rng(0).normal(0, 0.02, (2, 2 * RATE))
    path = write_tracks(tmp_path / "film.flac", [SoundTrack(sound, "flac")])
    blender.new_scene(fps=25)
    blender.add(kind="sound", file=str(path), name="speech", channel=1, start=1)

    cut = cut_of(blender, "speech", tmp_path)

    served = np.fromfile(decode_speech(path, tmp_path / "whole.f32").path, np.float32)
    cut, served = cut / np.abs(cut).max(), served / np.abs(served).max()
    assert clicks(cut) == pytest.approx([0.5, 1.5], abs=0.003)
    assert np.abs(cut - served)[100:-100].max() < 1e-3


@pytest.fixture
def tracks(tmp_path: Path) -> Path:
    """Three sound tracks, of which the first one is silent."""
    made = [
        SoundTrack(0 * ticking(0.4, ()), tags={"title": "Desktop"}),
        SoundTrack(ticking(0.4, (0.1,)), tags={"title": "Microphone", "language": "deu"}),
        SoundTrack(ticking(0.4, (0.3,))),
    ]
    return write_tracks(tmp_path / "obs.mkv", made, PICTURES[:10])


def several_tracks(blender: Blender, media: Path, tracks: Path) -> None:
    set_up(blender, media)
    blender.add(kind="sound", file=str(tracks), name="talk", channel=5, start=201)
    blender.settings(pose_kind="frontal")
    blender.select(names=["talk", "face"])


def test_the_panel_shows_the_tracks_where_there_are_several(blender: Blender, media: Path, tracks: Path) -> None:
    several_tracks(blender, media, tracks)
    blender.select(names=["speech", "face"])
    assert "Sound Track" not in blender.panel(name="POSEDUB_PT_dub")
    blender.select(names=["talk", "face"])
    shown = blender.panel(name="POSEDUB_PT_dub")
    assert "Sound Track" in shown and "Track 1 (Desktop) of 3, as Blender plays" in shown
    blender.settings(audio_track=2)
    assert "Track 2 (Microphone, deu) of 3" in blender.panel(name="POSEDUB_PT_dub")


def test_the_track_that_blender_plays_is_cut_and_named(dubbing: Blender, media: Path, tracks: Path) -> None:
    several_tracks(dubbing, media, tracks)
    assert dubbing.op(name="dub", wait=True) == {"result": ["FINISHED"]}
    (job,) = dubbing.jobs()
    messages = [warning["message"] for warning in job["warnings"]]
    assert any("has 3 sound tracks; number 1 (Desktop), which Blender plays" in message for message in messages)
    assert any("Nothing is heard in the sound of this dub" in message for message in messages)
    assert "Nothing is heard in the sound" in " ".join(dubbing.panel(name="POSEDUB_PT_jobs")).replace("  ", " ")


def test_another_track_is_cut_like_the_one_that_blender_plays(blender: Blender, media: Path, tracks: Path) -> None:
    """Trimmed, and as loud as its strip."""
    several_tracks(blender, media, tracks)
    blender.set_strip(name="talk", frame_offset_start=2, volume=0.75)
    heard = {}
    for number in (1, 2, 3):
        blender.settings(audio_track=number)
        samples = cut_of(blender, "talk", tracks.parent)
        heard[number] = float(np.abs(samples).max()), float(np.abs(samples).argmax()) / SAMPLE_RATE
    assert heard[1][0] < 0.001
    assert heard[2] == (pytest.approx(0.7, abs=0.06), pytest.approx(0.1 + 0.0214 - 2 / 24, abs=0.003))
    assert heard[3] == (pytest.approx(0.7, abs=0.06), pytest.approx(0.3 + 0.0214 - 2 / 24, abs=0.003))


@pytest.mark.parametrize("name", ["two.mkv", "two.mp4"])
@pytest.mark.parametrize("begins", [(0.0, 0.5), (0.5, 0.0)], ids=str)
def test_tracks_that_begin_apart_are_cut_where_players_play_them(
    blender: Blender, tmp_path: Path, name: str, begins: tuple[float, float]
) -> None:
    made = [SoundTrack(ticking(1.6, (0.7,)), begins=begin) for begin in begins]
    path = write_tracks(tmp_path / name, made, PICTURES)
    blender.new_scene(fps=25)
    strip = blender.add_movie_with_sound(file=str(path), start=101)["SOUND"]["name"]
    heard = []
    for number in (1, 2):
        blender.settings(audio_track=number)
        heard += clicks(cut_of(blender, strip, tmp_path))
    assert heard[1] - heard[0] == pytest.approx(begins[1] - begins[0], abs=0.025)


def test_the_track_chosen_is_named(dubbing: Blender, media: Path, tracks: Path) -> None:
    several_tracks(dubbing, media, tracks)
    dubbing.settings(audio_track=2)
    assert dubbing.op(name="dub", wait=True) == {"result": ["FINISHED"]}
    messages = [warning["message"] for warning in dubbing.jobs()[-1]["warnings"]]
    assert any("has 3 sound tracks; number 2 (Microphone, deu) drives the mouth" in text for text in messages)
    assert not any("Nothing is heard" in text for text in messages)


def test_a_track_that_is_not_there_is_one_sentence(blender: Blender, media: Path, tracks: Path) -> None:
    several_tracks(blender, media, tracks)
    blender.settings(audio_track=4)
    assert 'The file of "talk" has 3 sound tracks, and no number 4' in blender.op(name="dub")["error"]


def test_the_choice_is_for_files_of_several_tracks(blender: Blender, media: Path, tracks: Path) -> None:
    several_tracks(blender, media, tracks)
    before = cut_of(blender, "speech", tracks.parent)
    blender.settings(audio_track=2)
    assert np.array_equal(cut_of(blender, "speech", tracks.parent), before)


def test_a_choice_is_counted_anew(dubbing: Blender, media: Path, tracks: Path) -> None:
    several_tracks(dubbing, media, tracks)
    dubbing.settings(audio_track=2, seed=77)
    dubbing.op(name="server_check", wait=True)
    assert dubbing.op(name="dub", wait=True) == {"result": ["FINISHED"]}
    assert dubbing.estimate()[0].startswith("No frame to generate")
    dubbing.settings(audio_track=3)
    assert not dubbing.estimate()[0].startswith("No frame to generate")
