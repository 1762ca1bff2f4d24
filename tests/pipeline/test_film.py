"""Movies of footage keep its values, size, shape and colours wherever no face is drawn."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from model_server.pipeline.media import hdr
from model_server.pipeline.media.appearance import Field
from model_server.pipeline.media.colour import Colour
from model_server.pipeline.media.geometry import Geometry
from model_server.pipeline.media.planes import Layout, Planes, stored_planes
from model_server.pipeline.media.video import open_footage, picture_at
from model_server.pipeline.movies.film import Film
from model_server.pipeline.movies.movie_format import EXACT, MovieFormat
from model_server.pipeline.movies.writer import write_movie
from model_server.pipeline.request import FootageSource
from tests.conftest import speechlike, write_wav

from .conftest import scene
from .makers import write_movie as write_plain
from .tagged import BARS, ORIENTATIONS, Picture, Tags, bars, decoded, oriented, patches, stated, write_tagged

FPS = Fraction(25)
SOURCE = FootageSource("f" * 64, start=Fraction(1, 50))
COUNT = 4
FACE = (200, 150, 120)


def textured(width: int, height: int, count: int = COUNT) -> list[Picture]:
    """Bars under a camera's noise, moving."""
    random = np.random.default_rng(3)
    plain = bars(width, height).astype(float)
    return [np.clip(plain + random.normal(0, 4, plain.shape), 0, 255).astype(np.uint8) for _ in range(count)]


def overlay(size: tuple[int, int], colour: tuple[int, int, int] = FACE) -> Picture:
    """A disc with a soft edge right of the middle."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(x - 0.55 * width, y - 0.5 * height) / (0.2 * height)
    alpha = np.clip(5 - 5 * distance, 0, 1)
    rgba = np.dstack([*(np.full(alpha.shape, value) for value in colour), alpha * 255]).astype(np.uint8)
    rgba[rgba[..., 3] == 0] = 0
    return rgba


def dubbed(footage: Path, tmp_path: Path, count: int = COUNT) -> tuple[Path, Film]:
    """A movie of the first frames with the disc laid over."""
    film, path = Film(open_footage(footage), SOURCE, FPS), tmp_path / "dub.mp4"
    over = overlay(open_footage(footage).appearance.size)
    pictures = (film.picture(k, over) for k in range(count))
    sound = write_wav(tmp_path / "speech.wav", speechlike(count / 25))
    write_movie(path, pictures, FPS, sound, Fraction(0), "dub", form=film.format)
    return path, film


def outside(size: tuple[int, int]) -> np.ndarray:
    """Where no pixel has a share of the disc, not even through a chroma sample."""
    grown = np.pad(overlay(size)[..., 3] > 0, 2)
    near = [grown[i : i + size[1], j : j + size[0]] for i in range(5) for j in range(5)]
    return ~np.logical_or.reduce(near)


HD, SD = (640, 720), (360, 288)
KINDS = {
    "BT.709 HD": (HD, Tags()),
    "BT.601 SD": (SD, Tags(5, primaries=5, transfer=6)),
    "BT.601 of 525 lines": (SD, Tags(6, primaries=6, transfer=6)),
    "full range HD": (HD, Tags(full=True)),
    "full range SD": (SD, Tags(6, full=True, primaries=6, transfer=6)),
    "10 bit HD": (HD, Tags(bits=10)),
    "10 bit full range": (HD, Tags(bits=10, full=True)),
    "BT.2020 SDR": (HD, Tags(9, bits=10, primaries=9, transfer=14)),
    "4:2:2": (HD, Tags(bits=10, chroma="422")),
    "4:4:4": (HD, Tags(chroma="444")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_outside_the_face_pixels_are_the_footages_and_so_are_the_tags(tmp_path: Path, kind: str) -> None:
    size, tags = KINDS[kind]
    footage = write_tagged(tmp_path / "footage.mp4", textured(*size), tags)
    path, _ = dubbed(footage, tmp_path)

    assert stated(path) == (tags.matrix, 2 if tags.full else 1, tags.primaries, tags.transfer)
    sources, results, clear = decoded(footage), decoded(path), outside(size)
    assert len(results) == COUNT
    for source, result in zip(sources, results, strict=True):
        apart = np.abs(source.astype(int) - result)[clear]
        # Noise hits the encoder's last half step now and then, and ten bits that become eight lose theirs.
        assert (apart.max(axis=-1) > 2).mean() < (1e-4 if tags.bits == 8 else 5e-3) and apart.max() <= 5
    flat = np.abs(patches(decoded(path)[0]) - patches(decoded(footage)[0]))
    assert flat[[0, 1, 3, 4, 5, 7]].max() <= 2


@pytest.mark.parametrize("kind", KINDS)
def test_without_noise_no_pixel_outside_the_face_changes_by_more_than_2(tmp_path: Path, kind: str) -> None:
    size, tags = KINDS[kind]
    footage = write_tagged(tmp_path / "footage.mp4", [bars(*size)] * COUNT, tags)
    path, _ = dubbed(footage, tmp_path)
    for source, result in zip(decoded(footage), decoded(path), strict=True):
        apart = np.abs(source.astype(int) - result)[outside(size)]
        # Ten bits that became eight leave the encoder no room: a pixel or two beside the face.
        assert apart.max() <= 2 if tags.bits == 8 else (apart > 2).mean() < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_the_face_has_its_colour(tmp_path: Path, kind: str) -> None:
    size, tags = KINDS[kind]
    path, _ = dubbed(write_tagged(tmp_path / "footage.mp4", [bars(*size)] * COUNT, tags), tmp_path)
    middle = decoded(path)[1][size[1] // 2, int(0.55 * size[0])]
    assert np.abs(middle.astype(int) - FACE).max() <= 3


def test_noise_of_each_chroma_sample_is_kept(tmp_path: Path) -> None:
    """Of cameras' noise chroma has its own, which leaves the encoder least room."""
    random = np.random.default_rng(4)
    layout = Layout((640, 360))
    sizes = ((360, 640), (180, 320), (180, 320))
    noisy = [
        Planes(layout, tuple(np.clip(random.normal(120, 4, size), 0, 255).astype(np.uint8) for size in sizes))
        for _ in range(COUNT)
    ]
    form = MovieFormat(layout, options=EXACT)
    sound = write_wav(tmp_path / "speech.wav", speechlike(COUNT / 25))
    write_movie(tmp_path / "noise.mp4", noisy, FPS, sound, Fraction(0), "noise", form=form)
    with av.open(str(tmp_path / "noise.mp4")) as movie:
        assert movie.streams.video[0].codec_context.profile == "High"  # which all players show
        for given, frame in zip(noisy, movie.decode(video=0), strict=True):
            kept = stored_planes(frame, Geometry(), layout)
            assert kept is not None
            for plane, other, wrong in zip(given.planes, kept.planes, (0.1, 0.005, 0.005), strict=True):
                apart = np.abs(plane.astype(int) - other)
                assert apart.max() <= 1 and apart.mean() < wrong


