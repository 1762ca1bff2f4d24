"""Portraits turn by their relief: as far as asked, whole, and each frame by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from model_server.engines.pcavs.engine import PcavsEngine, as_pcavs
from model_server.engines.pcavs.identity import Identity
from model_server.engines.shipped import shipped_weights
from model_server.engines.weights import load_engine
from model_server.pipeline.faces.finder import FaceFinder
from model_server.pipeline.faces.portrait import PortraitViews, portrait_views
from model_server.pipeline.faces.pose_reading import measured_angles
from model_server.pipeline.request import Portrait
from tests.clips import INPUTS

Pictures = NDArray[np.uint8]
ANGLES = np.array([[0, 0, 0], [-30, 0, 0], [30, 0, 0], [0, 15, 0], [0, 0, 15]], np.float32)


@pytest.fixture(scope="module")
def engine() -> PcavsEngine:
    weights = shipped_weights()
    assert weights and weights.pose_map
    return as_pcavs(load_engine(weights, "cpu", "fp32"))


@pytest.fixture(scope="module")
def views() -> PortraitViews:
    return portrait_views(INPUTS / "stock" / "02.jpg", Portrait("x"), 224, FaceFinder)


@pytest.fixture(scope="module")
def identity(engine: PcavsEngine, views: PortraitViews) -> Identity:
    return engine.identity_of(views, 224)


def drawn(engine: PcavsEngine, identity: Identity, angles: NDArray[np.float32]) -> Pictures:
    assert engine.weights.pose_map
    silence = np.zeros((len(angles), 80, 20), np.float32)
    return engine.frames(identity, silence, engine.weights.pose_map.codes(angles), 1.2, 0)


def test_heads_turn_as_far_as_asked(engine: PcavsEngine, identity: Identity) -> None:
    found = measured_angles(list(drawn(engine, identity, ANGLES)), FaceFinder())
    assert found is not None
    np.testing.assert_allclose(found - found[0], ANGLES - ANGLES[0], atol=7)


def widths(pictures: Pictures) -> list[float]:
    """Of the face's mesh in each picture."""
    faces = [FaceFinder().filling(picture) for picture in pictures]
    return [face.box[2] - face.box[0] for face in faces if face]


def test_a_turned_face_keeps_its_width(engine: PcavsEngine, identity: Identity) -> None:
    """What codes alone tell stretches it: the cheek that is near grows."""
    front, *turned = widths(drawn(engine, identity, ANGLES[:3]))
    flat = widths(drawn(engine, replace(identity, surface=None), ANGLES[:3]))
    assert len(turned) == 2 and max(turned) < 1.1 * front
    assert max(turned) < max(flat[1:])


def test_without_a_relief_the_codes_alone_turn_the_head(engine: PcavsEngine, identity: Identity) -> None:
    flat = replace(identity, surface=None)
    found = measured_angles(list(drawn(engine, flat, ANGLES[:3])), FaceFinder())
    assert found is not None and found[1, 0] < found[0, 0] - 10 < found[2, 0] - 30
    assert flat.turned(np.zeros((2, 12), np.float32), engine.weights.pose_map, engine._threads).shape == (2, 0)
    assert identity.turned(np.zeros((2, 12), np.float32), None, engine._threads).shape == (2, 0)


def test_a_frame_does_not_depend_on_those_beside_it(engine: PcavsEngine, identity: Identity) -> None:
    together, alone = drawn(engine, identity, ANGLES), drawn(engine, identity, ANGLES[2:3])
    assert np.array_equal(together[2], alone[0])


def test_at_its_own_pose_a_portrait_stays_where_it_is(engine: PcavsEngine, identity: Identity) -> None:
    offsets = identity.turned(identity.pose[None], engine.weights.pose_map, engine._threads)
    assert offsets.shape == (1, 2, 112, 112) and offsets.abs().max() < 1e-4


def test_no_head_turns_beyond_what_a_portrait_shows(engine: PcavsEngine, identity: Identity) -> None:
    known = engine.weights.pose_map
    assert known
    far = known.codes(np.array([[55, 0, 0], [90, 0, 0]], np.float32))
    offsets = identity.turned(far, known, engine._threads)
    np.testing.assert_allclose(offsets[0].numpy(), offsets[1].numpy(), atol=1e-3)
