"""Sound as players lay it: late, stalling, damaged and changing tracks on the file's one time axis."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from model_server.errors import PoseDubError
from model_server.features import MelWindows
from model_server.pipeline.media.containers import pictures_begin
from model_server.pipeline.speech.audio import SAMPLE_RATE, SpeechFile, decode_speech, is_heard, speech_duration
from model_server.pipeline.speech.downmix import Downmix
from model_server.pipeline.speech.sound import SoundReader
from tests.conftest import speechlike
from tests.pipeline.makers import click_track, counter_picture, write_sound
from tests.pipeline.tracks import RATE, SoundTrack, stalling, ticking, write_tracks

CLICKS = (0.3, 1.2)
PICTURES = [counter_picture(k % 50) for k in range(50)]
# Containers whose encoders put silence in front of the sound without a word.
UNSTATED = {".ts": 0.0214, ".flv": 0.0214, ".mpg": 0.0101}
APART = [("a.mp4", "aac"), ("a.mov", "pcm_s16le"), ("a.mkv", "aac"), ("a.webm", "libopus"), ("a.ts", "aac"),
         ("a.mpg", "mp2")]  # fmt: skip


def decoded(path: Path, track: int = 0) -> tuple[SpeechFile, np.ndarray]:
    speech = decode_speech(path, path.with_suffix(".f32"), track=track)
    return speech, np.fromfile(speech.path, np.float32)


def clicks(samples: np.ndarray) -> list[float]:
    """Seconds at which clicks are loudest."""
    loud = np.flatnonzero(np.abs(samples) > 0.4)
    groups = np.split(loud, np.flatnonzero(np.diff(loud) > 800) + 1)
    return [float(group[np.abs(samples[group]).argmax()]) / SAMPLE_RATE for group in groups if len(group)]


def silent_seconds(samples: np.ndarray) -> float:
    blocks = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    return float((np.abs(blocks).max(axis=1) < 0.005).sum()) / 100


@pytest.mark.parametrize(
    ("name", "codec"),
    [("s.webm", "libopus"), ("s.mkv", "aac"), ("s.mp4", "aac"), ("s.mka", "libmp3lame"), ("s.mov", "alac"),
     ("s.ts", "aac"), ("s.flv", "aac")],
)  # fmt: skip
def test_a_stall_is_silence_and_what_follows_is_in_its_place(tmp_path: Path, name: str, codec: str) -> None:
    track = SoundTrack(ticking(1.6, CLICKS), codec, moved=stalling(0.79, 0.8))
    speech, samples = decoded(write_tracks(tmp_path / name, [track]))
    lead = UNSTATED.get(Path(name).suffix, 0)
    assert clicks(samples) == pytest.approx([0.3 + lead, 2.0 + lead], abs=0.003)
    assert speech.duration == pytest.approx(2.4 + lead, abs=0.005)
    assert silent_seconds(samples) == pytest.approx(0.8 + lead, abs=0.05)
    ((begin, end),) = speech.flaws.stalls
    assert end - begin == pytest.approx(0.8, abs=0.005)


def test_a_stall_counts_in_the_length_of_a_dub(tmp_path: Path) -> None:
    track = SoundTrack(ticking(1.62, CLICKS), "libopus", moved=stalling(0.79, 0.8))
    path = write_tracks(tmp_path / "gap.webm", [track])
    assert -(-speech_duration(path) * 25 // 1) == 61


def test_discontinuous_transmission_leaves_speech_where_it_was(tmp_path: Path) -> None:
    track = SoundTrack(ticking(2.4, (0.3, 2.1)), "libopus", moved=lambda k, t: None if 25 < k < 100 and k % 20 else t)
    speech, samples = decoded(write_tracks(tmp_path / "dtx.webm", [track]))
    assert clicks(samples) == pytest.approx([0.3, 2.1], abs=0.003)
    assert speech.duration == pytest.approx(2.4, abs=0.003)


@pytest.mark.parametrize(("name", "codec"), [("j.webm", "libopus"), ("j.mkv", "pcm_s16le"), ("j.mp4", "aac")])
def test_trembling_timestamps_put_no_silence_in(tmp_path: Path, name: str, codec: str) -> None:
    random = np.random.default_rng(0)
    moved = lambda k, t: t + (float(random.uniform(-0.009, 0.009)) if k > 1 else 0)  # noqa: E731
    speech, samples = decoded(write_tracks(tmp_path / name, [SoundTrack(ticking(1.6, CLICKS), codec, moved=moved)]))
    assert clicks(samples) == pytest.approx(CLICKS, abs=0.001)
    assert silent_seconds(samples) == 0 and not speech.flaws.stalls


def test_a_slow_clock_never_gets_far_from_its_timestamps(tmp_path: Path) -> None:
    """Packets of 20 ms every 15 ms overlap; what is repeated is left out."""
    track = SoundTrack(ticking(4, (0.5, 2.0, 3.6)), "libopus", moved=lambda k, t: 0.75 * t)
    _, samples = decoded(write_tracks(tmp_path / "fast.webm", [track]))
    assert clicks(samples) == pytest.approx([0.375, 1.5, 2.7], abs=0.045)


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".ts", "aac"), (".webm", "libopus"), (".ogg", "libopus"), (".mpg", "mp2"), (".flac", "flac")]
)
def test_recordings_put_together_are_heard_one_after_the_other(tmp_path: Path, suffix: str, codec: str) -> None:
    one = write_tracks(tmp_path / f"one{suffix}", [SoundTrack(ticking(1.6, CLICKS), codec)]).read_bytes()
    path = tmp_path / f"both{suffix}"
    path.write_bytes(one + one)
    lead = UNSTATED.get(suffix, 0)
    heard = clicks(decoded(path)[1])
    assert heard == pytest.approx([0.3 + lead, 1.2 + lead, 1.9 + 2 * lead, 2.8 + 2 * lead], abs=0.03)


def test_a_clock_that_jumps_is_no_stall(tmp_path: Path) -> None:
    track = SoundTrack(ticking(2.4, (0.3, 2.1)), "aac", moved=stalling(1.2, 500))
    speech, samples = decoded(write_tracks(tmp_path / "jump.ts", [track]))
    assert clicks(samples) == pytest.approx([0.3214, 2.1214], abs=0.003)
    assert speech.duration < 2.5


@pytest.mark.parametrize(("name", "codec"), APART)
def test_sound_that_begins_late_has_silence_before_it(tmp_path: Path, name: str, codec: str) -> None:
    path = write_tracks(tmp_path / name, [SoundTrack(ticking(1.6, CLICKS), codec, begins=0.55)], PICTURES)
    speech, samples = decoded(path)
    assert clicks(samples) == pytest.approx([0.85, 1.75], abs=0.003)
    assert speech.duration == pytest.approx(2.15, abs=0.01)
    assert pictures_begin(path) == 0


@pytest.mark.parametrize(("name", "codec"), APART)
def test_pictures_that_begin_late_leave_the_sound_whole(tmp_path: Path, name: str, codec: str) -> None:
    path = write_tracks(tmp_path / name, [SoundTrack(ticking(1.6, CLICKS), codec)], PICTURES, pictures_begin=0.48)
    lead = UNSTATED.get(path.suffix, 0)
    assert clicks(decoded(path)[1]) == pytest.approx([0.3 + lead, 1.2 + lead], abs=0.003)
    assert pictures_begin(path) == pytest.approx(0.48 + lead, abs=0.002)


@pytest.mark.parametrize(("name", "codec"), APART)
def test_tracks_that_begin_together(tmp_path: Path, name: str, codec: str) -> None:
    path = write_tracks(tmp_path / name, [SoundTrack(ticking(1.6, CLICKS), codec)], PICTURES)
    lead = UNSTATED.get(path.suffix, 0)
    assert clicks(decoded(path)[1]) == pytest.approx([0.3 + lead, 1.2 + lead], abs=0.003)
    assert pictures_begin(path) == pytest.approx(lead, abs=0.002)


def damaged(path: Path, share: float, length: int) -> Path:
    """The same with noise written over a part."""
    data = bytearray(path.read_bytes())
    begin = round(share * len(data))
    data[begin : begin + length] = np.random.default_rng(1).integers(0, 255, length, np.uint8).tobytes()
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("name", "codec"), [("d.m4a", "aac"), ("d.mov", "alac"), ("d.mp4", "libmp3lame")])
def test_damaged_packets_are_silence_and_counted(tmp_path: Path, name: str, codec: str) -> None:
    noise = np.random.default_rng(0).normal(0, 0.002, (1, 4 * RATE)).astype(np.float32)
    path = damaged(write_tracks(tmp_path / name, [SoundTrack(ticking(4, (1.2, 3.5)) + noise, codec)]), 0.45, 3000)
    speech, samples = decoded(path)
    assert clicks(samples)[0] == pytest.approx(1.2, abs=0.003) and clicks(samples)[-1] == pytest.approx(3.5, abs=0.003)
    assert speech.duration == pytest.approx(4, abs=0.06)
    assert speech.flaws.damaged
    assert all(1 < begin <= end < 3.3 for begin, end in speech.flaws.damaged)


@pytest.mark.parametrize(("suffix", "codec"), [(".mka", "libopus"), (".flac", "flac")])
def test_a_file_that_breaks_off_is_read_as_far_as_it_goes(tmp_path: Path, suffix: str, codec: str) -> None:
    whole = write_tracks(tmp_path / f"whole{suffix}", [SoundTrack(ticking(4, CLICKS), codec)]).read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole[: len(whole) // 2])
    speech, samples = decoded(path)
    assert clicks(samples) == pytest.approx(CLICKS, abs=0.003)
    assert speech.flaws.broken_off == speech.duration < 3


def headerless(whole: bytes, frames: tuple[int, ...]) -> bytes:
    """An ADTS file in which the headers of some frames are overwritten."""
    data, at, number = bytearray(whole), 0, 0
    while at < len(data):
        length = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
        if number in frames:
            data[at : at + 4] = bytes(4)
        at, number = at + length, number + 1
    return bytes(data)


@pytest.mark.parametrize("lost", [(20,), (20, 21, 22), (20, 30)], ids=str)
def test_aac_whose_headers_are_damaged_stays_in_its_place(tmp_path: Path, lost: tuple[int, ...]) -> None:
    path = write_tracks(tmp_path / "a.aac", [SoundTrack(ticking(2, (0.3, 1.2)))])
    expected = clicks(decoded(path)[1])
    path.write_bytes(headerless(path.read_bytes(), lost))
    speech, samples = decoded(path)
    assert clicks(samples) == pytest.approx(expected, abs=0.0222)  # one frame at most
    assert len(speech.flaws.damaged) == pytest.approx(len(lost), abs=1) and speech.flaws.damaged


def test_a_tag_amid_aac_is_no_damage(tmp_path: Path) -> None:
    path = write_tracks(tmp_path / "a.aac", [SoundTrack(ticking(1, (0.3,)))])
    path.write_bytes(path.read_bytes() + b"ID3\4\0\0\0\0\1\0" + bytes(128) + path.read_bytes())
    speech, samples = decoded(path)
    assert not speech.flaws.damaged and len(clicks(samples)) == 2


@pytest.mark.parametrize(
    ("suffix", "codec", "formats"),
    [(".aac", "aac", ((48000, "mono"), (48000, "stereo"))), (".aac", "aac", ((48000, "mono"), (44100, "stereo"))),
     (".aac", "aac", ((44100, "stereo"), (22050, "mono"))),
     (".mp3", "libmp3lame", ((44100, "stereo"), (48000, "mono"))),
     (".ac3", "ac3", ((48000, "5.1"), (44100, "stereo"))), (".ts", "mp2", ((48000, "stereo"), (32000, "mono")))],
    ids=str,
)  # fmt: skip
def test_channels_and_rate_may_change(tmp_path: Path, suffix: str, codec: str, formats: tuple) -> None:
    parts = [
        write_sound(tmp_path / f"{rate}{layout}{suffix}", ticking(1.6, CLICKS)[0][:: 1] if rate == RATE
                    else click_track(1.6, CLICKS, rate), rate, codec, layout).read_bytes()
        for rate, layout in formats
    ]  # fmt: skip
    path = tmp_path / f"both{suffix}"
    path.write_bytes(b"".join(parts))
    speech, samples = decoded(path)
    heard = clicks(samples)
    assert [later - heard[0] for later in heard] == pytest.approx([0, 0.9, 1.6, 2.5], abs=0.09)
    assert len(speech.flaws.changes) in (1, 2)
    assert float(speech.flaws.changes[0]) == pytest.approx(1.6, abs=0.06)
    assert speech.samples / SAMPLE_RATE == pytest.approx(float(speech.duration), abs=0.001)


@pytest.mark.parametrize("channels", [8])
@pytest.mark.parametrize(("name", "codec"), [("s.m4a", "aac"), ("s.mka", "libopus"), ("s.wav", "pcm_s16le")])
def test_eight_channels(tmp_path: Path, name: str, codec: str, channels: int) -> None:
    """Planes of more than seven channels end the process in PyAV."""
    samples = decoded(write_tracks(tmp_path / name, [SoundTrack(ticking(1.6, CLICKS, channels), codec)]))[1]
    assert clicks(samples) == pytest.approx(CLICKS, abs=0.003)


def two_tracks(path: Path, first: float, second: float, default: int | None) -> Path:
    """A track that clicks at 0.3 s and one that clicks at 1.2 s, of these gains; one may be the default."""
    tracks = [
        SoundTrack(first * ticking(1.6, (0.3,)), default=default == 1, tags={"title": "Atmo"}),
        SoundTrack(second * ticking(1.6, (1.2,)), default=default == 2, tags={"title": "Director", "language": "fra"}),
    ]
    return write_tracks(path, tracks, PICTURES)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    ("gains", "default", "asked", "heard"),
    [((1, 1), None, 0, 1), ((1, 1), 2, 0, 2), ((1, 1), 1, 0, 1), ((0, 1), None, 0, 2), ((0, 1), 1, 0, 2),
     ((1, 0), 2, 0, 1), ((1, 1), 1, 2, 2), ((1, 1), 2, 1, 1)],
)  # fmt: skip
def test_the_default_track_is_read_if_anything_is_heard_in_it(
    tmp_path: Path, suffix: str, gains: tuple[float, float], default: int | None, asked: int, heard: int
) -> None:
    speech, samples = decoded(two_tracks(tmp_path / f"two{suffix}", *gains, default), asked)
    assert (speech.track.number, speech.track.count) == (heard, 2)
    assert clicks(samples) == pytest.approx([(0.3, 1.2)[heard - 1]], abs=0.003)


def test_a_track_is_known_by_its_name(tmp_path: Path) -> None:
    path = two_tracks(tmp_path / "two.mkv", 1, 1, 2)
    assert SoundReader(path).track.name == "Director, fra"
    with pytest.raises(PoseDubError, match="two.mkv has 2 sound tracks, so there is no number 3"):
        SoundReader(path, 3)


def heard_of(left: np.ndarray, right: np.ndarray) -> float:
    """Loudness of a mix of two channels against the louder one, by blocks of 20 ms."""
    mix, samples = Downmix(RATE), np.stack([left, right])
    parts = [mix.mono(samples[:, at : at + 960]) for at in range(0, samples.shape[1], 960)]
    return float(np.std(np.concatenate(parts)) / max(np.std(left), np.std(right)))


@pytest.mark.parametrize(
    ("gain", "delay", "noise", "expected"),
    [(-1, 0, 0, 1), (-0.9, 0, 0.01, 1), (-0.5, 0, 0, 1), (1, 0, 0, 1), (0, 0, 0, 0.5), (0.5, 0, 0, 0.75)],
)
def test_channels_do_not_cancel(gain: float, delay: int, noise: float, expected: float) -> None:
    random = np.random.default_rng(0)
    left = random.normal(0, 0.1, 2 * RATE).astype(np.float32)
    right = (gain * left + noise * random.normal(0, 0.1, 2 * RATE)).astype(np.float32)
    assert heard_of(left, right) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("later", [0, 1], ids=["the louder one first", "the louder one later"])
@pytest.mark.parametrize("delay", [5, 9, 24, 60], ids=lambda delay: f"{delay / 48:.2f} ms")
def test_microphones_in_antiphase_that_stand_apart_do_not_sound_hollow(delay: int, later: int) -> None:
    voice = speechlike(2, RATE)
    late = np.concatenate([np.zeros(delay), voice[:-delay]])
    loud, soft = (late, voice) if later else (voice, late)
    room = np.random.default_rng(0).normal(0, 0.002, (2, 2 * RATE))
    samples = np.stack([-0.8 * soft, loud]) + room
    mix = Downmix(RATE)
    mixed = np.concatenate([mix.mono(samples[:, at : at + 1024]) for at in range(0, 2 * RATE, 1024)])
    assert np.abs(mixed - samples[1])[RATE // 2 :].max() < 1e-9


def test_microphones_in_phase_that_stand_apart_are_mixed() -> None:
    voice = speechlike(2, RATE)
    samples = np.stack([voice, np.concatenate([np.zeros(24), voice[:-24]])])
    mix = Downmix(RATE)
    mixed = np.concatenate([mix.mono(samples[:, at : at + 1024]) for at in range(0, 2 * RATE, 1024)])
    assert np.allclose(mixed, samples.mean(axis=0))


def test_two_speakers_on_two_channels_are_both_heard() -> None:
    random = np.random.default_rng(0)
    left, right = random.normal(0, 0.1, (2, 2 * RATE)).astype(np.float32)
    assert heard_of(left, right) == pytest.approx(0.707, abs=0.03)


def test_the_mix_changes_without_a_click() -> None:
    """Antiphase in the second half only; a jump would be as large as the tone."""
    tone = np.sin(2 * np.pi * 100 * np.arange(2 * RATE) / RATE).astype(np.float32)
    turned = tone * np.repeat([1, -1], RATE).astype(np.float32)
    mix, samples = Downmix(RATE), np.stack([tone, turned])
    mixed = np.concatenate([mix.mono(samples[:, at : at + 960]) for at in range(0, 2 * RATE, 960)])
    assert np.abs(np.diff(mixed)).max() < 0.03
    assert np.std(mixed[-RATE // 2 :]) == pytest.approx(0.707, abs=0.02)


@pytest.mark.parametrize("layout", ["stereo", "5.1", "4 channels"])
def test_a_microphone_in_antiphase_is_heard(tmp_path: Path, layout: str) -> None:
    channels = {"stereo": 2, "5.1": 6, "4 channels": 4}[layout]
    sound = np.zeros((channels, 2 * RATE), np.float32)
    sound[0] = ticking(2, CLICKS)[0]
    sound[1] = -sound[0]
    if channels == 4:
        import soundfile

        path = tmp_path / "antiphase.wav"
        soundfile.write(path, sound.T, RATE, "FLOAT")
    else:
        path = write_tracks(tmp_path / "antiphase.mka", [SoundTrack(sound, "flac" if channels == 2 else "aac")])
    speech, samples = decoded(path)
    assert clicks(samples) == pytest.approx(CLICKS, abs=0.003)
    assert speech.rms > 0.02


@pytest.mark.parametrize("offset", [0.45, -0.05])
def test_an_offset_of_the_recorder_does_not_count_as_loudness(tmp_path: Path, offset: float) -> None:
    room = np.random.default_rng(0).normal(0, 0.003, 2 * RATE)
    voice = (0.5 * ticking(2, CLICKS) + room).astype(np.float32)
    plain = decoded(write_tracks(tmp_path / "plain.wav", [SoundTrack(voice, "pcm_f32le")]))[0]
    windows = MelWindows(plain, Fraction(25)).windows(range(5, 43))
    moved = decoded(write_tracks(tmp_path / "moved.wav", [SoundTrack(voice + np.float32(offset), "pcm_f32le")]))[0]
    assert moved.rms == pytest.approx(plain.rms, rel=0.01) and moved.offset == pytest.approx(offset, rel=0.02)
    assert np.abs(MelWindows(moved, Fraction(25)).windows(range(5, 43)) - windows).max() < 0.02


def test_speech_without_an_offset_stays_as_it_is(tmp_path: Path) -> None:
    speech, samples = decoded(write_tracks(tmp_path / "plain.wav", [SoundTrack(ticking(2, CLICKS), "pcm_f32le")]))
    exact = samples.astype(np.float64)
    assert speech.offset == 0 and speech.rms == pytest.approx(float(np.sqrt(np.mean(exact**2))), rel=1e-9)


def test_nothing_heard(tmp_path: Path) -> None:
    sound = np.zeros((1, 2 * RATE), np.float32)
    sound[0, RATE:] = 0.1
    path = write_tracks(tmp_path / "late.flac", [SoundTrack(sound, "flac")])
    speech = decode_speech(path, tmp_path / "speech")
    assert not is_heard(speech, Fraction(0), Fraction(9, 10))
    assert is_heard(speech, Fraction(0), Fraction(11, 10)) and is_heard(speech, Fraction(3, 2), Fraction(9))
    assert not is_heard(speech, Fraction(5), Fraction(9))


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        (6, (0.5, 0.5, 0.7071, 0, 0.3536, 0.3536)),
        (8, (0.5, 0.5, 0.7071, 0, 0.3536, 0.3536, 0.3536, 0.3536)),
    ],
)
def test_surround_is_heard_in_the_standard_downmix(tmp_path: Path, channels: int, expected: tuple[float, ...]) -> None:
    """ITU-R BS.775: centre and surrounds at -3 dB, bass effects left out; one tone for each channel."""
    seconds = np.arange(2 * RATE) / RATE
    tones = np.stack([np.sin(2 * np.pi * 100 * (2 + at) * seconds) for at in range(channels)])
    path = write_tracks(tmp_path / "surround.flac", [SoundTrack((0.3 * tones).astype(np.float32), "flac")])

    spectrum = np.abs(np.fft.rfft(decoded(path)[1])) / SAMPLE_RATE / 0.3
    heard = spectrum[[200 * (2 + at) for at in range(channels)]]

    assert heard == pytest.approx(np.array(expected) / sum(expected), abs=0.002)


def test_a_rumble_for_the_subwoofer_does_not_drown_the_voice_in_the_centre(tmp_path: Path) -> None:
    sound = np.zeros((6, 2 * RATE), np.float32)
    sound[2] = ticking(2, CLICKS)[0]
    sound[3] = 0.8 * np.sin(2 * np.pi * 45 * np.arange(2 * RATE) / RATE)
    alone = 0 * sound
    alone[2] = sound[2]
    with_rumble = decoded(write_tracks(tmp_path / "film.flac", [SoundTrack(sound, "flac")]))[1]
    voice = decoded(write_tracks(tmp_path / "voice.flac", [SoundTrack(alone, "flac")]))[1]
    assert np.abs(with_rumble - voice).max() < 1e-4 and np.abs(voice).max() > 0.1
