"""What decides a DAE-Talker frame: its latent c, taken at the frame's own moment, and how it is rendered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from model_server.engines.base import Condition, Performance
from model_server.engines.dae_talker.spoken_latents import SpokenLatents
from model_server.engines.dae_talker.traits import SHARED_NOISE, STEPS
from model_server.engines.runtime.even_rows import Floats, between, row_place, rows_around


class Row(NamedTuple):
    """A frame's latent (latent,), the steps it is rendered in, and which noise it starts from: None for the shared."""

    latent: Floats
    steps: int
    noise: int | None


class LatentConditioning:
    """Implements `Conditioning`: latents of the whole speech, at the frames' moments.

    Between two latents a frame's lies on the straight line: pictures are drawn of it, not blended.
    """

    def __init__(self, performance: Performance, latents: SpokenLatents) -> None:
        self._fps, self._latents = performance.fps, latents
        self._steps = int(performance.parameters[STEPS])
        self._shared = bool(performance.parameters[SHARED_NOISE])

    def of(self, frames: range) -> Sequence[Condition]:
        """See `Conditioning.of`."""
        if not frames:
            return []
        places = [row_place(frame, self._fps) for frame in frames]
        run = rows_around(places)
        rows = self._latents.latents(run)
        return [
            self._condition(frame, between(rows, place - run.start))
            for frame, place in zip(frames, places, strict=True)
        ]

    def _condition(self, frame: int, latent: Floats) -> Condition:
        noise = None if self._shared or self._steps == 1 else frame
        return Condition(latent.tobytes() + f"{self._steps} {noise}".encode(), Row(latent, self._steps, noise))
