"""The sound beneath a movie: stereo, on the dub's own time axis, from any layout."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from model_server.pipeline.movies.writer import write_movie
from model_server.pipeline.speech.soundtrack import AUDIO_RATE, soundtrack
from tests.pipeline.makers import counter_picture
from tests.pipeline.tracks import RATE, SoundTrack, ticking, write_tracks

SECOND = Fraction(1)


def heard(path: Path, begin: Fraction = Fraction(0), end: Fraction = 2 * SECOND) -> np.ndarray:
    """Samples (2, n) from `begin` on, with the silence before the first one."""
    frames = list(soundtrack(path, 0, begin, end))
    parts = [np.zeros((2, frames[0].pts), np.float32), *(frame.to_ndarray() for frame in frames)]
    assert [frame.pts for frame in frames[1:]] == (frames[0].pts + np.cumsum([f.samples for f in frames])[:-1]).tolist()
    return np.concatenate(parts, axis=1)


def wav(path: Path, channels: np.ndarray, rate: int = RATE) -> Path:
    soundfile.write(path, channels.T, rate, "FLOAT")
    return path


def test_two_channels_stay_as_they_are(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 2 * RATE)).astype(np.float32)
    noise[1] = -noise[0]
    assert np.array_equal(heard(wav(tmp_path / "antiphase.wav", noise)), noise)


@pytest.mark.parametrize(("channels", "named"), [(1, False), (4, False), (6, False), (16, False), (6, True), (8, True)])
def test_channels_come_from_their_sides(tmp_path: Path, channels: int, named: bool) -> None:
    """A tone in the first channel, which is the front left one where channels have names, else on both sides."""
    sound = np.zeros((channels, RATE), np.float32)
    sound[0] = 0.5 * np.sin(2 * np.pi * 300 * np.arange(RATE) / RATE)
    if named:
        stereo = heard(write_tracks(tmp_path / "sound.flac", [SoundTrack(sound, "flac")]))
    else:
        stereo = heard(wav(tmp_path / "sound.wav", sound))
    loud = np.abs(stereo).max(axis=1)
    assert stereo.shape == (2, RATE) and loud.max() <= 0.501
    assert (loud > 0.02).tolist() == [True, not named]


def test_the_centre_is_heard_on_both_sides_and_no_channel_clips(tmp_path: Path) -> None:
    track = SoundTrack(np.tile(0.9 * ticking(1, ())[0] / 0.03, (6, 1)), "flac")
    stereo = heard(write_tracks(tmp_path / "all.flac", [track]))
    assert np.allclose(stereo[0], stereo[1]) and 0.85 < np.abs(stereo).max() <= 1


@pytest.mark.parametrize("rate", [16000, 44100, 96000])
def test_begin_and_end_are_exact_at_any_rate(tmp_path: Path, rate: int) -> None:
    tone = (0.5 * np.sin(2 * np.pi * 300 * np.arange(2 * rate) / rate)).astype(np.float32)
    path = wav(tmp_path / "tone.wav", np.tile(tone, (2, 1)), rate)
    part = heard(path, Fraction(1, 3), Fraction(4, 3))
    assert part.shape == (2, AUDIO_RATE)
    expected = 0.5 * np.sin(2 * np.pi * 300 * (np.arange(AUDIO_RATE) / AUDIO_RATE + 1 / 3))
    assert np.abs(part[0] - expected).max() < 0.002


def test_silence_precedes_the_file(tmp_path: Path) -> None:
    path = wav(tmp_path / "sound.wav", np.full((2, RATE), 0.5, np.float32))
    samples = heard(path, -Fraction(1, 2), Fraction(1, 2))
    assert not samples[:, : RATE // 2].any() and (samples[:, RATE // 2 :] == 0.5).all()


def movie(path: Path, sound: Path, start: Fraction, lead: Fraction = Fraction(0)) -> dict[str, tuple[float, int]]:
    """Write a movie of ten pictures; second of the first frame, and the frames, of each track."""
    write_movie(path, [counter_picture(k) for k in range(10)], Fraction(25), sound, start, "title", 0, lead)
    tracks = {}
    for kind in ("video", "audio"):
        with av.open(str(path)) as container:
            frames = list(container.decode(**{kind: 0})) if getattr(container.streams, kind) else []
            tracks[kind] = (float(frames[0].time) if frames else 0.0, len(frames))
    return tracks


def test_a_movie_behind_the_end_of_its_sound_is_written(tmp_path: Path) -> None:
    sound = write_tracks(tmp_path / "short.m4a", [SoundTrack(ticking(0.5, ()))])
    assert movie(tmp_path / "movie.mp4", sound, SECOND) == {"video": (0.0, 10), "audio": (0.0, 0)}


def test_sound_is_heard_before_pictures_that_begin_late(tmp_path: Path) -> None:
    sound = write_tracks(tmp_path / "sound.m4a", [SoundTrack(ticking(1, ()))])
    made = movie(tmp_path / "movie.mp4", sound, Fraction(2, 5), Fraction(2, 5))
    assert made["video"] == (0.4, 10) and made["audio"][0] == 0


def test_less_than_a_frame_of_lead_is_none(tmp_path: Path) -> None:
    """As in containers whose encoders put a little silence in front."""
    sound = write_tracks(tmp_path / "sound.m4a", [SoundTrack(ticking(1, ()))])
    assert movie(tmp_path / "movie.mp4", sound, Fraction(1, 47), Fraction(1, 47))["video"] == (0.0, 10)
