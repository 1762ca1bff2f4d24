import numpy as np

from model_server.synthetic.correspondence import correspond, correspond_at
from model_server.synthetic.rasterizer import EMPTY, Camera, barycentrics, vertex_normals, visible_triangles

CAMERA = Camera((40, 60), focal=100.0, distance=50.0, centre=(30.0, 20.0))


def square(centre: tuple[float, float, float], half: float, tilt: float = 0.0) -> np.ndarray:
    """Corners of a square that faces the camera, turned by `tilt` radians about the y axis."""
    corners = half * np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32)
    turn = np.array([[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0], [-np.sin(tilt), 0, np.cos(tilt)]])
    return (corners @ turn.T + centre).astype(np.float32)


QUAD = np.array([[0, 1, 2], [0, 2, 3]], np.int32)


def test_projection_puts_up_up_and_near_things_large() -> None:
    near, far = CAMERA.project(np.array([[1, 2, 10], [1, 2, -10]], np.float32))
    assert np.allclose(near[:2], [30 + 100 / 40, 20 - 200 / 40])
    assert near[2] > far[2]


def test_nearer_square_hides_the_farther_whatever_the_order() -> None:
    points = np.concatenate([square((0, 0, 5), 2), square((0, 0, 0), 6)])
    for first, second in ((0, 4), (4, 0)):
        triangles = np.concatenate([QUAD + first, QUAD + second])
        ids, _ = visible_triangles(CAMERA.project(points), triangles, 4, CAMERA.size)
        front = {0, 1} if first == 0 else {2, 3}
        assert ids[20, 30] in front
        assert ids[20, 40] not in front | {EMPTY}
        assert ids[0, 0] == EMPTY


def test_area_covered_is_the_squares_area() -> None:
    ids, _ = visible_triangles(CAMERA.project(square((0, 0, 0), 5)), QUAD, 2, CAMERA.size)
    assert (ids >= 0).sum() == 20 * 20


def test_back_faces_are_drawn_only_beyond_the_culled_ones() -> None:
    screen, flipped = CAMERA.project(square((0, 0, 0), 5)), QUAD[:, ::-1].copy()
    assert (visible_triangles(screen, flipped, 2, CAMERA.size)[0] == EMPTY).all()
    assert (visible_triangles(screen, flipped, 0, CAMERA.size)[0] >= 0).any()


def test_barycentrics_recover_points_in_perspective() -> None:
    points = square((0, 0, 0), 6, tilt=1.0)
    screen = CAMERA.project(points)
    ids, _ = visible_triangles(screen, QUAD, 2, CAMERA.size)
    weights = barycentrics(screen, QUAD, ids)
    y, x = np.argwhere(ids >= 0)[::17].T
    surface = np.einsum("nk,nkc->nc", weights[y, x], points[QUAD[ids[y, x]]])
    assert np.allclose(CAMERA.project(surface)[:, :2], np.stack([x, y], 1) + 0.5, atol=1e-2)


def test_normals_of_a_square_point_to_the_camera() -> None:
    assert np.allclose(vertex_normals(square((0, 0, 0), 3), QUAD), [0, 0, 1], atol=1e-6)


def test_correspondence_follows_a_moved_square() -> None:
    before, after = (CAMERA.project(square((x, 0, 0), 5)) for x in (0.0, 3.0))
    ids, other = (visible_triangles(screen, QUAD, 2, CAMERA.size)[0] for screen in (before, after))
    places, visible = correspond(QUAD, ids, before, other, after, 1, 0.004)
    assert np.allclose(places[20, 30], [36.5, 20.5], atol=1e-3)
    assert visible[ids >= 0].all()
    # Backdrop that the square has moved over is hidden; the rest stands still.
    assert not visible[20, 43] and visible[2, 2]
    assert np.allclose(places[2, 2], 2.5)


def test_correspondence_marks_a_point_behind_another_as_hidden() -> None:
    wall, cover = square((0, 0, 0), 6), square((0, 0, 8), 2)
    triangles = np.concatenate([QUAD, QUAD + 4])
    apart, over = (np.concatenate([wall, cover + np.float32([x, 0, 0])]) for x in (9.0, 0.0))
    screens = [CAMERA.project(points) for points in (apart, over)]
    ids = [visible_triangles(screen, triangles, 4, CAMERA.size)[0] for screen in screens]
    _, visible = correspond(triangles, ids[0], screens[0], ids[1], screens[1], 1, 0.004)
    assert not visible[20, 30] and visible[20, 40]


def test_hair_a_little_under_other_hair_counts_as_seen() -> None:
    """The same two squares: as solids the cover hides the wall, as hair it hides what is far under it alone."""
    triangles, points = np.concatenate([QUAD, QUAD + 4]), np.array([[30.0, 20.0]])
    for depth, as_solids, as_hair in ((0.2, True, True), (1.0, False, True), (8.0, False, False)):
        wall, cover = square((0, 0, 0), 6), square((0, 0, depth), 2)
        apart, over = (np.concatenate([wall, cover + np.float32([x, 0, 0])]) for x in (9.0, 0.0))
        screens = [CAMERA.project(part) for part in (apart, over)]
        ids = [visible_triangles(screen, triangles, 4, CAMERA.size)[0] for screen in screens]
        seen = [
            correspond_at(points, points, triangles, ids[0], screens[0], ids[1], screens[1], 0.008, strands)[1][0]
            for strands in (len(triangles), 0)
        ]
        assert seen == [as_solids, as_hair]
