"""The lower face drawn into footage: all other pixels stay, the old mouth cannot be seen, ranges are the whole's."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from model_server.engines.base import Condition, FrameSource, InPlace
from model_server.engines.pcavs.conditioning import Row
from model_server.engines.pcavs.engine import PcavsEngine, as_pcavs
from model_server.engines.pcavs.untrained import untrained_state
from model_server.engines.pcavs.weights import untrained, write_weights
from model_server.engines.weights import default_weights, describe, load_engine
from model_server.errors import PoseDubError
from model_server.pipeline.analysis import Analysis, Context, analyse, shown_times
from model_server.pipeline.compositing.in_place import InPlaceCanvas, as_sharp, differing, lip_movement, reference_rows
from model_server.pipeline.faces.alignment import inverse, moved
from model_server.pipeline.faces.finder import FaceFinder
from model_server.pipeline.faces.lower_face import EYES, SIDE, HeadPlace, lower_masks, taken
from model_server.pipeline.faces.tracking import Absence, track_face
from model_server.pipeline.media.encode import decode_png
from model_server.pipeline.media.video import open_footage
from model_server.pipeline.preview import preview
from model_server.pipeline.render import Frame, Rendering
from model_server.pipeline.request import (
    DubRequest,
    DubSpec,
    FaceSelection,
    FootageSource,
    Output,
    Portrait,
    PoseFixed,
    Speech,
)
from model_server.pipeline.suitability import check_suitable, in_place
from tests.clips import CUT, HERO, LEAVES, two_people
from tests.pipeline.conftest import INPUTS, Shelf
from tests.pipeline.makers import counter_picture, write_movie

FILES = {name: INPUTS / name for name in ("portrait.png", "speech.flac", "pose.mp4")}
FRAMES = 8
FEATHER = 0.2
FPS = Fraction(5)  # so that the head has turned after a few frames
DRAWS = untrained("lite-in-place")
FULL = Output("full_frame", FootageSource("pose.mp4", start=Fraction(1, 10)))
OVERLAY = replace(FULL, mode="overlay")


class Told:
    """Keeps warnings."""

    def __init__(self) -> None:
        self.warnings: list[tuple[int, int, str, str]] = []

    def progress(self, phase: str, done: int, total: int) -> None:
        pass

    def warn(self, first: int, end: int, kind: str, message: str) -> None:
        self.warnings.append((first, end, kind, message))


def spec(output: Output = FULL, **changes: object) -> DubSpec:
    made = DubSpec(None, Speech("speech.flac", Fraction(1, 2)), PoseFixed(), FPS, FRAMES, output=output)
    return replace(made, **changes)


@pytest.fixture(scope="module")
def engine() -> PcavsEngine:
    return as_pcavs(load_engine(DRAWS, "cpu", "fp32"))


@pytest.fixture(scope="module")
def shelf() -> Shelf:
    """Keeps the track, so that it is followed only once."""
    return Shelf()


def context(engine: PcavsEngine, shelf: Shelf) -> Context:
    return Context(engine, FILES.__getitem__, shelf)


@pytest.fixture(scope="module")
def analysis(engine: PcavsEngine, shelf: Shelf) -> Analysis:
    return analyse(DubRequest(spec()), context(engine, shelf))


@pytest.fixture(scope="module")
def whole(analysis: Analysis, engine: PcavsEngine) -> list[Frame]:
    return rendered(analysis, engine, 0, FRAMES)


def references(analysis: Analysis, kind: InPlace = "lower_face") -> list[FrameSource]:
    """What the first shot's person looks like."""
    source, footage = analysis.spec.output.footage, open_footage(FILES["pose.mp4"])
    assert source is not None and analysis.face is not None
    times, output = shown_times(analysis.spec, source, analysis.frames), analysis.spec.output.of(analysis.frames)
    return InPlaceCanvas(output, footage, times, analysis.face, kind).references(0)


def rendered(analysis: Analysis, engine: PcavsEngine, first: int, end: int) -> list[Frame]:
    return list(Rendering(analysis, context(engine, Shelf())).frames(range(first, end)))


