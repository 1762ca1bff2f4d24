"""More of what people and places differ in: glasses, beards, make-up, hair styles, light, gaze and lids.

It is drawn apart from what `appearance` draws, so that people of the same seed stay who they are without it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from model_server.synthetic.appearance import Lighting, Look, direction, linear
from model_server.synthetic.clip import Performance, with_gaze, with_lids
from model_server.synthetic.glasses import random_glasses
from model_server.synthetic.motion import eased_path, gaze

Floats = npt.NDArray[np.floating]

# Parts of the people, or of the clips. Colours are sRGB.
GLASSES, BEARDS, MADE_UP, OTHER_HAIR = 0.3, 0.4, 0.5, 0.45
SLOW_LIDS, WIDE_GAZE = 0.3, 0.4
_LONG_STYLES = ("wavy", "shag", "fringe", "afro")
_SHORT_STYLES = ("pixie", "slick", "shag", "afro")
_SHADOWS = ((0.30, 0.20, 0.16), (0.25, 0.22, 0.30), (0.45, 0.25, 0.28), (0.20, 0.28, 0.30), (0.10, 0.09, 0.09))


def varied_look(look: Look, rng: np.random.Generator) -> Look:
    """The person with more that people wear and do to their faces."""
    masculine = not look.long_lashes
    if rng.random() < OTHER_HAIR and look.style != "bald":
        look = replace(look, style=str(rng.choice(_SHORT_STYLES if masculine else _LONG_STYLES)))
    if masculine and rng.random() < BEARDS:
        look = replace(look, stubble=float(rng.uniform(0.76, 1.0)), beard=float(rng.uniform(0.8, 4.0)))
    if not masculine and rng.random() < MADE_UP:
        shadow = linear(_SHADOWS[rng.integers(len(_SHADOWS))])
        look = replace(look, eye_shadow=shadow, eye_shadow_strength=float(rng.uniform(0.3, 0.9)))
    if rng.random() < GLASSES:
        look = replace(look, glasses=random_glasses(rng))
    return look


def varied_lighting(rng: np.random.Generator) -> Lighting:
    """A lamp from anywhere before the face, alone or in much light from around, of the colours that cameras see."""
    azimuth, height = rng.uniform(-95.0, 95.0), rng.uniform(-15.0, 75.0)
    warmth, green = rng.uniform(-0.25, 0.3), rng.uniform(-0.06, 0.08)
    tint = np.array([1.0 + warmth, 1.0 + green, 1.0 - warmth])
    hard = rng.random() < 0.5
    strength, fill = (
        (rng.uniform(1.6, 2.6), rng.uniform(0.06, 0.25)) if hard else (rng.uniform(0.3, 1.0), rng.uniform(0.6, 1.3))
    )
    cast = rng.uniform(-0.15, 0.15)
    sky = fill * np.array([1.0 - cast, 1.0, 1.0 + cast])
    rim = rng.uniform(0.0, 1.6) * np.array([1.0 + rng.uniform(-0.3, 0.3), 1.0, 1.0 + rng.uniform(-0.3, 0.3)])
    return Lighting(
        key_direction=direction(azimuth, height),
        rim_direction=direction(-np.sign(azimuth) * rng.uniform(100.0, 160.0), rng.uniform(0.0, 60.0)),
        key=(strength * tint).astype(np.float32),
        rim=rim.astype(np.float32),
        sky=sky.astype(np.float32),
        ground=(sky * rng.uniform(0.3, 0.9) * np.array([1.08, 1.0, 0.9])).astype(np.float32),
        exposure=float(rng.uniform(0.75, 1.3) * 1.75 / (strength + sky.mean() * 1.4)),
    )


def varied_performance(performance: Performance, rng: np.random.Generator) -> Performance:
    """The same with eyes that sometimes close slowly or stay closed, and that look further about."""
    count, fps = len(performance.lids), performance.fps
    if rng.random() < SLOW_LIDS:
        times = np.concatenate([[0.0], np.cumsum(rng.uniform(0.25, 0.8, int(count / fps / 0.25) + 2))])
        keys = np.clip(rng.uniform(-0.6, 1.4, (len(times), 1)), 0, 1)
        slow = eased_path(keys, times, count, fps)[:, 0]
        performance = with_lids(performance, np.maximum(performance.lids, slow))
    if rng.random() < WIDE_GAZE:
        performance = with_gaze(performance, rng.uniform(2.0, 4.5) * gaze(rng, count, fps))
    return performance
