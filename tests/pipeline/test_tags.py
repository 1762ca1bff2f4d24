"""Titles and tags in any encoding: the files are read as if they had none."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pillow_heif
import pytest
from PIL import ExifTags, Image, PngImagePlugin

from model_server.pipeline.media.containers import probe
from model_server.pipeline.media.images import load_image
from model_server.pipeline.media.video import Video
from model_server.pipeline.movies import writer
from model_server.pipeline.speech.audio import decode_speech, speech_duration
from tests.pipeline.makers import click_track, counter_picture, read_counter

TITLES = {"cp1252": "Gespräch über Ärger", "shift_jis": "吹き替え", "cp1251": "Озвучка"}
ENCODINGS = list(TITLES)
SOUNDS = [
    ("a.wav", "pcm_s16le"),
    ("a.mp3", "libmp3lame"),
    ("a.flac", "flac"),
    ("a.opus", "libopus"),
    ("a.m4a", "aac"),
    ("a.aiff", "pcm_s16be"),
    ("a.caf", "pcm_s16le"),
    ("a.mka", "libopus"),
]
MOVIES = [
    ("v.avi", "mpeg4", "libmp3lame"),
    ("v.mp4", "libx264", "aac"),
    ("v.mov", "libx264", "aac"),
    ("v.mkv", "libx264", "aac"),
    ("v.webm", "libvpx-vp9", "libopus"),
    ("v.flv", "libx264", "aac"),
    ("v.ts", "libx264", "aac"),
]
FRAMES = 25


def write(path: Path, encoding: str, sound_codec: str, picture_codec: str | None = None) -> Path:
    """A second of sound, and of counted pictures, whose file and tracks are tagged in an encoding."""
    with av.open(str(path), "w", metadata_encoding=encoding) as file:
        sound = file.add_stream(sound_codec, rate=48000, layout="stereo")
        pictures = file.add_stream(picture_codec, rate=25) if picture_codec else None
        for tagged in (file, *file.streams):
            tagged.metadata.update(dict.fromkeys(("title", "artist", "handler_name", "service_name"), TITLES[encoding]))
        if pictures:
            pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        file.start_encoding()
        for k in range(FRAMES) if pictures else ():
            frame = av.VideoFrame.from_ndarray(counter_picture(k), format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, 25)
            file.mux(pictures.encode(frame))
        block = av.AudioFrame.from_ndarray(np.tile(click_track(1, [0.5], 48000), (2, 1)), format="fltp")
        block.sample_rate, block.pts, block.time_base = 48000, 0, Fraction(1, 48000)
        into = av.AudioResampler(sound.codec_context.format.name, "stereo", 48000)
        for part in (*into.resample(block), *into.resample(None), None):
            file.mux(sound.encode(part))
        if pictures:
            file.mux(pictures.encode(None))
    return path


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("name", "codec"), SOUNDS)
def test_sound(tmp_path: Path, name: str, codec: str, encoding: str) -> None:
    path = write(tmp_path / name, encoding, codec)
    assert probe(path).kind == "audio"
    assert abs(speech_duration(path) - 1) < Fraction(1, 20)
    assert abs(decode_speech(path, tmp_path / "speech.f32").samples - 16000) < 800


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("name", "picture_codec", "sound_codec"), MOVIES)
def test_movie(tmp_path: Path, name: str, picture_codec: str, sound_codec: str, encoding: str) -> None:
    path = write(tmp_path / name, encoding, sound_codec, picture_codec)
    info = probe(path)
    assert (info.kind, info.width, info.height, info.has_audio) == ("video", 64, 48, True)
    shown = [read_counter(picture) for _, picture in Video(path).iter_frames(range(FRAMES))]
    assert np.abs(np.subtract(shown, range(FRAMES))).max() <= 1
    assert abs(speech_duration(path) - 1) < Fraction(1, 10)


def test_its_sound_beneath_a_movie(tmp_path: Path) -> None:
    sound = write(tmp_path / "a.wav", "cp1252", "pcm_s16le")
    pictures = [counter_picture(k) for k in range(FRAMES)]
    writer.write_movie(tmp_path / "dub.mp4", pictures, Fraction(25), sound, Fraction(0), "dub")
    assert abs(speech_duration(tmp_path / "dub.mp4") - 1) < Fraction(1, 20)


@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF"])
def test_picture_with_broken_exif(tmp_path: Path, kind: str) -> None:
    pillow_heif.register_heif_opener()
    random = np.random.default_rng(0)
    pixels = np.full((32, 48, 3), 90, np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "Grüße"
    for k in range(40):
        data = bytearray(exif.tobytes())
        data[random.integers(6, len(data))] = 250
        broken = bytes(data[: random.integers(8, len(data))]) if k % 2 else b"Exif\0\0" + random.bytes(40)
        Image.fromarray(pixels).save(tmp_path / "photo", kind, exif=broken)
        assert np.abs(load_image(tmp_path / "photo").astype(int) - 90).max() <= 2
        assert (probe(tmp_path / "photo").width, probe(tmp_path / "photo").height) == (48, 32)


def test_picture_with_long_texts(tmp_path: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("workflow", "x" * 5_000_000, zip=True)
    pixels = np.full((32, 48, 3), 90, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png", pnginfo=texts, icc_profile=b"x" * 3_000_000)
    assert np.array_equal(load_image(tmp_path / "a.png"), pixels)
