"""What an identity looks like: skin, brows, lips, eyes, hair, clothes, light and backdrop, all drawn from a seed.

Colours given as sRGB 0..1 in the tables are stored as linear light, in which the renderer works.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

# Skin from palest to darkest, sRGB.
SKIN_TONES = np.array(
    [
        [0.91, 0.75, 0.67],
        [0.87, 0.69, 0.59],
        [0.81, 0.61, 0.49],
        [0.71, 0.51, 0.39],
        [0.56, 0.38, 0.28],
        [0.41, 0.27, 0.20],
        [0.29, 0.19, 0.145],
    ]
)
HAIR_COLOURS = {
    "black": (0.115, 0.095, 0.085),
    "dark brown": (0.18, 0.12, 0.085),
    "brown": (0.29, 0.19, 0.125),
    "light brown": (0.42, 0.30, 0.20),
    "blond": (0.62, 0.48, 0.31),
    "red": (0.44, 0.21, 0.11),
    "grey": (0.50, 0.49, 0.48),
}
IRIS_COLOURS = ((0.24, 0.14, 0.08), (0.33, 0.21, 0.11), (0.36, 0.33, 0.18), (0.30, 0.42, 0.36), (0.34, 0.46, 0.58))
HAIRSTYLES = ("crop", "parted", "swept", "bob", "long", "tied", "curly", "buzz", "bald")
CLOTH_COLOURS = (
    (0.12, 0.14, 0.20), (0.30, 0.32, 0.35), (0.70, 0.70, 0.68), (0.16, 0.28, 0.26),
    (0.45, 0.16, 0.17), (0.20, 0.30, 0.48), (0.62, 0.52, 0.38), (0.08, 0.08, 0.085),
)  # fmt: skip
BACKDROPS = ((0.62, 0.66, 0.70), (0.36, 0.40, 0.45), (0.72, 0.68, 0.62), (0.30, 0.34, 0.30), (0.50, 0.44, 0.42))


@dataclass(frozen=True)
class Glasses:
    """One pair of glasses.

    Attributes:
        width, height: of a lens, cm.
        squareness: exponent of its outline: 2 an ellipse, 6 nearly a rectangle.
        thickness: of the rims, cm.
        colour: (3,) linear albedo of the frame.
        rimless: whether only the upper rim is seen.
        dark: whether the lenses are dark.
        glare: bright streaks on each lens.
    """

    width: float
    height: float
    squareness: float
    thickness: float
    colour: Floats
    rimless: bool
    dark: bool
    glare: int


@dataclass(frozen=True)
class Look:
    """One person's appearance and setting; colours are linear light (3,).

    Attributes:
        skin, lips, iris, hair, brows, cloth: base albedos.
        darkness: place on the skin scale, 0 palest .. 1 darkest.
        flush: strength of redness on cheeks, nose and ears, 0..1.
        freckles, stubble, wrinkles: strengths 0..1.
        brow_density, brow_width: relative to an average brow.
        style: one of `HAIRSTYLES`.
        hair_length: factor on the style's length.
        parting: side of the parting, -1..1 (viewer's left .. right).
        hairline: height of the hairline over the average, cm.
        long_lashes: whether lashes are long and dark.
        neckline: 0 crew neck .. 1 deep neck.
        beard: length of the beard, as a factor.
        eye_shadow, eye_shadow_strength: colour of the upper lids, linear light (3,), and how much of it, 0 to 1.
        glasses: what is worn, None for none.
    """

    skin: Floats
    lips: Floats
    iris: Floats
    hair: Floats
    brows: Floats
    cloth: Floats
    darkness: float
    flush: float
    freckles: float
    stubble: float
    wrinkles: float
    brow_density: float
    brow_width: float
    style: str
    hair_length: float
    parting: float
    hairline: float
    long_lashes: bool
    neckline: float
    beard: float = 1.0
    eye_shadow: Floats | None = None
    eye_shadow_strength: float = 0.0
    glasses: Glasses | None = None


@dataclass(frozen=True)
class Lighting:
    """A key light, a rim light and a sky-to-ground ambient gradient, in linear light.

    Attributes:
        key_direction, rim_direction: (3,) unit vectors towards the lights.
        key, rim, sky, ground: (3,) radiance.
        exposure: factor on the finished picture.
    """

    key_direction: Floats
    rim_direction: Floats
    key: Floats
    rim: Floats
    sky: Floats
    ground: Floats
    exposure: float


def linear(srgb: npt.ArrayLike) -> Floats:
    """Linear light of sRGB values 0..1."""
    values = np.asarray(srgb, np.float64)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


def skin_tone(darkness: float) -> Floats:
    """Linear skin albedo (3,) at a place 0..1 of the scale from pale to dark."""
    places = np.linspace(0.0, 1.0, len(SKIN_TONES))
    return linear([np.interp(darkness, places, SKIN_TONES[:, channel]) for channel in range(3)])


def random_look(rng: np.random.Generator) -> Look:
    """A random person; hair and eye colour depend on the skin tone as they do in people."""
    darkness = float(rng.uniform(0.0, 1.0))
    masculine = bool(rng.random() < 0.5)
    hair = _random_hair_colour(rng, darkness)
    skin = np.clip(skin_tone(darkness) * rng.normal(1.0, [0.03, 0.035, 0.05]), 0.01, 0.9).astype(np.float32)
    made_up = not masculine and rng.random() < 0.4
    return Look(
        skin=skin,
        lips=_lip_colour(rng, skin, darkness, made_up),
        iris=linear(IRIS_COLOURS[_iris_index(rng, darkness)]) * np.float32(rng.uniform(0.8, 1.2)),
        hair=hair,
        brows=(hair * np.float32(0.6) + linear([0.10, 0.07, 0.05]) * np.float32(0.4)).astype(np.float32),
        cloth=linear(CLOTH_COLOURS[rng.integers(len(CLOTH_COLOURS))]) * np.float32(rng.uniform(0.7, 1.2)),
        darkness=darkness,
        flush=float(rng.uniform(0.3, 1.0)),
        freckles=float(rng.uniform(0.3, 1.0)) if darkness < 0.35 and rng.random() < 0.25 else 0.0,
        stubble=float(rng.uniform(0.1, 1.0)) if masculine else 0.0,
        wrinkles=float(rng.uniform(0.0, 0.8)),
        brow_density=float(rng.uniform(0.8, 1.3) if masculine else rng.uniform(0.55, 1.0)),
        brow_width=float(rng.uniform(0.9, 1.25) if masculine else rng.uniform(0.65, 0.95)),
        style=_random_style(rng, masculine),
        hair_length=float(rng.uniform(0.85, 1.15)),
        parting=float(rng.choice([-1.0, 1.0]) * rng.uniform(0.1, 0.6)),
        hairline=float(rng.normal(0.0, 0.35)),
        long_lashes=not masculine,
        neckline=float(rng.uniform(0.0, 0.4) if masculine else rng.uniform(0.0, 1.0)),
    )


def random_lighting(rng: np.random.Generator) -> Lighting:
    """A key light in front and above, on either side, with cool or warm fill."""
    azimuth, height = rng.uniform(-60.0, 60.0), rng.uniform(15.0, 50.0)
    rim_side = -np.sign(azimuth) * rng.uniform(115.0, 150.0)
    warmth = rng.uniform(-0.10, 0.12)
    tint = np.array([1.0 + warmth, 1.0, 1.0 - warmth])
    strength = rng.uniform(1.0, 1.9)
    sky = rng.uniform(0.22, 0.6) * np.array([1.0 - warmth, 1.0, 1.0 + warmth])
    return Lighting(
        key_direction=direction(azimuth, height),
        rim_direction=direction(rim_side, rng.uniform(20.0, 50.0)),
        key=(strength * tint).astype(np.float32),
        rim=(rng.uniform(0.2, 1.0) * np.array([1.0, 1.0, 1.03])).astype(np.float32),
        sky=sky.astype(np.float32),
        ground=(sky * rng.uniform(0.3, 0.6) * np.array([1.08, 1.0, 0.9])).astype(np.float32),
        exposure=float(rng.uniform(0.95, 1.2) * 1.75 / (strength + sky.mean() * 1.4)),
    )


def direction(azimuth: float, elevation: float) -> Floats:
    """Unit vector at an azimuth (0 = towards the camera, positive = viewer's right) and elevation, degrees."""
    a, e = np.radians([azimuth, elevation])
    return np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)], np.float32)


