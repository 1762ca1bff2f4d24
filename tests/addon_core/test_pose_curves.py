"""Tools on pose tracks, decimation, and head angles."""

import math
import random
from itertools import pairwise

import pytest

from blender_addon.core import pose_curves
from blender_addon.core.errors import AddonError
from blender_addon.core.pose_curves import FRONTAL
from blender_addon.core.pose_map import PoseMap

SIZE = 12


def make_track(length=60, seed=0):
    """A head that wanders: each number a random walk."""
    rng, row, track = random.Random(seed), [0.0] * SIZE, []
    for _ in range(length):
        row = [value + rng.gauss(0, 0.1) for value in row]
        track.append(tuple(row))
    return track


TRACK = make_track()


def make_map(seed=1):
    """Slopes as a fit gives them: the way back is shrunk and each angle leaks a little into the others."""
    rng = random.Random(seed)
    to_code = tuple(tuple(rng.gauss(0, 0.05) for _ in range(SIZE)) for _ in range(3))
    to_angles = tuple(
        tuple(8 * to_code[angle][row] / 0.05 + rng.gauss(0, 0.1) for angle in range(3)) for row in range(SIZE)
    )
    return PoseMap(to_code, FRONTAL, to_angles, (1.0, -2.0, 0.5), (1.0, 1.5, 0.7))


def close(one, other, tolerance=1e-9):
    return len(one) == len(other) and all(
        abs(a - b) <= tolerance for row, match in zip(one, other, strict=True) for a, b in zip(row, match, strict=True)
    )


TOOLS = {
    "smooth": lambda track, first, end: pose_curves.smooth(track, first, end, 2.5),
    "scale": lambda track, first, end: pose_curves.scale(track, first, end, 0.3),
    "hold": pose_curves.hold,
    "frontalise": lambda track, first, end: pose_curves.frontalise(track, first, end, 0.8),
    "mirror": lambda track, first, end: pose_curves.mirror(track, first, end, make_map()),
    "offset": lambda track, first, end: pose_curves.offset(track, first, end, -3.25),
    "loop": lambda track, first, end: pose_curves.loop(track, first, end, 4),
    "ping-pong": lambda track, first, end: pose_curves.loop(track, first, end, 4, back_and_forth=True),
    "ease": lambda track, first, end: pose_curves.ease(track, make_track(seed=3), first, end, 4),
}


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_tools_change_the_range_and_nothing_else(tool):
    changed = tool(TRACK, 20, 40)
    assert len(changed) == len(TRACK)
    assert changed[:20] == TRACK[:20] and changed[40:] == TRACK[40:]
    assert sum(row != before for row, before in zip(changed, TRACK, strict=True)) >= 8
    assert all(len(row) == SIZE and all(map(math.isfinite, row)) for row in changed)


@pytest.mark.parametrize("sigma", [0.4, 1.0, 3.0, 12.5])
def test_smoothing_is_a_gaussian(sigma):
    middle = 150
    impulse = [FRONTAL] * middle + [(1.0,) * SIZE] + [FRONTAL] * middle
    kernel = [row[0] for row in pose_curves.smooth(impulse, 0, len(impulse), sigma)]
    offsets = range(-middle, middle + 1)
    gaussian = [math.exp(-k * k / (2 * sigma * sigma)) for k in offsets]
    assert math.fsum(kernel) == pytest.approx(1)
    assert math.fsum(weight * k * k for weight, k in zip(kernel, offsets, strict=True)) == pytest.approx(sigma**2)
    if sigma >= 2:  # narrower ones have a few neighbours only
        peak = max(gaussian) / math.fsum(gaussian)
        errors = [abs(a - b / math.fsum(gaussian)) for a, b in zip(kernel, gaussian, strict=True)]
        assert max(errors) < 0.03 * peak


def test_smoothing_keeps_a_still_head_and_wants_no_neighbours():
    still = [(0.25,) * SIZE] * 30
    assert close(pose_curves.smooth(still, 0, 30, 4.0), still)
    assert close(pose_curves.smooth(still[:1], 0, 1, 4.0), still[:1])


def test_scaling_about_the_mean_keeps_it_and_about_frontal_does_not():
    centre = pose_curves.mean(TRACK)
    halved = pose_curves.scale(TRACK, 0, len(TRACK), 0.5, centre)
    assert close([pose_curves.mean(halved)], [centre])
    assert halved[7][3] - centre[3] == pytest.approx((TRACK[7][3] - centre[3]) / 2)
    assert pose_curves.scale(TRACK, 5, 6, 0.5)[5] == tuple(value / 2 for value in TRACK[5])


def test_frontalise_wholly_looks_straight_ahead():
    assert pose_curves.frontalise(TRACK, 10, 20, 1.0)[10:20] == [FRONTAL] * 10


def test_hold_keeps_the_first_pose():
    assert pose_curves.hold(TRACK, 10, 20)[10:20] == [TRACK[10]] * 10


