"""The relief of a portrait: the nose is nearest, the head falls back around the face, and it turns as far as asked."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model_server.engines.base import Relief
from model_server.head_rotation import rotation
from model_server.networks.pcavs.turning import TurningSurface
from model_server.networks.pcavs.warping import enlarged, warp
from model_server.pipeline.faces.finder import FaceFinder
from model_server.pipeline.faces.portrait import PortraitViews, portrait_views
from model_server.pipeline.faces.pose_reading import measured_angles
from model_server.pipeline.faces.relief import GRID, REACH, relief_of
from model_server.pipeline.request import Portrait
from tests.clips import INPUTS

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def views() -> PortraitViews:
    return portrait_views(INPUTS / "stock" / "02.jpg", Portrait("x"), 224, FaceFinder)


@pytest.fixture(scope="module")
def relief(views: PortraitViews) -> Relief:
    assert views.relief is not None
    return views.relief


def at(values: NDArray[np.float32], x: float, y: float) -> float:
    """A value of the grid at a pixel of the view."""
    column, row = (round((v / 112 - 1 + 1 + REACH) * (GRID - 1) / (2 * (1 + REACH))) for v in (x, y))
    return float(values[row, column])


def test_a_nose_is_nearest_and_the_head_falls_back_around_the_face(views: PortraitViews, relief: Relief) -> None:
    face = FaceFinder().filling(views.seen)
    assert face is not None
    left, top, right, bottom = face.box
    middle = (left + right) / 2
    nose = at(relief.depth, *face.rigid[2])
    cheek = at(relief.depth, left + 8, (top + bottom) / 2)
    outside = at(relief.depth, left - 30, (top + bottom) / 2)
    assert nose < 0 < cheek < outside
    assert at(relief.follows, middle, (top + bottom) / 2) == 1
    assert relief.follows[0, 0] == 0 and relief.follows[0, -1] == 0
    mouth = (np.array(face.mouth) / 112 - 1).tolist()
    assert relief.pivot.tolist() == pytest.approx(mouth, abs=0.05)


def test_where_no_face_is_there_is_no_relief() -> None:
    assert relief_of(np.full((224, 224, 3), 128, np.uint8)) is None


@pytest.mark.parametrize(("yaw", "pitch"), [(20, 0), (-30, 0), (0, 15), (0, -15), (25, 10)])
def test_a_head_turns_as_far_as_asked(views: PortraitViews, relief: Relief, yaw: float, pitch: float) -> None:
    """Degrees by the face mesh, of the picture that geometry alone gives."""
    surface = TurningSurface(relief.depth, relief.follows, relief.pivot, relief.reach)
    offsets = torch.from_numpy(surface.offsets(rotation(yaw, pitch, 0)))[None]
    portrait = torch.from_numpy(views.seen).permute(2, 0, 1)[None].float()
    turned = warp(portrait, enlarged(offsets, 224))[0].permute(1, 2, 0).round().to(torch.uint8).numpy()
    angles = measured_angles([views.seen], FaceFinder()), measured_angles([turned], FaceFinder())
    assert angles[0] is not None and angles[1] is not None
    np.testing.assert_allclose((angles[1] - angles[0])[0], [yaw, pitch, 0], atol=5)


def test_the_face_in_the_middle_counts(views: PortraitViews, relief: Relief) -> None:
    """A small face is seen more surely than one that fills the view."""
    beside = views.seen.copy()
    beside[:80, :80] = cv2.resize(views.seen, (80, 80), interpolation=cv2.INTER_AREA)
    found = relief_of(beside)
    assert found is not None
    np.testing.assert_allclose(found.pivot, relief.pivot, atol=0.05)


def test_a_view_is_covered_however_the_head_turns(relief: Relief) -> None:
    """Of what is not covered the offset is 0, also where everything else moves."""
    surface = TurningSurface(relief.depth, relief.follows, relief.pivot, relief.reach)
    for angles in np.random.default_rng(0).uniform((-50, -40, -30), (50, 40, 30), (60, 3)):
        offsets = surface.offsets(rotation(*angles))
        moves = np.abs(offsets).max(axis=0)
        around = cv2.blur(moves, (3, 3))
        assert not ((moves == 0) & (around > 0.02)).any()


def test_a_turned_portrait_has_a_smooth_face(views: PortraitViews, relief: Relief) -> None:
    surface = TurningSurface(relief.depth, relief.follows, relief.pivot, relief.reach)
    offsets = torch.from_numpy(surface.offsets(rotation(30, 0, 0)))[None]
    portrait = torch.from_numpy(views.seen).permute(2, 0, 1)[None].float()
    turned = relief_of(warp(portrait, enlarged(offsets, 224))[0].permute(1, 2, 0).round().to(torch.uint8).numpy())
    assert turned is not None and turned.angles[0] == pytest.approx(relief.angles[0] + 30, abs=5)
    steps = np.abs(np.diff(turned.depth, axis=1))[turned.follows[:, 1:] == 1]
    assert np.quantile(steps, 0.99) < 0.12


def test_aligned_crops_have_a_relief_too(views: PortraitViews, tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "crop.png"
    picture = cv2.copyMakeBorder(views.seen, 0, 37, 19, 18, cv2.BORDER_REPLICATE)
    cv2.imwrite(str(path), picture[:, :, ::-1])
    found = portrait_views(path, Portrait("x"), 224, FaceFinder)
    assert found.relief is not None