def rendered_elsewhere(analysis: Analysis, first: int, end: int) -> list[Frame]:
    return rendered(analysis, as_pcavs(load_engine(DRAWS, "cpu", "fp32")), first, end)


def test_all_but_the_lower_face_stays_bit_for_bit(
    whole: list[Frame], analysis: Analysis, engine: PcavsEngine, shelf: Shelf
) -> None:
    over = analyse(DubRequest(spec(OVERLAY)), context(engine, shelf))
    layers = {frame.index: decode_png(frame.png) for frame in rendered(over, engine, 0, FRAMES)}
    footage = open_footage(FILES["pose.mp4"])
    assert analysis.face is not None
    shown = dict(footage.iter_frames(analysis.face.indices.tolist()))
    for row, frame in enumerate(whole):
        picture, before = decode_png(frame.png), shown[int(analysis.face.indices[row])]
        touched = (picture != before).any(axis=2)
        place = analysis.face.place(row)
        crop = place.crop(256)
        _, hidden = lower_masks(256, moved(place.outline(), crop), 0.0)
        y, x = np.nonzero(touched)
        at = np.rint(moved(np.stack([x, y], 1).astype(float), crop)).astype(int).clip(0, 255)
        assert 0.02 < touched.mean() < 0.2 and hidden[at[:, 1], at[:, 0]].mean() > 0.999
        layer = layers[frame.index]
        assert not layer[~touched & (layer[..., 3] == 0)].any()
        alpha = layer[..., 3:].astype(int)
        np.testing.assert_array_equal(picture, (layer[..., :3] * alpha + before * (255 - alpha) + 127) // 255)


def test_any_range_is_the_wholes_also_a_preview_and_from_another_process(
    whole: list[Frame], analysis: Analysis, engine: PcavsEngine, shelf: Shelf
) -> None:
    assert rendered(analysis, engine, 3, 5) == whole[3:5]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as elsewhere:
        assert elsewhere.submit(rendered_elsewhere, analysis, 5, FRAMES).result() == whole[5:]
    seen = preview(DubRequest(spec(), 6, 7), context(engine, shelf))
    assert (seen.png, seen.approximate) == (whole[6].png, False)


def test_frames_depend_on_speech_and_mouth_but_not_on_the_pose(
    whole: list[Frame], engine: PcavsEngine, shelf: Shelf
) -> None:
    def keys(**changes: object) -> list[str]:
        here = context(engine, shelf)
        found = analyse(DubRequest(spec(**changes)), here)
        return [wanted.key for wanted in Rendering(found, here).wanted(range(FRAMES))]

    same = {"portrait": Portrait("pose.mp4")}, {"seed": 7}, {"size": 448}, {"output": replace(FULL, mouth_only=(1.0,))}
    for unheeded in same:
        assert keys(**unheeded) == [frame.key for frame in whole], unheeded
    for other in ({"speech": Speech("speech.flac", Fraction(3, 2))}, {"mouth_strength": 0.5}):
        assert not set(keys(**other)) & {frame.key for frame in whole}


def test_the_old_mouth_cannot_be_seen(engine: PcavsEngine, analysis: Analysis) -> None:
    known = references(analysis)
    source = known[0]
    painted = source.picture.copy()
    painted[source.hidden > 0] = np.random.default_rng(0).integers(0, 255, (int((source.hidden > 0).sum()), 3))
    row = Row(np.random.default_rng(1).random((80, 20), np.float32), 1.2, np.zeros(12, np.float32))
    identity = engine.identity_in(known)
    true, other = (
        engine.draw(identity, [Condition(b"", row, replace(source, picture=picture))], 0)[0]
        for picture in (source.picture, painted)
    )
    assert true.shape == (*source.picture.shape[:2], 4)
    np.testing.assert_array_equal(true[..., :3], other[..., :3])
    silent = row._replace(window=np.zeros((80, 20), np.float32))
    quiet = engine.draw(identity, [Condition(b"", silent, source)], 0)[0]
    assert (quiet[..., :3] != true[..., :3]).any()


def test_whole_faces_are_fitted_to_footage_for_their_lower_part(shelf: Shelf) -> None:
    full = as_pcavs(load_engine(untrained("full"), "cpu", "fp32"))
    here = context(full, shelf)
    asked = spec(replace(FULL, face_source="in_place"))
    assert not in_place(spec(), full.weights) and in_place(asked, full.weights)
    found = analyse(DubRequest(asked, 0, 2), here, range(2))
    assert {reference.picture.shape for reference in references(found, "view")} == {(224, 224, 3)}
    assert found.poses is not None and not np.array_equal(found.poses[0], np.zeros(12))
    (frame,) = Rendering(found, here).frames(range(1))
    assert found.face is not None
    (before,) = [picture for _, picture in open_footage(FILES["pose.mp4"]).iter_frames([int(found.face.indices[0])])]
    touched = (decode_png(frame.png) != before).any(axis=2)
    place = found.face.place(0)
    _, hidden = lower_masks(256, moved(place.outline(), place.crop(256)), 0.0)
    y, x = np.nonzero(touched)
    at = np.rint(moved(np.stack([x, y], 1).astype(float), place.crop(256))).astype(int).clip(0, 255)
    assert 0.02 < touched.mean() < 0.2 and hidden[at[:, 1], at[:, 0]].mean() > 0.98


def test_soft_pictures_are_made_as_sharp_as_others() -> None:
    noise = np.random.default_rng(0).integers(60, 200, (64, 64, 3), np.uint8)
    soft = cv2.GaussianBlur(noise, (0, 0), 0.5)
    where = np.ones((64, 64), np.bool_)
    details = [float((one - cv2.GaussianBlur(one.astype(np.float32), (0, 0), 1.5)).std())
               for one in (noise, soft, as_sharp(soft, noise, where))]  # fmt: skip
    assert details[1] < 0.8 * details[0] and abs(details[2] - details[0]) < 0.15 * details[0]
    np.testing.assert_array_equal(as_sharp(soft, noise, ~where), soft)


def test_a_covered_face_stays_and_is_told(analysis: Analysis, tmp_path: Path) -> None:
    state = untrained_state("lite-in-place")
    state["lower_face.cover.cover_head.bias"] = torch.full((1,), 9.0)
    write_weights(tmp_path / "w.safetensors", state, "lite-in-place", "untrained", "covered")
    told = Told()
    blind = as_pcavs(load_engine(describe(tmp_path / "w.safetensors"), "cpu", "fp32"))
    here = replace(context(blind, Shelf()), report=told)
    frames = list(Rendering(analysis, here, mark=lambda png: b"drawn").frames(range(2, 5)))
    assert analysis.face is not None
    shown = dict(open_footage(FILES["pose.mp4"]).iter_frames(analysis.face.indices[2:5].tolist()))
    for frame, before in zip(frames, shown.values(), strict=True):
        np.testing.assert_array_equal(decode_png(frame.png), before)
    (warning,) = told.warnings
    assert warning[:3] == (2, 5, "covered") and "3 frames stay as in the footage" in warning[3]
    for frame in frames:
        here.results.keep(frame.key, frame.png)
    again = list(Rendering(analysis, here).frames(range(3, 6)))
    assert [bool(frame.blob) for frame in again] == [True, True, False]
    assert [one[:3] for one in told.warnings] == [(2, 5, "covered"), (3, 6, "covered")]


def test_a_part_without_a_face_stays_as_it_is_and_a_whole_is_refused(engine: PcavsEngine, tmp_path: Path) -> None:
    movie = write_movie(tmp_path / "empty.mp4", [counter_picture(k) for k in range(50)])
    empty = replace(FULL, footage=FootageSource("empty.mp4"))
    here = Context(engine, {**FILES, "empty.mp4": movie}.__getitem__, Shelf())
    with pytest.raises(PoseDubError, match=r"^No face was found in empty\.mp4; choose another one .*\.$"):
        analyse(DubRequest(spec(empty)), here)
    part = range(2, 5)
    found = analyse(DubRequest(spec(empty), part.start, part.stop), here, part)
    frames = list(Rendering(found, here, mark=lambda png: b"drawn").frames(part))
    shown = dict(open_footage(movie).iter_frames(found.face.indices.tolist()))
    for frame, before in zip(frames, shown.values(), strict=True):
        np.testing.assert_array_equal(decode_png(frame.png), before)


def test_references_show_the_mouth_closed_and_open(analysis: Analysis) -> None:
    track = analysis.face
    assert track is not None
    rows = reference_rows(track, slice(None))
    openings = track.lips[rows, 0]
    shown = references(analysis)
    assert len(set(rows)) == len(shown) == 4
    sharp = track.lips[track.lips[:, 1] >= np.median(track.lips[:, 1]), 0]
    assert openings[0] <= np.quantile(sharp, 0.1) and max(openings) >= np.quantile(sharp, 0.9)
    assert {reference.picture.shape for reference in shown} == {(192, 192, 3)}


def test_references_show_a_turning_head_from_all_sides() -> None:
    rng = np.random.default_rng(1)
    yaw = np.linspace(-30, 30, 200)
    angles = np.column_stack([yaw, rng.normal(0, 1, (200, 2))])
    chosen = differing(rng.uniform(0, 0.1, 200), angles, 4)
    assert len(set(chosen.tolist())) == 4
    assert yaw[chosen].min() < -20 and yaw[chosen].max() > 20
    still = differing(np.linspace(0, 0.1, 200), np.zeros((200, 3)), 4)
    closed, _, half, wide = sorted(still.tolist())
    assert (closed, half, wide) == pytest.approx((0, 100, 199), abs=5)
    assert differing(np.zeros(1), np.zeros((1, 3)), 4).tolist() == [0]


def test_a_mouth_wide_open_is_no_reference_where_others_are() -> None:
    openings = np.array([0.25, 0.02, 0.3, 0.06, 0.08, 0.1, 0.28])
    assert set(differing(openings, np.zeros((7, 3)), 4).tolist()) == {1, 3, 4, 5}
    assert 2 in differing(openings, np.zeros((7, 3)), 5), "too few others"


def test_each_shot_has_references_in_its_own_light(finder: FaceFinder, tmp_path: Path) -> None:
    clip = two_people(tmp_path)
    track = track_face(open_footage(clip), range(LEAVES + 6), FaceSelection(at=HERO), lambda: finder)
    first, second = (reference_rows(track, shot) for shot in track.shot_rows)
    assert track.cuts == (CUT,) and max(first) < CUT <= min(second)
    few = replace(track, absences=np.where(np.arange(LEAVES + 6) < CUT + 2, track.absences, Absence.NO_FACE))
    assert set(reference_rows(few, few.shot_rows[1])) & set(range(CUT)), "two frames alone show too little"


def test_where_a_lower_face_is_does_not_depend_on_the_mouth() -> None:
    place = HeadPlace.of(np.array([50.0, 60.0]), np.array([[30.0, 30.0], [70.0, 30.0]]), np.zeros(3))
    assert place.span == pytest.approx(40)
    crop = place.crop(96)
    x, y = moved(np.array([50.0, 60.0]), crop)
    assert x == pytest.approx(47.5) and 5 < y < 20  # the nose is above the middle
    turned = HeadPlace(place.nose, np.array([0.0, 0.0, 90.0]), place.span)
    np.testing.assert_allclose(
        moved(moved(np.array([[10.0, 40.0]]), inverse(turned.crop(96))), turned.crop(96)), [[10, 40]]
    )
    mouth = moved(turned.places(np.array([[0.0, -0.3, 0.0]])), turned.crop(96))
    np.testing.assert_allclose(mouth, moved(place.places(np.array([[0.0, -0.3, 0.0]])), crop), atol=1e-6)


def test_whatever_is_taken_of_a_drawn_face_was_hidden() -> None:
    outline = HeadPlace(np.array([48.0, 12.0]), np.array([20.0, 5.0, 0.0]), 68.0).outline()
    taken, hidden = lower_masks(96, outline, 8.0)
    assert taken.max() == 1 and (hidden[taken > 0] == 1).all() and 0.2 < hidden.mean() < 0.7


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"portrait": Portrait("pose.mp4")}, True),
        ({"portrait": Portrait("portrait.png")}, False),
        ({"portrait": Portrait("portrait.png"), "output": replace(FULL, face_source="in_place")}, True),
        ({"portrait": Portrait("pose.mp4"), "output": replace(FULL, face_source="portrait")}, False),
    ],
)
def test_the_footages_own_face_is_drawn_in_place_where_weights_can(changes: dict, expected: bool) -> None:
    assert in_place(spec(**changes), DRAWS) == expected
    check_suitable(spec(**changes), DRAWS)
    assert in_place(spec(**changes), untrained()) == (expected and "output" in changes)


