"""With ICT-FaceKit's data: what is rendered is a person whose labels are right."""

import numpy as np
import pytest

from model_server.head_rotation import rotation
from model_server.synthetic.actor import Actor, Detail, Pose, make_actor, render
from model_server.synthetic.clip import backward_flow, render_clip
from model_server.synthetic.head import HeadModel
from model_server.synthetic.occlusion import fibonacci_sphere, harmonics, visibility_towards
from model_server.synthetic.rasterizer import Camera

SIZE = 128
CAMERA = Camera((SIZE, SIZE), SIZE * 0.7 * 80 / 24, 80.0, (SIZE / 2, SIZE / 2))


def shoot(actor: Actor, pose: Pose, **weights: float):  # noqa: ANN201
    factor = actor.detail.supersampling
    return render(actor, weights, pose, CAMERA, actor.backdrop((SIZE * factor, SIZE * factor)))


def test_rotation_signs() -> None:
    nose = np.array([0.0, 0.0, 1.0])
    assert (rotation(30, 0, 0) @ nose)[0] > 0.4
    assert (rotation(0, 30, 0) @ nose)[1] > 0.4
    assert (rotation(0, 0, 30) @ [0.0, 1.0, 0.0])[0] > 0.4
    assert np.allclose(rotation(20, 10, 5) @ rotation(20, 10, 5).T, np.eye(3), atol=1e-6)


def test_visibility_survives_the_harmonics() -> None:
    directions = fibonacci_sphere(200)
    seen = (directions[:, 0] > 0).astype(np.float32)
    coefficients = (seen[None] @ harmonics(directions)) * (4 * np.pi / 200)
    right, left = visibility_towards(coefficients, np.array([[1, 0, 0], [-1, 0, 0]]))[0]
    assert right > 0.9 and left < 0.1


def test_same_seed_same_picture_other_seed_other_person(actor: Actor, real_head: HeadModel) -> None:
    again = make_actor(real_head, 5, Detail(texture=256, strands=1500))
    other = make_actor(real_head, 6, Detail(texture=256, strands=1500))
    picture = shoot(actor, Pose(10)).image
    assert (picture == shoot(again, Pose(10)).image).all()
    assert np.abs(picture.astype(int) - shoot(other, Pose(10)).image).mean() > 8


def test_landmarks_follow_the_pose(actor: Actor) -> None:
    straight, turned, raised = (shoot(actor, pose).landmarks for pose in (Pose(), Pose(yaw=30), Pose(pitch=20)))
    nose, eyes = 30, slice(36, 48)
    assert turned[nose, 0] - turned[eyes, 0].mean() > straight[nose, 0] - straight[eyes, 0].mean() + 3
    assert raised[nose, 1] < straight[nose, 1] - 3


def test_jaw_opens_the_lips_and_blinking_shuts_the_lids(actor: Actor) -> None:
    shut = shoot(actor, Pose()).landmarks
    wide = shoot(actor, Pose(), jawOpen=0.7, eyeBlink_L=1.0, eyeBlink_R=1.0).landmarks
    assert wide[66, 1] - wide[62, 1] > shut[66, 1] - shut[62, 1] + 4
    assert wide[46, 1] - wide[44, 1] < shut[46, 1] - shut[44, 1] - 1


def test_flow_leads_from_each_landmark_to_the_same_landmark(actor: Actor) -> None:
    source, target = shoot(actor, Pose()), shoot(actor, Pose(yaw=20, pitch=8), jawOpen=0.3)
    places, visible = backward_flow(actor, target, source)
    frontal = [27, 28, 29, 30, 33, 51, 62, 8]
    x, y = np.floor(target.landmarks[frontal]).astype(int).T
    assert visible[y, x].sum() >= 6
    error = np.abs(places[y, x] - source.landmarks[frontal])[visible[y, x]]
    assert np.median(error) < 0.8 and error.max() < 2.5
    assert np.abs(target.landmarks - source.landmarks)[frontal].max() > 6


def test_clip_speaks_with_labels_for_every_frame(real_head: HeadModel) -> None:
    pytest.importorskip("espeakng_loader")
    clip = render_clip(real_head, 5, 1, "Papa.", size=96, frames=12, detail=Detail(texture=128, strands=500))
    assert clip.images.shape == (12, 96, 96, 3) and clip.landmarks.shape == (12, 68, 2)
    assert clip.performance.angles.shape == (12, 3) and len(clip.performance.samples) > 5000
    assert clip.performance.visemes.argmax(1).max() > 0
