"""Untrusted files: recognised by content, refused with one sentence that names the file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_server.errors import ErrorKind, PoseDubError
from model_server.pipeline.media import containers
from model_server.pipeline.media.containers import MediaInfo, probe
from model_server.pipeline.media.images import load_image
from model_server.pipeline.media.video import Video, open_footage
from model_server.pipeline.speech.audio import decode_speech, speech_duration
from tests.pipeline.makers import click_track, counter_picture, write_movie, write_sound


def refused(path: Path, word: str, kind: ErrorKind = ErrorKind.INVALID) -> None:
    """`probe` refuses the file with one sentence that names it and holds `word`."""
    with pytest.raises(PoseDubError) as caught:
        probe(path)
    message = caught.value.message
    assert path.name in message and word in message
    assert message.endswith(".") and message.count(". ") == 0
    assert caught.value.kind is kind


def test_missing(tmp_path: Path) -> None:
    refused(tmp_path / "gone.mp4", "missing", ErrorKind.NOT_FOUND)


def test_folder(tmp_path: Path) -> None:
    refused(tmp_path, "missing", ErrorKind.NOT_FOUND)


def test_empty(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    path.touch()
    refused(path, "empty")


def test_text_named_as_sound(tmp_path: Path) -> None:
    path = tmp_path / "speech.mp3"
    path.write_text("This is not a sound at all.\n" * 200)
    refused(path, "not sound or video")


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.9])
def test_truncated_mp4(tmp_path: Path, share: float) -> None:
    whole = write_movie(tmp_path / "whole.mp4", [counter_picture(k) for k in range(40)]).read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole[: round(share * len(whole))])
    refused(path, "cut off", ErrorKind.CORRUPT)


def test_play_list_cannot_open_another_file(tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "secret.wav", click_track(1, [0.5], 16000), 16000)
    for name, text in (
        ("list.mp3", f"ffconcat version 1.0\nfile '{sound}'\n"),
        ("list.m3u8", f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{sound}\n#EXT-X-ENDLIST\n"),
    ):
        path = tmp_path / name
        path.write_text(text)
        refused(path, "not sound or video")


def test_200_megapixel_png_is_refused_undecoded(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    Image.new("1", (20000, 10000)).save(path)
    refused(path, "64 megapixels", ErrorKind.TOO_LARGE)
    with pytest.raises(PoseDubError, match="64 megapixels"):
        load_image(path)


def test_frames_above_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_movie(tmp_path / "large.mp4", [counter_picture(0)])
    monkeypatch.setattr(containers, "MAX_FRAME_PIXELS", 64 * 48 - 1)
    refused(path, "64x48", ErrorKind.TOO_LARGE)


def test_longer_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = write_sound(tmp_path / "long.mka", click_track(2, [], 48000), 48000, "libopus")
    movie = write_movie(tmp_path / "long.mp4", [counter_picture(k % 50) for k in range(50)])
    monkeypatch.setattr(containers, "MAX_SECONDS", 1)
    refused(movie, "24 hours", ErrorKind.TOO_LARGE)
    with pytest.raises(PoseDubError, match="24 hours"):
        Video(movie)
    with pytest.raises(PoseDubError, match="24 hours"):
        decode_speech(sound, tmp_path / "out.f32")
    assert not (tmp_path / "out.f32").exists()


def test_sound_wanted_but_none_there(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "mute.mp4", [counter_picture(0)])
    with pytest.raises(PoseDubError, match="mute.mp4 has no sound track"):
        speech_duration(path)


def test_pictures_wanted_but_none_there(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "voice.wav", click_track(1, [], 16000), 16000)
    with pytest.raises(PoseDubError, match="voice.wav has no pictures"):
        Video(path)


def test_probe_sound_by_content(tmp_path: Path) -> None:
    wav = write_sound(tmp_path / "voice.wav", click_track(1.5, [], 16000), 16000)
    wrongly_named = wav.rename(tmp_path / "voice.mp3")
    assert probe(wrongly_named) == MediaInfo("audio", Fraction(3, 2), None, 0, 0, True)


def test_probe_movie_as_it_is_shown(tmp_path: Path) -> None:
    pictures = [counter_picture(k) for k in range(48)]
    path = write_movie(tmp_path / "turned.mp4", pictures, rate=Fraction(24000, 1001), rotation=90)
    info = probe(path)
    assert (info.kind, info.width, info.height, info.has_audio) == ("video", 48, 64, False)
    assert info.fps == Fraction(24000, 1001)
    assert info.duration == 48 * Fraction(1001, 24000)


def test_probe_picture_as_it_is_shown(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "phone.dat"
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(path, "JPEG", exif=exif)
    assert probe(path) == MediaInfo("image", Fraction(0), None, 30, 40, False)


def test_damaged_files_never_raise_anything_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    path = tmp_path / "damaged.bin"
    for whole in samples(tmp_path):
        for _ in range(25):
            data = bytearray(whole)
            for place in rng.integers(0, min(len(data), 600), rng.integers(1, 20)):
                data[place] = rng.integers(256)
            path.write_bytes(data[: rng.integers(1, len(data))] if rng.random() < 0.3 else data)
            for use in (probe, all_samples, all_pictures):
                try:
                    use(path)
                except PoseDubError as error:
                    assert path.name in error.message


def samples(folder: Path) -> list[bytes]:
    """Intact files of several kinds."""
    sound = click_track(1, [0.5], 48000)
    pictures = [counter_picture(k) for k in range(10)]
    movies = [write_movie(folder / name, pictures) for name in ("a.mp4", "a.mkv", "a.ts", "a.avi")]
    coded = {"a.wav": "pcm_s16le", "a.mp3": "libmp3lame", "a.m4a": "aac", "a.flac": "flac", "a.opus": "libopus"}
    sounds = [write_sound(folder / name, sound, 48000, codec) for name, codec in coded.items()]
    still = folder / "a.png"
    Image.fromarray(counter_picture(3)).save(still)
    return [path.read_bytes() for path in (*movies, *sounds, still)]


def all_samples(path: Path) -> None:
    """Decode and resample everything."""
    decode_speech(path, path.with_suffix(".f32"))


def all_pictures(path: Path) -> None:
    """Decode everything."""
    footage = open_footage(path)
    for _ in footage.iter_frames(range(len(footage.times))):
        pass