def test_frames_the_face_is_absent_from_are_the_footages_values(tmp_path: Path) -> None:
    footage = write_tagged(tmp_path / "footage.mp4", textured(*SD), Tags(6))
    film, nothing = Film(open_footage(footage), SOURCE, FPS), np.zeros((SD[1], SD[0], 4), np.uint8)
    with av.open(str(footage)) as movie:
        frames = [frame.to_ndarray() for frame in movie.decode(video=0)]
    for k, frame in enumerate(frames):
        luma, blue, red = film.picture(k, nothing).planes
        assert np.array_equal(np.concatenate([luma.ravel(), blue.ravel(), red.ravel()]), frame.ravel())


def test_longer_dubs_show_the_footage_back_and_forth(tmp_path: Path) -> None:
    footage = write_tagged(tmp_path / "footage.mp4", textured(*SD), Tags(6))
    results = decoded(dubbed(footage, tmp_path, 2 * COUNT)[0])
    for k in range(COUNT):
        assert np.abs(results[k].astype(int) - results[2 * COUNT - 1 - k]).mean() < 0.6
        assert np.abs(results[k].astype(int) - results[(k + 1) % COUNT]).mean() > 2


def test_unstated_colours_are_those_that_players_take(tmp_path: Path) -> None:
    hd = write_tagged(tmp_path / "hd.mp4", [bars(1280, 720)] * COUNT, Tags(stated=False))
    assert stated(dubbed(hd, tmp_path)[0]) == (1, 1, 1, 1)
    sd = write_tagged(tmp_path / "sd.mp4", [bars(640, 360)] * COUNT, Tags(6, stated=False))
    path, _ = dubbed(sd, tmp_path)
    assert stated(path) == (6, 1, 6, 6)
    assert np.abs(patches(decoded(path)[0])[:6] - BARS[:6]).max() <= 3


@pytest.mark.parametrize("tags", [Tags(9, bits=10, primaries=9, transfer=kind) for kind in (hdr.PQ, hdr.HLG)])
def test_hdr_becomes_bt709(tmp_path: Path, tags: Tags) -> None:
    graded = hdr.to_hdr(bars(*SD) / 255, tags.transfer)
    path, _ = dubbed(write_tagged(tmp_path / "hdr.mp4", [graded] * COUNT, tags), tmp_path)
    assert stated(path) == (1, 1, 1, 1)
    assert np.abs(patches(decoded(path)[1])[[0, 1, 3, 4, 5, 7]] - BARS[[0, 1, 3, 4, 5, 7]]).max() <= 4


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("chroma", ["420", "422"])
def test_turned_and_mirrored_footage_is_upright(tmp_path: Path, orientation: str, chroma: str) -> None:
    plain = write_tagged(tmp_path / "plain.mp4", [bars(64, 96)] * COUNT, Tags(chroma=chroma))
    footage = oriented(plain, tmp_path / "turned.mp4", orientation)
    film, shown = Film(open_footage(footage), SOURCE, FPS), open_footage(footage).stored.frame_at(Fraction(0))
    nothing = np.zeros((*shown.shape[:2], 4), np.uint8)
    kept = film.format.frame(film.picture(0, nothing)).to_ndarray(format="rgb24")
    assert np.abs(kept.astype(int) - shown).max() <= (0 if chroma == "420" else 2)
    path, _ = dubbed(footage, tmp_path)
    assert np.abs(picture_at(path, Fraction(0)).astype(int) - shown)[outside(shown.shape[1::-1])].max() <= 3


