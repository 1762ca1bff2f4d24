"""Pictures in a container: read back by FFmpeg, they are what they were."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from blender_addon.core import sequences
from blender_addon.core.errors import AddonError
from model_server.pipeline.media.containers import probe
from model_server.pipeline.media.video import open_footage


def pictures(folder, suffix, count=7, size=(50, 38)):
    random = np.random.default_rng(0)
    files = [folder / f"frame_{k:03}{suffix}" for k in range(count)]
    for file in files:
        Image.fromarray(random.integers(0, 255, (size[1], size[0], 3), np.uint8)).save(file, quality=98, subsampling=0)
    return files


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(24000, 1001)], ids=str)
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_every_picture_is_a_frame_at_its_time(tmp_path, suffix, rate):
    files = pictures(tmp_path, suffix)

    movie = sequences.ensure(sequences.describe(files, rate, tmp_path))

    footage = open_footage(movie)
    assert footage.times == [k / rate for k in range(len(files))] and footage.duration == len(files) / rate
    assert (probe(movie).width, probe(movie).height, probe(movie).fps) == (50, 38, rate)
    for k, picture in footage.iter_frames(range(len(files))):
        assert np.abs(picture.astype(int) - np.asarray(Image.open(files[k]))).max() <= (0 if suffix == ".png" else 3)


def test_a_movie_is_made_once_and_anew_for_changed_pictures(tmp_path):
    files = pictures(tmp_path, ".png")
    movie = sequences.describe(files, Fraction(25), tmp_path)
    assert not movie.exists() and sequences.is_described(movie)
    stamp = sequences.ensure(movie).stat().st_mtime_ns
    assert sequences.ensure(sequences.describe(files, Fraction(25), tmp_path)) == movie
    assert movie.stat().st_mtime_ns == stamp

    Image.new("RGB", (50, 38)).save(files[3])

    assert sequences.describe(files, Fraction(25), tmp_path) != movie
    assert sequences.describe(files, Fraction(24), tmp_path) != movie
    sequences.tidy(tmp_path, 3600)
    assert movie.exists()
    sequences.tidy(tmp_path, -1)
    assert not movie.exists() and sequences.ensure(movie).exists()
    assert not list(tmp_path.glob("*.part"))


def test_what_cannot_be_a_movie_is_said(tmp_path):
    files = pictures(tmp_path, ".png")
    Image.new("RGB", (51, 38)).save(files[2])
    with pytest.raises(AddonError, match="frame_002.png is of another kind or size"):
        sequences.ensure(sequences.describe(files, Fraction(25), tmp_path))
    with pytest.raises(AddonError, match="is neither PNG nor JPEG"):
        sequences.ensure(sequences.describe(pictures(tmp_path, ".bmp"), Fraction(25), tmp_path))
    files[4].unlink()
    with pytest.raises(AddonError, match="frame_004.png is gone"):
        sequences.describe(files, Fraction(25), tmp_path)
    other = tmp_path / "other.avi"
    assert sequences.ensure(other) == other and not other.exists()
    assert not list(tmp_path.glob("*.part"))


def test_making_a_movie_can_be_stopped(tmp_path):
    movie = sequences.describe(pictures(tmp_path, ".png"), Fraction(25), tmp_path)

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sequences.ensure(movie, stop)
    assert not movie.exists() and not list(tmp_path.glob("*.part"))
