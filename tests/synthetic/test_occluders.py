"""Things in front of a mouth cover a part of the picture with an edge, each seed its own."""

import numpy as np

from model_server.synthetic.occluders import occluder


def test_things_cover_some_of_the_picture_and_seldom_all() -> None:
    things = [occluder(np.random.default_rng(seed), 64) for seed in range(40)]
    covers = np.array([thing[..., 3].mean() for thing in things])
    assert all(thing.shape == (64, 64, 4) and thing.min() >= 0 and thing.max() <= 1 for thing in things)
    assert 0.1 < np.median(covers) < 0.5 and covers.max() < 0.95 and (covers > 0.01).mean() > 0.9
    edges = np.mean([((thing[..., 3] > 0.02) & (thing[..., 3] < 0.98)).mean() for thing in things])
    assert edges < 0.1, "outlines are soft, and things are not glass"


def test_a_seed_gives_one_thing() -> None:
    one, same, other = (occluder(np.random.default_rng(seed), 48) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