def test_offset_by_whole_frames_moves_rows_and_by_parts_lies_between():
    assert pose_curves.offset(TRACK, 0, 60, 4)[4:] == TRACK[:-4]
    assert pose_curves.offset(TRACK, 0, 60, 4)[:4] == [TRACK[0]] * 4
    assert pose_curves.offset(TRACK, 0, 60, -7.0)[:53] == TRACK[7:]
    quarter = pose_curves.offset(TRACK, 30, 31, 0.25)[30]
    assert quarter == pytest.approx([0.75 * a + 0.25 * b for a, b in zip(TRACK[30], TRACK[29], strict=True)])


def test_loop_repeats_and_ping_pong_turns_round():
    assert pose_curves.loop(TRACK, 10, 20, 4)[10:20] == [TRACK[10 + k % 4] for k in range(10)]
    order = [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]
    assert pose_curves.loop(TRACK, 10, 20, 4, back_and_forth=True)[10:20] == [TRACK[10 + k] for k in order]
    assert pose_curves.loop(TRACK, 10, 20, 1, back_and_forth=True)[10:20] == [TRACK[10]] * 10
    assert pose_curves.loop(TRACK, 10, 20, 99) == TRACK


def test_blend_takes_one_the_other_or_both():
    other = make_track(seed=9)
    mixed = pose_curves.blend(TRACK[:3], other[:3], [0.0, 1.0, 0.25])
    assert mixed[:2] == [TRACK[0], other[1]]
    assert mixed[2][5] == pytest.approx(0.75 * TRACK[2][5] + 0.25 * other[2][5])


def test_ease_goes_over_smoothly_at_both_ends():
    edited = [(1.0,) * SIZE] * 30
    eased = [row[0] for row in pose_curves.ease(edited, [FRONTAL] * 30, 5, 25, 4)]
    assert eased[5:25] == eased[24:4:-1]
    assert eased[9:21] == [1.0] * 12
    rise = [0.0, *eased[5:10]]
    steps = [after - before for before, after in pairwise(rise)]
    assert all(step > 0 for step in steps)
    assert steps[0] < steps[1] < steps[2] > steps[3] > steps[4]


def test_mirror_negates_yaw_and_roll_keeps_pitch_and_mirrors_back():
    pose_map = make_map()
    mirrored = pose_curves.mirror(TRACK, 0, len(TRACK), pose_map)
    for row, image in zip(TRACK, mirrored, strict=True):
        yaw, pitch, roll = pose_map.angles(row)
        assert pose_map.angles(image) == pytest.approx((-yaw, pitch, -roll))
    assert close(pose_curves.mirror(mirrored, 0, len(TRACK), pose_map), TRACK)
    rest = tuple(b - a for a, b in zip(TRACK[8], mirrored[8], strict=True))
    assert rank(rest, *pose_map.to_code) == 3  # only ever moved along the map's own directions


def rank(*rows):
    """Rank of a few rows, by elimination."""
    rows, found = [list(row) for row in rows], 0
    for column in range(SIZE):
        pivot = max(rows[found:], key=lambda row: abs(row[column]), default=None)
        if pivot is None or abs(pivot[column]) < 1e-9:
            continue
        rows.remove(pivot)
        rows.insert(found, pivot)
        for row in rows[found + 1 :]:
            factor = row[column] / pivot[column]
            row[:] = [a - factor * b for a, b in zip(row, pivot, strict=True)]
        found += 1
    return found


def test_angles_turn_a_code_by_degrees():
    pose_map = make_map()
    assert pose_map.angles(FRONTAL) == pose_map.zero
    assert pose_map.turned(FRONTAL, (10.0, 0.0, 0.0)) == pytest.approx([10 * value for value in pose_map.to_code[0]])
    once = pose_map.turned(TRACK[0], (3.0, -2.0, 1.0))
    assert pose_map.turned(once, (-3.0, 2.0, -1.0)) == pytest.approx(TRACK[0])


def test_a_map_that_tells_no_angles_apart_mirrors_nothing():
    flat = PoseMap((FRONTAL,) * 3, FRONTAL, ((0.0,) * 3,) * SIZE, (0.0,) * 3)
    with pytest.raises(AddonError, match="does not tell head angles apart"):
        flat.mirrored(TRACK[0])


@pytest.mark.parametrize("tolerance", [0.0, 0.01, 0.1, 1.0])
def test_decimated_curves_stay_within_the_tolerance(tolerance):
    for values in zip(*make_track(400, seed=5), strict=True):
        keys = pose_curves.decimated(values, tolerance)
        assert keys[0] == 0 and keys[-1] == 399 and keys == sorted(set(keys))
        for before, after in pairwise(keys):
            slope = (values[after] - values[before]) / (after - before)
            for k in range(before, after):
                assert abs(values[before] + slope * (k - before) - values[k]) <= tolerance + 1e-12
        if tolerance >= 0.1:
            assert len(keys) < 150


def test_decimation_keeps_corners_only():
    values = [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0]
    assert pose_curves.decimated(values, 0.0) == [0, 4, 7, 9]
    assert pose_curves.decimated([0.5], 0.0) == [0]
