"""Photographs whose mouths move: as their labels say, nothing else with them, and nobody says anything."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from model_server.corpus import portraits
from model_server.corpus.build import Shares
from model_server.corpus.labels import lip_opening
from model_server.corpus.mesh import MeshReader
from model_server.corpus.pictures import decode_jpeg
from model_server.corpus.portrait_mouths import MouthMotion, between_lips, inner_mouth, mouth_motion, opening, span
from model_server.corpus.portraits import LEAST_MOVING, PortraitMaker, Settings, plan
from model_server.corpus.shards import OTHERS_TOP, Clip
from model_server.errors import PoseDubError
from model_server.networks.sync_network import FRAMES
from model_server.pipeline.faces.models import models
from model_server.training.pcavs.lower_face_data import _APART
from tests.clips import INPUTS

STOCK = INPUTS / "stock"
ONE, OTHER = "01", "03"  # with closed lips
UPPER = [191, 80, 81, 82, 13, 312, 311, 310, 415]
LOWER = [95, 88, 178, 87, 14, 317, 402, 318, 324]


def picture_of(name: str) -> np.ndarray:
    return np.ascontiguousarray(cv2.imread(str(STOCK / f"{name}.jpg"))[:, :, ::-1])


def mesh(picture: np.ndarray) -> np.ndarray:
    with models() as ready:
        return ready.meshes(picture, faces=1)[0].points[:468].astype(np.float64)


def dropping_jaw() -> MouthMotion:
    """A stand-in for the head model: what lies below the upper lip goes down, softly, and lips part."""
    points = mesh(picture_of(ONE))
    unit, line = span(points), points[[13, 14], 1].mean()
    below = np.clip((points[:, 1] - line) / (0.12 * unit), 0, 1)
    across = np.clip(1 - np.abs(points[:, 0] - points[13, 0]) / (0.5 * unit), 0, 1)
    below[LOWER], below[UPPER] = 1, 0
    jaw, raised = np.zeros((2, 468, 3))
    jaw[:, 1] = -0.4 * below * across**0.5
    raised[UPPER, 1] = 0.09
    parted = points[:, :2] + 0.3 * jaw[:, :2] * (1, -1) * unit
    return MouthMotion(("jawOpen", "mouthUpperUp_L", "mouthUpperUp_R"), np.stack([jaw, raised / 2, raised / 2]), parted)


@pytest.fixture(scope="module", params=["made up", "ICT-FaceKit"])
def motion(request: pytest.FixtureRequest) -> MouthMotion:
    if request.param == "made up":
        return dropping_jaw()
    if not os.environ.get("POSEDUB_ICT"):
        pytest.skip("POSEDUB_ICT does not name ICT-FaceKit's ict.npz")
    return mouth_motion(Path(os.environ["POSEDUB_ICT"]))


@pytest.fixture(scope="module")
def clips(motion: MouthMotion) -> dict[str, Clip]:
    settings = Settings(frames=14, ict=Path("ict.npz"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(portraits, "mouth_motion", lambda ict: motion)
        made, dropped = PortraitMaker(settings)([STOCK / f"{name}.jpg" for name in (ONE, OTHER)])
    assert not dropped
    return {clip.name: clip for clip in made}


def test_the_jaw_drops_and_the_upper_lip_stays(motion: MouthMotion) -> None:
    moved = motion.moved({"jawOpen": 1.0})
    assert moved[14, 1] < -0.3 and abs(moved[13, 1]) < 0.1
    closing = motion.moved(motion.resting(0.1, 1.0))
    assert closing[14, 1] - closing[13, 1] == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("name", [ONE, OTHER])
def test_mouths_move_as_the_labels_say(clips: dict[str, Clip], name: str) -> None:
    clip = clips[name]
    reader = MeshReader()
    read = [reader.read(decode_jpeg(jpeg)) for jpeg in clip.jpegs]
    assert all(read), "a face in every frame"
    seen = lip_opening(np.stack([face.landmarks for face in read]))
    assert np.ptp(clip.opening) > 0.06
    assert np.corrcoef(seen, clip.opening)[0, 1] > 0.8
    away = np.linalg.norm(np.stack([face.landmarks for face in read]) - clip.landmarks, axis=2)
    assert np.median(away) < 3


def test_nobody_speaks_and_other_mouths_change_nothing_but_the_mouth(clips: dict[str, Clip]) -> None:
    clip = clips[OTHER]
    assert np.isnan(clip.mel).all() and clip.flow is None and len(clip.others) == clip.frames
    own = np.stack([decode_jpeg(jpeg)[OTHERS_TOP:] for jpeg in clip.jpegs]).astype(float)
    other = np.stack([decode_jpeg(jpeg) for jpeg in clip.others]).astype(float)
    differs = np.abs(own - other).mean(axis=(0, 3))
    nose = int(clip.landmarks[:, 33, 1].mean()) - OTHERS_TOP
    x, y = clip.landmarks[:, 48:].mean(axis=(0, 1)).astype(int) - (0, OTHERS_TOP)
    assert differs[: nose - 12].mean() < 2 < 4 * 2 < differs[y - 5 : y + 25, x - 12 : x + 12].mean()


def test_teeth_are_painted_behind_closed_lips() -> None:
    picture = picture_of(ONE)
    points = mesh(picture)
    behind, unit = inner_mouth(picture, points, np.random.default_rng(0)), span(points)
    x, y = ((points[13] + points[14])[:2] / 2).astype(int)
    assert behind[y, x].mean() > 80 and behind[y + int(0.2 * unit), x].mean() < 80, "teeth, and dark below"


def test_teeth_are_the_photographs_where_it_shows_them(clips: dict[str, Clip]) -> None:
    clip = clips[OTHER]
    picture = decode_jpeg(clip.jpegs[int(clip.opening.argmax())])
    points = mesh(picture)
    assert opening(points) > 0.05
    behind = inner_mouth(picture, points, np.random.default_rng(0))
    inside = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(inside, [points[[*UPPER, *LOWER[::-1]], :2].astype(np.int32)], 1)
    shown = cv2.erode(inside, np.ones((5, 5), np.uint8)) > 0
    assert shown.sum() > 10 and np.abs(behind[shown].astype(float) - picture[shown]).mean() < 15


def test_too_few_frames_to_learn_from_are_refused() -> None:
    assert LEAST_MOVING >= FRAMES + 2 * _APART
    with pytest.raises(PoseDubError, match="at least 11 frames"):
        plan(STOCK, Settings(frames=8, ict=Path("ict.npz")), Shares())


def test_lips_are_joined_by_eighteen_triangles() -> None:
    assert between_lips().shape == (18, 3) and set(between_lips().ravel()) == {78, 308, *UPPER, *LOWER}