def test_the_shape_of_the_pixels_is_kept(tmp_path: Path) -> None:
    plain = write_tagged(tmp_path / "plain.mp4", [bars(360, 288)] * COUNT, Tags(6), pixel=Fraction(64, 45))
    path, _ = dubbed(plain, tmp_path)
    assert picture_at(path, Fraction(0)).shape == (288, 512, 3)
    with av.open(str(path)) as movie:
        track = movie.streams.video[0]
        assert (track.width, track.height, track.sample_aspect_ratio) == (360, 288, Fraction(64, 45))
    turned, _ = dubbed(oriented(plain, tmp_path / "turned.mp4", "quarter"), tmp_path)
    with av.open(str(turned)) as movie:
        track = movie.streams.video[0]
        assert (track.width, track.height, track.sample_aspect_ratio) == (288, 360, Fraction(45, 64))


@pytest.mark.parametrize("orientation", ["plain", "left and right", "quarter"])
def test_odd_sizes_are_filled_up_and_said(tmp_path: Path, orientation: str) -> None:
    webm = write_plain(tmp_path / "odd.webm", [scene(321, 181)] * COUNT, "libvpx")
    footage = webm
    if orientation != "plain":
        with av.open(str(webm)) as source, av.open(str(tmp_path / "odd.mp4"), "w") as target:
            track = target.add_stream("libx264", rate=25, options={"qp": "0"})
            track.width, track.height, track.pix_fmt = 321, 181, "yuv444p"
            for frame in source.decode(video=0):
                target.mux(track.encode(frame.reformat(format="yuv444p")))
            target.mux(track.encode(None))
        footage = oriented(tmp_path / "odd.mp4", tmp_path / "turned.mp4", orientation)
    path, film = dubbed(footage, tmp_path)
    result, expected = picture_at(path, Fraction(0)), open_footage(footage).stored.frame_at(Fraction(0))
    height, width = expected.shape[:2]
    if orientation == "plain":
        assert result.shape == (182, 322, 3)
        assert "321x181" in (said := " ".join(film.remarks())) and "322x182" in said
    else:
        assert result.shape == expected.shape and "4:4:4" in " ".join(film.remarks())
    apart = np.abs(result[:height, :width].astype(int) - expected)[outside((width, height))]
    assert apart.mean() < 1.5 and apart.max() <= 6


def test_animations_and_screen_recordings_keep_their_sharp_colours(tmp_path: Path) -> None:
    pictures = [np.ascontiguousarray(np.roll(bars(64, 48), k, axis=1)) for k in range(COUNT)]
    footage = tmp_path / "screen.mov"
    with av.open(str(footage), "w") as movie:
        track = movie.add_stream("png", rate=25)
        track.width, track.height, track.pix_fmt = 64, 48, "rgb24"
        for picture in pictures:
            movie.mux(track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        movie.mux(track.encode(None))
    path, _ = dubbed(footage, tmp_path)
    for result, picture in zip(decoded(path), pictures, strict=True):
        assert np.abs(result.astype(int) - picture)[outside((64, 48))].max() <= 4


@pytest.mark.parametrize("first", ["top", "bottom"])
def test_interlaced_footage_stays_so(tmp_path: Path, first: Field) -> None:
    footage, size, colour = tmp_path / "fields.mov", (720, 576), Colour(5, primaries=5, transfer=6)
    with av.open(str(footage), "w") as movie:
        track = movie.add_stream("dvvideo" if first == "bottom" else "libx264", rate=25)
        form = MovieFormat(Layout(size, colour=colour), first_field=first, options=(("qp", "1"),))
        form.apply(track)
        for number, picture in enumerate(textured(*size)):
            frame = form.frame(picture)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            movie.mux(track.encode(frame))
        movie.mux(track.encode(None))
    path, film = dubbed(footage, tmp_path)
    assert film.format.first_field == first
    with av.open(str(path)) as movie:
        frame = next(movie.decode(video=0))
        assert (
            frame.interlaced_frame
            and movie.streams.video[0].codec_context.field_order == {"top": 2, "bottom": 3}[first]
        )
    apart = np.abs(decoded(footage)[1].astype(int) - decoded(path)[1])[outside(size)]
    assert np.percentile(apart, 99) <= 2
