"""A drawn face lies where the footage's face is, with a soft steady edge, and nothing else is touched."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model_server.pipeline.compositing.blending import Patch, composed, face_mask, inside_distance, overlay
from model_server.pipeline.compositing.canvas import FootageCanvas, fades, look_through
from model_server.pipeline.faces.color_transfer import matched, view_tone
from model_server.pipeline.faces.finder import FaceFinder
from model_server.pipeline.faces.portrait import portrait_views
from model_server.pipeline.faces.tracking import Absence, remembered, track_face
from model_server.pipeline.media.encode import decode_png, encode_png
from model_server.pipeline.media.playback import Playback
from model_server.pipeline.media.video import Video, open_footage
from model_server.pipeline.request import FaceSelection, FootageSource, Output, OutputMode, Portrait
from tests.clips import CUT, FRAMES, HERO, still_head, two_people
from tests.pipeline.conftest import INPUTS, Shelf
from tests.pipeline.makers import counter_picture, read_counter, write_movie

Picture = NDArray[np.uint8]
SIDE = 224
TRACKS = Shelf()  # each clip is tracked once
STILL = 12


def canvas(path: Path, finder: FaceFinder, mode: OutputMode, count: int, **settings: object) -> FootageCanvas:
    """A canvas over the first `count` frames of a movie at 25 fps."""
    output = Output(mode, FootageSource("f" * 64, FaceSelection(at=HERO if count == FRAMES else None)), **settings)
    times = [Fraction(2 * k + 1, 50) for k in range(count)]
    footage, track_faces = open_footage(path), remembered(TRACKS, str(path))
    track = look_through(footage, times, output.footage.face, track_faces, lambda: finder, lambda done, total: None)
    return FootageCanvas(output, footage, times, SIDE, track)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_people(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return still_head(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def view(finder: FaceFinder) -> Picture:
    """A drawn face: the hero's portrait, as if the network had drawn it."""
    return portrait_views(INPUTS / "portrait.png", Portrait(""), SIDE, lambda: finder).seen


def test_untouched_pixels_are_the_footages_and_the_overlay_gives_the_full_frame(
    clip: Path, finder: FaceFinder, view: Picture
) -> None:
    full, over = (canvas(clip, finder, mode, FRAMES) for mode in ("full_frame", "overlay"))
    footage = open_footage(clip)
    for index in (0, CUT - 1, CUT, 20, FRAMES - 1):
        drawn = view if full.draws(index) else None
        frame, layer = full.picture(index, drawn), over.picture(index, drawn)
        source = footage.frame_at(Fraction(2 * index + 1, 50))
        clear = layer[..., 3] == 0
        assert np.array_equal(frame[clear], source[clear]) and not layer[clear].any()
        assert clear.mean() > 0.8 and (drawn is None or (~clear).mean() > 0.01)
        alpha = layer[..., 3:] / 255.0
        expected = alpha * layer[..., :3] + (1 - alpha) * source
        assert np.abs(expected - frame).max() <= 1


def test_the_invisible_mark_lies_on_what_was_drawn_alone(still: Path, finder: FaceFinder, view: Picture) -> None:
    for mode in ("full_frame", "overlay"):
        plain, marked = (
            canvas(still, finder, mode, STILL, presence_mark=one).picture(0, view).astype(int) for one in (False, True)
        )
        over = canvas(still, finder, "overlay", STILL).picture(0, view)
        drawn = over[..., 3] > 0
        assert np.array_equal(marked[~drawn], plain[~drawn])
        assert 1 < np.square((marked - plain)[over[..., 3] == 255]).mean() ** 0.5 < 3


def test_a_resting_heads_patch_moves_less_than_half_a_pixel(still: Path, finder: FaceFinder, view: Picture) -> None:
    over = canvas(still, finder, "overlay", STILL)
    layers = [over.picture(index, view)[..., :3].astype(np.float32).mean(axis=2) for index in range(STILL)]
    for one, other in zip(layers, layers[1:], strict=False):
        (x, y), _ = cv2.phaseCorrelate(one, other)
        assert np.hypot(x, y) < 0.5


