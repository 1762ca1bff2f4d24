"""Whether a device draws what a processor draws in float32. Where it does not, a simpler way is taken, which is said.

Drivers, graphs and half precision fail in ways that no error tells: a picture is black, or noise. So one known frame is
drawn at the first use of a device.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model_server.engines import registry
from model_server.engines.base import MARGIN, Engine, Performance, PrecisionChoice, Relief
from model_server.engines.runtime.precision_cache import remember, remembered
from model_server.errors import PoseDubError
from model_server.features import CROP_SIDE

Picture = NDArray[np.uint8]
Load = Callable[[str, PrecisionChoice], Engine]
log = logging.getLogger(__name__)

# Peak signal to noise of a frame to that of a processor in float32. Half precision has 40 dB and more, other pictures
# less than 20.
LEAST_PSNR = 32.0
_FPS, _SAMPLE_RATE = 25, 16000
_TURNED = 0.3  # of the pose code, from how the portrait holds the head
_DOME = 33  # places along a side of the portrait's relief
_SENTENCE = "A known frame {problem} on the device {device}, so it draws {way} from now on: frames take longer."


class Way(NamedTuple):
    """How to draw.

    Attributes:
        recorded: whether an engine may record drawings, as CUDA graphs are.
        text: what a person calls it.
    """

    device: str
    precision: PrecisionChoice
    recorded: bool
    text: str


@dataclass(frozen=True)
class CheckedEngine:
    """An engine whose pictures can be trusted, and what had to be given up for that; "" for nothing."""

    engine: Engine
    notice: str = ""


def ways(device: str, precision: PrecisionChoice) -> Iterator[Way]:
    """From the way that is asked for down to the one that always works."""
    yield Way(device, precision, True, "as asked")
    yield Way(device, precision, False, "without recorded drawings")
    if precision != "fp32":
        yield Way(device, "fp32", False, "in float32")
    yield Way("cpu", precision if precision != "bf16" else "auto", True, "on the processor")


def checked(load: Load, device: str, precision: PrecisionChoice, key: str, choices: Path | None) -> CheckedEngine:
    """The first engine on the way down that draws a known frame right.

    Args:
        load: makes the engine for a device and a precision.
        device: any but "cpu".
        key: names all that the outcome depends on, under which it is kept.
        choices: file in which it is kept; what was once found is not tried again.
    """
    found, _, notice = (remembered(choices, key) or "").partition("|")
    all_ways = list(ways(device, precision))
    for way in all_ways:
        if way.text == found:
            return CheckedEngine(_engine(load, way), notice)
    expected = known_frame(load("cpu", "fp32"))
    for way, below in pairwise(all_ways):
        engine, problem = _tried(load, way, expected)
        if engine:
            return _kept(CheckedEngine(engine, notice), way, key, choices)
        notice = _SENTENCE.format(problem=problem, device=device, way=below.text)
    return _kept(CheckedEngine(_engine(load, all_ways[-1]), notice), all_ways[-1], key, choices)


def _tried(load: Load, way: Way, expected: Picture) -> tuple[Engine | None, str]:
    """An engine that draws as it should, or what is wrong with its known frame."""
    try:
        engine = _engine(load, way)
        likeness = psnr(known_frame(engine), expected)
    except (RuntimeError, TypeError, PoseDubError) as failure:  # whatever a driver may come up with
        first, *_ = str(failure).splitlines() or [type(failure).__name__]
        return None, f"cannot be drawn ({first})"
    if likeness < LEAST_PSNR:
        return None, f"comes out wrong ({likeness:.0f} dB from a processor's)"
    return engine, ""


def _kept(found: CheckedEngine, way: Way, key: str, choices: Path | None) -> CheckedEngine:
    if found.notice:
        log.warning("%s", found.notice)
    if "memory" not in found.notice:  # which may suffice next time
        remember(choices, key, f"{way.text}|{found.notice}")
    return found


def _engine(load: Load, way: Way) -> Engine:
    engine = load(way.device, way.precision)
    plainly = getattr(engine, "draw_plainly", None)
    if plainly and not way.recorded:
        plainly()
    return engine


def psnr(made: Picture, expected: Picture) -> float:
    """Peak signal to noise in dB, 99 for equal pictures."""
    error = float(np.square(made.astype(np.float64) - expected).mean())
    return min(10 * float(np.log10(255**2 / error)), 99.0) if error else 99.0


def known_frame(engine: Engine) -> Picture:
    """A frame of a made-up portrait and sound."""
    size = registry.sizes(engine.weights).low
    portrait = (
        _Portrait(_pattern(CROP_SIDE), _pattern(size), _dome()) if registry.traits(engine.weights).portrait else None
    )
    identity = engine.identity_of(portrait, size)
    performance = Performance(_Hum(), Fraction(_FPS), 0, identity.pose[None] + _TURNED, defaultdict(lambda: 1.0))
    conditions = engine.conditioning(performance).of(range(1))
    return engine.draw(identity, conditions, seed=1)[0]


@dataclass(frozen=True)
class _Portrait:
    """Implements `Views`."""

    seen: Picture
    drawn: Picture
    relief: Relief

    @property
    def surrounded(self) -> Picture:
        """See `Views.surrounded`."""
        around = len(self.drawn) // MARGIN
        return np.pad(self.drawn, ((around, around), (around, around), (0, 0)), "reflect")


def _dome() -> Relief:
    """A sphere that looks out of a plane."""
    side = np.linspace(-1, 1, _DOME, dtype=np.float32)
    depth = -np.sqrt(np.maximum(1 - side**2 - side[:, None] ** 2, 0))
    return Relief(depth, np.sqrt(-depth), np.zeros(2, np.float32), 0.0, np.zeros(3, np.float32))


def _pattern(side: int) -> Picture:
    """Soft coloured waves, (side, side, 3)."""
    y, x = np.mgrid[:side, :side] / side
    waves = [np.sin(2 * np.pi * (a * x + b * y)) for a, b in ((1, 2), (3, -1), (2, 2))]
    return np.asarray(128 + 100 * np.stack(waves, axis=-1), np.uint8)


class _Hum:
    """Implements `Sound`: a tone with overtones, without end."""

    rms = 0.2

    def read(self, first: int, count: int) -> NDArray[np.float32]:
        """See `Sound.read`."""
        seconds = np.arange(first, first + count) / _SAMPLE_RATE
        tones = [np.sin(2 * np.pi * 150 * k * seconds) / k for k in range(1, 8)]
        return np.asarray(0.2 * np.sum(tones, axis=0), np.float32)
