"""How far a head turns when it is asked to, and whether it stays the same person: pictures alone, no video needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_server.engines.pcavs.conditioning import PUBLISHED_GAIN
from model_server.engines.pcavs.engine import PcavsEngine
from model_server.engines.pcavs.identity import Identity
from model_server.engines.pose_map import PoseMap
from model_server.errors import PoseDubError
from model_server.evaluation.measure import Instruments, faces_of
from model_server.evaluation.metrics.lips import correlation
from model_server.evaluation.metrics.registry import mean
from model_server.evaluation.views import Pictures
from model_server.pipeline.faces.relief import relief_of

Floats = NDArray[np.float32]

AXES = ("yaw", "pitch", "roll")
STEP = 2.5  # degrees
REACH = (25.0, 20.0, 20.0)
# Turns away from a picture's own head pose within which the person must stay recognisable.
NEAR = np.array(
    [[yaw, pitch, 0] for yaw in (-20, -10, 0, 10, 20) for pitch in (-10, 0, 10)] + [[0, 0, -15], [0, 0, 15]], np.float32
)


@dataclass(frozen=True)
class Sweep:
    """One axis turned from end to end, the others at zero.

    Attributes:
        asked: (n,) degrees.
        measured: (n,) degrees by the independent detector, NaN where it finds no face.
    """

    asked: Floats
    measured: Floats

    @property
    def correlation(self) -> float:
        """Pearson correlation of asked and measured angles."""
        return correlation(self.measured, self.asked)

    @property
    def error(self) -> float:
        """Mean absolute difference, degrees."""
        return mean(np.abs(self.asked - self.measured))

    @property
    def rising(self) -> float:
        """Share of steps after which the head has turned further."""
        steps = np.diff(self.measured)
        return float((steps[np.isfinite(steps)] > 0).mean()) if np.isfinite(steps).any() else float("nan")


@dataclass(frozen=True)
class PoseSweep:
    """What was found of one picture.

    Attributes:
        own: (3,) head angles of the picture by the independent detector.
        sweeps: by axis.
        recognised: share of frames near the picture's own pose whose nearest portrait in the gallery is this one.
    """

    own: Floats
    sweeps: dict[str, Sweep]
    recognised: float


def turn(
    stills: Mapping[str, Pictures], others: Sequence[Pictures], engine: PcavsEngine, tools: Instruments
) -> dict[str, PoseSweep]:
    """Turn the head of each picture.

    Args:
        stills: network views (224, 224, 3) by name.
        others: further people of the gallery.
        engine: with weights whose pose map is known.
        tools: detector and recogniser.

    Raises:
        PoseDubError: the weights have no pose map.
    """
    known = engine.weights.pose_map
    if known is None:
        raise PoseDubError(f"The weights {engine.weights.name} have no pose map; export them with a labelled corpus.")
    gallery = tools.identity_vectors(np.stack([*stills.values(), *others]))
    return {
        name: _Still(view, engine, known, tools).turning(gallery, number)
        for number, (name, view) in enumerate(stills.items())
    }


class _Still:
    def __init__(self, view: Pictures, engine: PcavsEngine, known: PoseMap, tools: Instruments) -> None:
        self._view, self._engine, self._map, self._tools = view, engine, known, tools
        self._identity = engine.identity(view[None], relief=relief_of(view))

    def turning(self, gallery: Floats, number: int) -> PoseSweep:
        """The picture's sweeps, and how often it is found as portrait `number` of the gallery."""
        sweeps = {axis: self._sweep(n) for n, axis in enumerate(AXES)}
        near = self._drawn(self._map.angles(self._identity.pose[None]) + NEAR)
        found = _nearest(self._tools.identity_vectors(near), gallery) == number
        own = faces_of([self._view[None]], self._tools.reader).angles[0]
        return PoseSweep(own, sweeps, float(found.mean()))

    def _sweep(self, axis: int) -> Sweep:
        asked = np.arange(-REACH[axis], REACH[axis] + STEP / 2, STEP, dtype=np.float32)
        angles = np.zeros((len(asked), 3), np.float32)
        angles[:, axis] = asked
        return Sweep(asked, faces_of([self._drawn(angles)], self._tools.reader).angles[:, axis])

    def _drawn(self, angles: Floats) -> Pictures:
        return drawn_at(self._engine, self._identity, self._map, angles)


def drawn_at(engine: PcavsEngine, identity: Identity, known: PoseMap, angles: Floats) -> Pictures:
    """Frames (n, 224, 224, 3) of a head that says nothing, at angles (n, 3) in degrees."""
    silent = np.zeros((len(angles), 80, 20), np.float32)
    return engine.frames(identity, silent, known.codes(angles), PUBLISHED_GAIN, 0)


def _nearest(vectors: Floats, gallery: Floats) -> NDArray[np.intp]:
    """Number of the most similar portrait by cosine."""
    unit = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    return (vectors @ unit.T).argmax(axis=1)


def as_table(found: Mapping[str, PoseSweep]) -> str:
    """Markdown: a row for each picture."""
    head = [f"{axis}: {what}" for axis in AXES for what in ("r", "error", "rising")]
    lines = [_row(["picture", "own yaw, pitch, roll", *head, "recognised"]), "|" + " --- |" * (len(head) + 3)]
    for name, turning in found.items():
        own = ", ".join(f"{angle:.0f}" for angle in turning.own)
        cells = [
            text
            for sweep in turning.sweeps.values()
            for text in (f"{sweep.correlation:.3f}", f"{sweep.error:.1f}°", f"{sweep.rising:.0%}")
        ]
        lines.append(_row([name, own, *cells, f"{turning.recognised:.0%}"]))
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
