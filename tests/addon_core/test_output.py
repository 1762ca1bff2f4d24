"""What a dub's frames are: problems in sentences, and JSON."""

from dataclasses import replace
from fractions import Fraction

import pytest

from blender_addon.core.faces import Face, FaceChoice
from blender_addon.core.output import FootageSource, Output
from blender_addon.core.plan import DubPlan


@pytest.fixture
def into(plan, tmp_path):
    """The plan as a dub into footage."""
    (tmp_path / "scene.mov").write_bytes(b"scene")
    face = FaceChoice("auto", (0.25, 0.5), Fraction(13, 25))
    footage = FootageSource(tmp_path / "scene.mov", face, Fraction(1, 50), Fraction(1001, 1000))
    return replace(plan, output=Output("overlay", footage, 0.3, tuple(k / 47 for k in range(48)), False))


def test_good_output_has_no_problems(into):
    assert into.problems() == []
    assert into.sources()[-1] == ("footage", into.output.footage.file)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mode": "crop"}, "Only an overlay or a full frame"),
        ({"footage": None}, "choose the strip to dub into"),
        ({"feather": 1.5}, "feather 1.5"),
        ({"mouth_only": (0.5, 1.1)}, "leaves 0 to 1"),
        ({"mouth_only": (0.5,) * 47}, "47 mouth-only amounts for 48 frames"),
    ],
)
def test_each_problem_is_a_sentence(into, change, words):
    problems = replace(into, output=replace(into.output, **change)).problems()
    assert words in problems[0] and problems[0].endswith(".")


def test_footage_that_stands_still_is_refused(into):
    footage = replace(into.output.footage, speed=Fraction(0))
    (problem,) = replace(into, output=replace(into.output, footage=footage)).problems()
    assert "faster than zero" in problem


def test_missing_footage_is_named(into):
    into.output.footage.file.unlink()
    (problem,) = into.problems()
    assert "The footage file" in problem and "scene.mov" in problem


def test_json_keeps_the_output_and_reads_older_plans(into, plan):
    assert DubPlan.from_json(into.to_json()) == into
    older = into.to_json()
    del older["output"]["face_source"]
    assert DubPlan.from_json(older).output == replace(into.output, face_source="portrait")
    older = plan.to_json()
    del older["output"], older["speech"]["start"]
    for part in ("portrait", "pose"):
        del older[part]["face"]["time"]
    assert DubPlan.from_json(older) == plan


@pytest.mark.parametrize(("yaw", "away"), [(-51.0, True), (-50.0, False), (0.0, False), (72.5, True)])
def test_faces_seen_from_the_side_are_turned_away(yaw, away):
    face = Face(0.1, 0.1, 0.3, 0.4, 0.9, (0.15, 0.2), (0.25, 0.2), (0.2, 0.35), yaw)
    assert face.turned_away == away and face.centre == pytest.approx((0.2, 0.25))