def test_the_patch_lies_on_the_face(still: Path, finder: FaceFinder, view: Picture) -> None:
    full = canvas(still, finder, "full_frame", STILL)
    source = open_footage(still).frame_at(Fraction(0))
    frame = full.picture(0, view)
    before, after = finder.find(source)[0], finder.find(frame)[0]
    eyes = np.linalg.norm(before.points[1] - before.points[0])
    assert np.abs(before.points - after.points).max() < 0.05 * eyes
    assert np.abs(frame.astype(int) - source).mean() < 2


def test_frames_without_the_face_stay_as_they_are(clip: Path, finder: FaceFinder) -> None:
    full, over = (canvas(clip, finder, mode, FRAMES) for mode in ("full_frame", "overlay"))
    gone = int(np.flatnonzero(full.absences == Absence.NO_FACE)[0])
    assert not full.draws(gone) and not full.draws(gone - 1)
    source = open_footage(clip).frame_at(Fraction(2 * gone + 1, 50))
    assert np.array_equal(full.picture(gone, None), source)
    assert not over.picture(gone, None).any()


def test_doubtful_faces_are_dubbed_on_request(clip: Path, finder: FaceFinder) -> None:
    kept, dubbed = (canvas(clip, finder, "overlay", FRAMES, keep_where_absent=keep) for keep in (True, False))
    cut_off = np.flatnonzero(kept.absences == Absence.CUT_OFF)
    assert len(cut_off) and not any(kept.draws(k) for k in cut_off) and all(dubbed.draws(k) for k in cut_off)


def test_keys_hold_all_that_changes_a_frame(still: Path, finder: FaceFinder) -> None:
    one = canvas(still, finder, "overlay", STILL)
    others = [
        canvas(still, finder, "full_frame", STILL),
        canvas(still, finder, "overlay", STILL, feather=0.4),
        canvas(still, finder, "overlay", STILL, mouth_only=(0.5,)),
    ]
    keys = {each.key(3, "drawn") for each in (one, *others)} | {one.key(3, "else"), one.key(4, "drawn")}
    assert len(keys) == 6
    keyed = canvas(still, finder, "overlay", STILL, mouth_only=(0.0, 0.5) + (0.0,) * (STILL - 2))
    same = [keyed.key(k, "drawn") == one.key(k, "drawn") for k in range(STILL)]
    assert same == [True, False] + [True] * (STILL - 2)


def test_without_a_face_the_key_does_not_depend_on_the_dub(clip: Path, finder: FaceFinder) -> None:
    full = canvas(clip, finder, "full_frame", FRAMES)
    assert full.key(FRAMES - 1, "one") == full.key(FRAMES - 1, "other") != full.key(FRAMES - 2, "one")


def test_mouth_only_moves_from_the_whole_face_to_the_mouth(still: Path, finder: FaceFinder) -> None:
    place = canvas(still, finder, "overlay", STILL)._placement(0)
    masks = [face_mask(SIDE, place.points, place.outline, 0.2, share) for share in (0, 0.25, 0.5, 0.75, 1)]
    sums = [float(mask.sum()) for mask in masks]
    assert sums == sorted(sums, reverse=True) and sums[-1] < 0.6 * sums[0]
    (ex, ey), (mx, my) = place.points[0].astype(int), place.points[2].astype(int)
    assert masks[0][ey, ex] > 0.95 and masks[-1][ey, ex] < 0.01 and masks[-1][my, mx] > 0.95


@pytest.mark.parametrize("feather", [0.0, 0.2, 1.0])
def test_masks_are_soft_and_end_inside_the_view(still: Path, finder: FaceFinder, feather: float) -> None:
    place = canvas(still, finder, "overlay", STILL)._placement(0)
    mask = face_mask(SIDE, place.points, place.outline, feather, 0)
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    assert not edge.any() and mask.min() >= 0 and mask.max() <= 1
    assert np.abs(np.diff(mask, axis=0)).max() < (0.6 if feather == 0 else 0.04 / feather)


def test_masks_move_with_their_outline_by_fractions_of_a_pixel(still: Path, finder: FaceFinder) -> None:
    place = canvas(still, finder, "overlay", STILL)._placement(0)
    masks = [face_mask(SIDE, place.points + shift, place.outline + shift, 0.2, 0) for shift in np.linspace(0, 0.5, 6)]
    steps = [np.abs(one - other).max() for one, other in zip(masks, masks[1:], strict=False)]
    assert min(steps) > 0 and max(steps) < 0.03


