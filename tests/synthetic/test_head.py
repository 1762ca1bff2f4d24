from pathlib import Path

import numpy as np
import pytest

from model_server.errors import PoseDubError
from model_server.synthetic.head import load_head, random_identity


def test_dropped_parts_and_short_quads_are_gone(ball_path: Path) -> None:
    head = load_head(ball_path)
    faces = 89 * 89 - 5
    assert head.triangles.shape == (2 * faces - 1, 3)
    assert set(head.parts) == {"Face", "BackHead"}
    assert head.corner_uv.min() >= 0.0 and head.corner_uv.max() < 1.0


def test_triangles_face_outwards(ball_path: Path) -> None:
    head = load_head(ball_path)
    a, b, c = head.neutral[head.triangles].transpose(1, 0, 2)
    outward = (np.cross(b - a, c - a) * (a + b + c)).sum(1)
    assert (outward >= -1e-4).all()


def test_landmarks_keep_their_points_after_compaction(ball_path: Path) -> None:
    head = load_head(ball_path)
    archive = np.load(ball_path)
    assert np.allclose(head.neutral[head.landmarks[30]], archive["n"][4857])


def test_shape_and_expressions_are_linear(ball_path: Path) -> None:
    head = load_head(ball_path)
    once, twice = (head.shape(np.array([w, 0, 0, 0], np.float32)) - head.neutral for w in (1.0, 2.0))
    assert np.allclose(twice, 2 * once, atol=1e-5)
    both = head.offsets({"jawOpen": 0.5, "mouthClose": 1.0, "unknown": 1.0})
    assert np.allclose(both, 0.5 * head.expressions[0] + head.expressions[1], atol=1e-6)


def test_random_identity_is_seeded() -> None:
    one, same, other = (random_identity(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (one == same).all() and (one != other).any()
    assert np.abs(one).max() <= 2.0


def test_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(PoseDubError, match="nowhere.npz"):
        load_head(tmp_path / "nowhere.npz")
    foreign = tmp_path / "foreign.npz"
    np.savez(foreign, other=np.zeros(3))
    with pytest.raises(PoseDubError, match="ICT-FaceKit"):
        load_head(foreign)