def test_weights_that_cannot_are_refused_in_a_sentence() -> None:
    asked = spec(replace(FULL, face_source="in_place"), portrait=Portrait("pose.mp4"))
    with pytest.raises(PoseDubError, match="untrained lite cannot draw into footage in place; set the face source"):
        check_suitable(asked, untrained())
    with pytest.raises(PoseDubError, match="Drawing in place needs footage"):
        spec(Output(face_source="in_place")).validate()


def test_mouth_strength_closes_and_opens_the_trained_mouth(shelf: Shelf, finder: FaceFinder) -> None:
    trained = as_pcavs(load_engine(default_weights(), "cpu", "fp32"))
    openings = {}
    for strength in (0.0, 1.2, 2.4):
        made = analyse(DubRequest(spec(mouth_strength=strength)), context(trained, shelf))
        faces = [finder.find(decode_png(frame.png)) for frame in rendered(made, trained, 0, FRAMES)]
        openings[strength] = np.array([found[0].opening for found in faces])
    assert openings[0.0].mean() < 0.5 * openings[1.2].mean() and openings[1.2].mean() < openings[2.4].mean()
    assert openings[0.0].max() < 0.5 * openings[1.2].max()


def test_of_turned_heads_only_the_mouth_is_taken() -> None:
    def shares(yaw: float) -> tuple[float, np.ndarray, np.ndarray]:
        place = HeadPlace.of(np.array([50.0, 60.0]), np.array([[30.0, 30.0], [70.0, 30.0]]), np.array([yaw, 0.0, 0.0]))
        crop = place.crop(128)
        whole, hidden = lower_masks(128, moved(place.outline(), crop), FEATHER * EYES * 128 / SIDE)
        mask = taken(place, crop, 128, FEATHER)
        return float(mask.sum() / whole.sum()), hidden, mask

    assert shares(0.0)[0] == shares(-14.0)[0] == 1
    kept = [shares(yaw)[0] for yaw in (14.0, 18.0, 22.0, 28.0)]
    assert kept == sorted(kept, reverse=True) and kept[-1] < 0.7
    for yaw in (20.0, 35.0, -50.0):
        _, hidden, mask = shares(yaw)
        assert not mask[hidden == 0].any(), "what is taken was hidden"


def test_lips_go_as_far_as_the_persons_own() -> None:
    rng = np.random.default_rng(2)
    speaking = np.abs(rng.normal(0, 0.04, 300))
    usual = lip_movement(speaking)
    assert lip_movement(2 * speaking) == pytest.approx(min(2 * usual, 2.0), abs=0.07)
    assert lip_movement(0.6 * speaking) < usual
    assert lip_movement(20 * speaking) == 2.0 and lip_movement(np.concatenate([speaking, [np.nan]])) == usual
    assert lip_movement(0.01 * speaking) == 1, "nobody is seen to speak"
    assert lip_movement(speaking[:3]) == lip_movement(np.zeros(0)) == 1, "too few frames tell"