def test_inside_distance_of_a_concave_polygon() -> None:
    polygon = np.array([[0.0, 0], [10, 0], [10, 10], [5, 3], [0, 10]])
    places = np.array([[5.0, 1], [5, 2], [5, 6], [2, 2], [-3, 4], [13, 14]])
    expected = [cv2.pointPolygonTest(polygon.astype(np.float32), place, True) for place in places]
    assert np.allclose(inside_distance(places, polygon), expected, atol=1e-4)


def test_colours_follow_the_footage(still: Path, finder: FaceFinder, view: Picture) -> None:
    place = canvas(still, finder, "overlay", STILL)._placement(0)
    tinted = np.clip(view * (0.6, 0.8, 1.1) + 10, 0, 255).astype(np.uint8)
    own = view_tone(tinted, place.points, place.outline)
    result = view_tone(matched(tinted, own, place.tone), place.points, place.outline)
    assert np.abs(own[:3] - place.tone[:3]).max() > 8
    assert np.abs(result[:3] - place.tone[:3]).max() < 2


def test_fades_rise_beside_absences_only() -> None:
    usable = np.ones(20, bool)
    assert (fades(usable) == 1).all()
    usable[8:10] = False
    assert np.allclose(fades(usable)[:13], [1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0, 0, 0.2, 0.4, 0.6])
    assert (fades(np.zeros(3, bool)) == 0).all()


def test_alpha_over_is_exact_at_both_ends() -> None:
    rng = np.random.default_rng(0)
    footage, rgba = rng.integers(0, 256, (40, 50, 3), np.uint8), rng.integers(0, 256, (10, 12, 4), np.uint8)
    rgba[:5, :, 3], rgba[5:7, :, 3] = 0, 255
    piece = Patch(rgba, 7, 4)
    result = composed(footage, piece)
    assert np.array_equal(result[4:9], footage[4:9]) and np.array_equal(result[9:11, 7:19], rgba[5:7, :, :3])
    assert overlay(piece, (50, 40)).shape == (40, 50, 4)


def test_overlays_survive_their_png(view: Picture) -> None:
    rgba = np.dstack([view, view[..., :1]])
    assert np.array_equal(decode_png(encode_png(rgba)), rgba) and np.array_equal(decode_png(encode_png(view)), view)


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 5, 4), (33, 17, 3), (361, 1027, 4)])
def test_png_keeps_every_pixel_of_any_size(shape: tuple[int, int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    png = encode_png(picture[::-1])
    with Image.open(BytesIO(png)) as read_elsewhere:
        assert np.array_equal(np.asarray(read_elsewhere), picture[::-1])
    assert np.array_equal(decode_png(png), picture[::-1])


def test_playback_goes_on_back_and_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_movie(tmp_path / "movie.mp4", [counter_picture(k) for k in range(40)], options={"g": "12"})
    monkeypatch.setattr("model_server.pipeline.media.playback._HELD_BYTES", 4 * counter_picture(0).nbytes)
    monkeypatch.setattr("model_server.pipeline.media.playback._JUMP", 20)
    playback = Playback(Video(path))
    for wanted in (0, 1, 1, 2, 5, 30, 31, 30, 29, 28, 27, 26, 25, 3, 4, 39, 0):
        assert read_counter(playback.picture(wanted)) == wanted


def test_dropouts_are_bridged(still: Path, finder: FaceFinder) -> None:
    from model_server.pipeline.compositing.canvas import bridged

    track = track_face(open_footage(still), range(STILL), FaceSelection(), lambda: finder)
    points, absences = track.points.copy(), track.absences.copy()
    for row in (3, 4, 7, 8, 9):
        points[row], absences[row] = np.nan, Absence.NO_FACE
    filled = bridged(replace(track, points=points, absences=absences))
    assert filled.absences.tolist() == [0] * 7 + [1] * 3 + [0] * 2
    assert np.abs(filled.points[3:5] - track.points[3:5]).max() < 1
