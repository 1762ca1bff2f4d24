"""Plans: what keeps one from starting, and JSON without loss."""

import json
from dataclasses import replace
from fractions import Fraction

import pytest

from blender_addon.core.plan import MAX_CODE_ROWS, DubPlan, PoseSource

ROW = (0.0,) * 12


def test_good_plan_has_no_problems(plan):
    assert plan.problems() == []
    assert plan.frames_wanted == 48
    assert [role for role, _file in plan.sources()] == ["portrait", "speech", "pose"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fps": Fraction(0)}, "frame rate"),
        ({"fps": Fraction(241)}, "frame rate"),
        ({"frame_count": 0, "end": 0}, "covers no frame"),
        ({"end": 49}, "outside the dub"),
        ({"first": -1}, "outside the dub"),
        ({"first": 10, "end": 10}, "outside the dub"),
        ({"mouth_strength": 3.5}, "mouth strength"),
        ({"mouth_strength": float("nan")}, "mouth strength"),
        ({"seed": 2**64}, "seed"),
        ({"seed": -1}, "seed"),
        ({"size": 514}, "picture size"),
        ({"size": 225}, "picture size"),
        ({"pose": PoseSource("video")}, "pose source"),
        ({"pose": PoseSource("codes", codes=(ROW,) * 47)}, "47 pose codes"),
        ({"pose": PoseSource("codes", codes=(ROW[:11],) * 48)}, "12 finite numbers"),
        ({"pose": PoseSource("codes", codes=((float("inf"),) * 12,) * 48)}, "12 finite numbers"),
    ],
)
def test_each_problem_is_one_sentence(plan, change, words):
    (problem,) = replace(plan, **change).problems()
    assert words in problem
    assert problem.endswith(".") and ";" in problem


def test_codes_are_limited_to_one_message(plan):
    count = MAX_CODE_ROWS + 1
    long = replace(plan, frame_count=count, end=count, pose=PoseSource("codes", codes=(ROW,) * count))
    (problem,) = long.problems()
    assert "split the sound strip" in problem


def test_still_pose_movie_is_refused(plan):
    (problem,) = replace(plan, pose=replace(plan.pose, speed=Fraction(0))).problems()
    assert "speed 0" in problem


def test_missing_files_are_named(plan):
    plan.portrait.file.unlink()
    plan.pose.file.unlink()
    portrait, pose = plan.problems()
    assert "portrait" in portrait and "face.png" in portrait
    assert "pose" in pose and "pose.mp4" in pose


def test_files_of_unused_pose_are_not_asked_for(plan):
    still = replace(plan, pose=replace(plan.pose, kind="frontal", file=None))
    assert still.problems() == []
    assert len(still.sources()) == 2


def test_json_keeps_everything(plan):
    assert DubPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    codes = replace(plan, pose=PoseSource("codes", codes=((0.1, -0.25, *ROW[2:]),) * 48), seed=2**64 - 1, size=448)
    assert DubPlan.from_json(json.loads(json.dumps(codes.to_json()))) == codes
