"""Films of a trained actor: DAE-Talker at work on takes, through the same calls as a dub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from model_server.corpus.shards import FPS
from model_server.engines.base import Performance
from model_server.engines.dae_talker.engine import DaeTalkerEngine, Identity
from model_server.engines.dae_talker.traits import POSE_GAIN, SEED, SHARED_NOISE, STEPS
from model_server.engines.dae_talker.weights import Actor, read_actor
from model_server.errors import PoseDubError
from model_server.evaluation.clips import EvalClip, TakeSound
from model_server.evaluation.generate import Closures, FilmHeads
from model_server.evaluation.views import Film, Pictures, batches
from model_server.pipeline.faces.alignment import resized

Angles = NDArray[np.float32]


@dataclass(frozen=True)
class ActorFilms:
    """Implements `FilmMaker` with an actor; poses are yaw, pitch and roll in degrees.

    Attributes:
        engine: with the weights under test.
        steps: in which a frame is drawn; 1 asks the student.
        shared: whether all frames start from one noise.
        gain: of predicted head movement; 0 holds the head still.
        seed: of the noise, 0 for the actor's own, and of the movement that speech does not tell.
    """

    engine: DaeTalkerEngine
    steps: int = 1
    shared: bool = True
    gain: float = 1.0
    seed: int = 0

    @cached_property
    def actor(self) -> Actor:
        """Whom it draws."""
        return read_actor(self.engine.weights)

    def pose_codes(self, film: Film) -> Angles:
        """See `FilmMaker.pose_codes`: the face mesh's angles."""
        angles = FilmHeads(film).angles()
        if angles is None:
            raise PoseDubError("The pose source shows no face in any frame; choose another --pose-source.")
        return angles

    def film(
        self, take: EvalClip, codes: Angles, moments: Sequence[int] | None = None, lids: Closures | None = None
    ) -> Iterator[Pictures]:
        """See `FilmMaker.film`; an actor's eyes follow its speech."""
        chosen = list(range(len(codes)) if moments is None else moments)
        places, rows = np.unique(chosen, return_index=True)
        axes = [np.interp(np.arange(places[-1] + 1), places, codes[rows, axis]) for axis in range(3)]
        return self._drawn(take, np.stack(axes, 1).astype(np.float32), chosen)

    def spoken(self, take: EvalClip, frames: int | None = None) -> Iterator[Pictures]:
        """The first frames of the actor speaking a take's sound, with the head moving as it makes of that."""
        return self._drawn(take, None, list(range(min(take.count, frames or take.count))))

    def frontal(self, take: EvalClip, count: int) -> Iterator[Pictures]:
        """See `FilmMaker.frontal`."""
        moments = np.linspace(0, take.count - 1, count).astype(int).tolist()
        return self.film(take, np.zeros((count, 3), np.float32), moments)

    def spoken_poses(self, take: EvalClip) -> Angles:
        """Yaw, pitch and roll (n, 3) in degrees that the actor makes of a take's sound."""
        return self.engine.spoken(self._performance(take, None)).spoken(range(take.count)).poses

    def told_poses(self, take: EvalClip, seed: int) -> Angles:
        """The same with what speech does not tell drawn from a seed, as Pose from Speech has it."""
        return self.engine.angles_of(self._performance(take, None), range(take.count), seed)

    def with_steps(self, steps: int) -> ActorFilms:
        """The same in so many steps."""
        return replace(self, steps=steps)

    def _drawn(self, take: EvalClip, poses: Angles | None, moments: list[int]) -> Iterator[Pictures]:
        conditions = self.engine.conditioning(self._performance(take, poses)).of(range(max(moments) + 1))
        for first, end in batches(len(moments)):
            wanted = [conditions[k] for k in moments[first:end]]
            drawn = self.engine.draw(self._identity, wanted, self.seed)
            yield np.stack([resized(picture) for picture in drawn])

    @cached_property
    def _identity(self) -> Identity:
        return self.engine.identity_of(None, self.actor.resolution)

    def _performance(self, take: EvalClip, poses: Angles | None) -> Performance:
        parameters = {STEPS: self.steps, POSE_GAIN: self.gain, SHARED_NOISE: self.shared, SEED: self.seed}
        return Performance(TakeSound(take), Fraction(FPS), 0, poses, parameters)