def backdrop(rng: np.random.Generator, size: tuple[int, int]) -> Floats:
    """A blurred backdrop (H, W, 3) in linear light: a graded wall with a few out-of-focus shapes."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / max(size)
    base = linear(BACKDROPS[rng.integers(len(BACKDROPS))]) * np.float32(rng.uniform(0.4, 1.0))
    centre_x, centre_y = rng.uniform(0.2, 0.8), rng.uniform(0.1, 0.6)
    glow = np.exp(-((x - centre_x) ** 2 + (y - centre_y) ** 2) / rng.uniform(0.15, 0.5))
    picture = base * (0.55 + 0.6 * glow)[..., None]
    for _ in range(rng.integers(0, 6)):
        picture = _add_blurred_box(rng, picture, x, y)
    return picture.astype(np.float32)


def _add_blurred_box(rng: np.random.Generator, picture: Floats, x: Floats, y: Floats) -> Floats:
    left, top = rng.uniform(-0.1, 1.0, 2)
    right, bottom = left + rng.uniform(0.08, 0.4), top + rng.uniform(0.15, 0.7)
    soft = rng.uniform(0.015, 0.05)
    inside = _edge(x - left, soft) * _edge(right - x, soft) * _edge(y - top, soft) * _edge(bottom - y, soft)
    colour = picture.mean((0, 1)) * rng.uniform(0.4, 1.7) * rng.normal(1.0, 0.08, 3)
    return picture + inside[..., None] * rng.uniform(0.3, 0.9) * (colour - picture)


def _edge(distance: Floats, soft: float) -> Floats:
    return (1.0 / (1.0 + np.exp(np.clip(-distance / soft * 3.0, -30.0, 30.0)))).astype(np.float32)


def _random_hair_colour(rng: np.random.Generator, darkness: float) -> Floats:
    names = list(HAIR_COLOURS)
    light = max(0.0, 0.5 - darkness)
    odds = np.array([0.25 + 2.0 * darkness, 0.4, 0.8 * light + 0.05, 0.8 * light, 0.9 * light, 0.25 * light, 0.12])
    name = names[rng.choice(len(names), p=odds / odds.sum())]
    return linear(HAIR_COLOURS[name]) * np.float32(rng.uniform(0.8, 1.2))


def _iris_index(rng: np.random.Generator, darkness: float) -> int:
    light = max(0.0, 0.45 - darkness)
    odds = np.array([0.3 + darkness, 0.4, light * 0.6, light * 0.7, light])
    return int(rng.choice(len(odds), p=odds / odds.sum()))


def _lip_colour(rng: np.random.Generator, skin: Floats, darkness: float, made_up: bool) -> Floats:
    natural = skin * np.array([0.80, 0.50, 0.53]) + linear([0.10, 0.02, 0.03]) * (1.0 - 0.5 * darkness)
    if not made_up:
        return natural.astype(np.float32)
    stick = linear([[0.62, 0.20, 0.22], [0.70, 0.32, 0.34], [0.48, 0.14, 0.20]][rng.integers(3)])
    return (0.45 * natural + 0.55 * stick).astype(np.float32)


def _random_style(rng: np.random.Generator, masculine: bool) -> str:
    odds = (
        [0.28, 0.24, 0.16, 0.0, 0.02, 0.0, 0.12, 0.1, 0.08]
        if masculine
        else [0.05, 0.05, 0.05, 0.27, 0.28, 0.2, 0.1, 0, 0]
    )
    return str(rng.choice(HAIRSTYLES, p=odds))
