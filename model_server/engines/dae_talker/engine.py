"""The DAE-Talker engine: what speech says of an actor, and the decoder that draws it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model_server.engines.base import ANGLES, Condition, Performance, Precision, PrecisionChoice, Views, WeightsInfo
from model_server.engines.dae_talker.actor_networks import ActorNetworks
from model_server.engines.dae_talker.conditioning import LatentConditioning, Row
from model_server.engines.dae_talker.decoding import noise_of, rendered, to_bytes
from model_server.engines.dae_talker.pose_noise import pose_noise
from model_server.engines.dae_talker.spoken_latents import PoseChoice, SpokenLatents
from model_server.engines.dae_talker.traits import POSE_GAIN, SEED
from model_server.engines.dae_talker.weights import NAME, Actor
from model_server.engines.registry import check_size
from model_server.engines.runtime.even_rows import Floats, between, frame_place, row_place, rows_around
from model_server.engines.runtime.priority_lock import PriorityLock, in_a_hurry
from model_server.engines.runtime.setting import setting
from model_server.engines.runtime.thread_pool import crew_for
from model_server.engines.runtime.value_cache import ValueCache
from model_server.errors import PoseDubError
from model_server.networks.dae_talker.diffusion import start_noise
from model_server.networks.dae_talker.speech_features import reader_of

Result = TypeVar("Result")

# Windows of speech that are remembered, so that estimates, previews and dubs of a sound share them: those of eight
# minutes, up to 32 MB.
WINDOWS_KEPT = 64
# Pictures of one call of the decoder, and calls in a batch for each processor.
PICTURES = {"cpu": 2, "cuda": 16, "mps": 16, "xpu": 16}
CALLS = 2


@dataclass(frozen=True)
class Identity:
    """The actor, and how the frames begin; belongs to the engine that made it.

    Attributes:
        pose: the actor's usual yaw, pitch and roll (3,), degrees.
        start: x_T (1, channels, h, w) of a given portrait, on the engine's device; None for the actor's own.
    """

    pose: Floats
    start: Tensor | None = None


class DaeTalkerEngine:
    """Implements `Engine` with one actor's networks.

    Args:
        networks: in evaluation mode; the engine takes them over.
        actor: whom they draw.
        weights: what the networks were filled with.
        device: "cpu" or "cuda".
        precision: of the decoder; "auto" is fp32.
    """

    compiling = False

    def __init__(
        self, networks: ActorNetworks, actor: Actor, weights: WeightsInfo, device: str, precision: PrecisionChoice
    ) -> None:
        self.weights, self.device = weights, device
        self.precision: Precision = "bf16" if precision == "bf16" else "fp32"
        self._networks, self._actor = _laid_out(networks.to(device)), actor
        self._reader = reader_of(self._networks.speech)
        self._threads = crew_for(device)
        self._windows = ValueCache(WINDOWS_KEPT)
        self._pictures = PICTURES[device]
        self._turns = PriorityLock()

    @property
    def batch_size(self) -> int:
        """See `Engine.batch_size`."""
        return self._pictures * CALLS * self._threads.size

    @property
    def first_batch(self) -> int:
        """See `Engine.first_batch`."""
        return self._pictures * self._threads.size

    def identity_of(self, portrait: Views | None, size: int) -> Identity:
        """See `Engine.identity_of`; a portrait is a frame of the actor, from whose noise all frames begin."""
        check_size(size, self.weights)
        start = (
            None
            if portrait is None
            else self._in_turn(lambda: self._threads.run(partial(self._noise_of, portrait.drawn)))
        )
        return Identity(self._usual_pose(), start)

    def pose_codes(self, crops: NDArray[np.uint8]) -> Floats:
        """See `Engine.pose_codes`: the actor's usual pose, as its poses are angles and no codes that it reads."""
        return np.repeat(self._usual_pose()[None], len(crops), axis=0)

    def _usual_pose(self) -> Floats:
        """Yaw, pitch and roll (3,), degrees."""
        mean = self._networks.speech2latent.pose_mean.cpu().numpy()
        return self._kept(mean)

    def conditioning(self, performance: Performance) -> LatentConditioning:
        """See `Engine.conditioning`."""
        return LatentConditioning(performance, self.spoken(performance))

    def spoken(self, performance: Performance) -> SpokenLatents:
        """What the speech of a performance tells, latent by latent."""
        given = None if performance.poses is None else partial(_poses_at, performance)
        untold = partial(self._untold, int(performance.parameters[SEED]))
        pose = PoseChoice(self._actor, performance.parameters[POSE_GAIN], untold, given)
        network = self._networks.speech2latent
        return SpokenLatents(network, self._reader, performance.speech, pose, self._threads, self._windows)

    def angles_of(self, performance: Performance, frames: range, seed: int) -> Floats:
        """See `PoseTeller.angles_of`."""
        if not frames:
            return np.zeros((0, len(ANGLES)), np.float32)
        places = [row_place(frame, performance.fps) for frame in frames]
        run = rows_around(places)
        dub = replace(performance, poses=None, parameters={**performance.parameters, POSE_GAIN: 1.0, SEED: seed})
        told = self.spoken(dub).spoken(run).poses
        return np.stack([between(told, place - run.start) for place in places])

    @property
    def trained_deviation(self) -> Floats:
        """Of yaw, pitch and roll (3,) of the training frames, degrees."""
        return self._networks.speech2latent.pose_deviation.cpu().numpy()

    def _untold(self, seed: int, latents: range) -> Floats:
        """Movement (n, 3), degrees, that speech does not tell: what predicted movement lacks of the trained one."""
        shrunk = 1 / np.square(np.maximum(self._actor.pose_rescale, 1.0))
        lacking = self.trained_deviation * np.sqrt(1 - shrunk)
        return (lacking * pose_noise(latents, len(ANGLES), seed)).astype(np.float32)

    def _kept(self, poses: Floats) -> Floats:
        """Poses within what was trained."""
        return np.clip(poses, self._actor.pose_low, self._actor.pose_high).astype(np.float32)

    def draw(self, identity: Identity, conditions: Sequence[Condition], seed: int) -> NDArray[np.uint8]:
        """See `Engine.draw`; the seed 0 means the actor's own noise, and the one-step decoder knows no other."""
        rows: list[Row] = [condition.value for condition in conditions]
        if identity.start is not None and any(row.steps == 1 for row in rows):
            raise PoseDubError(
                "The one-step decoder knows the actor's own noise only and not a portrait's; set the steps to 4 or "
                "more, or leave the portrait out."
            )
        # A picture's last bits depend on how many are drawn at once.
        padded = [*rows, *[rows[-1]] * (-len(rows) % self._pictures)]
        calls = [padded[n : n + self._pictures] for n in range(0, len(padded), self._pictures)]
        pictures = self._in_turn(lambda: self._giving_way(partial(self._drawn, identity, seed), calls))
        return np.concatenate(pictures)[: len(rows)]

    def fingerprint(self) -> str:
        """See `Engine.fingerprint`."""
        folders = ("dae_talker", "speech_recogniser", "layers")
        return f"{setting(NAME, self.weights, self.device, Path(__file__).parent, folders)} {self.precision}"

    @torch.inference_mode()
    def _drawn(self, identity: Identity, seed: int, rows: Sequence[Row]) -> NDArray[np.uint8]:
        """Pictures uint8 (n, size, size, 3) of rows that are rendered alike."""
        latents = torch.from_numpy(np.stack([row.latent for row in rows])).to(self.device)
        start = torch.cat([self._start(identity, seed, row.noise) for row in rows])
        with self._arithmetic():
            return to_bytes(rendered(self._networks, latents, rows[0].steps, start)).cpu().numpy()

    def _start(self, identity: Identity, seed: int, noise: int | None) -> Tensor:
        """x_T (1, channels, h, w) of a frame."""
        if noise is not None:
            return start_noise(self._networks.drawn.shape, _torch_seed(seed, noise)).to(self.device)
        if identity.start is not None:
            return identity.start
        if seed:
            return start_noise(self._networks.drawn.shape, _torch_seed(seed)).to(self.device)
        return self._networks.start_noise

    @torch.inference_mode()
    def _noise_of(self, picture: NDArray[np.uint8]) -> Tensor:
        shown = torch.from_numpy(np.ascontiguousarray(picture)).to(self.device)[None].permute(0, 3, 1, 2)
        return noise_of(self._networks, shown.float() / 127.5 - 1)

    def _arithmetic(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device, torch.bfloat16) if self.precision == "bf16" else nullcontext()

    def _giving_way(
        self, draw: Callable[[Sequence[Row]], NDArray[np.uint8]], calls: Sequence[Sequence[Row]]
    ) -> list[NDArray[np.uint8]]:
        """What is drawn in each call; none begins while somebody in a hurry waits for the engine."""
        if in_a_hurry():
            return self._threads.map(draw, calls)
        made: list[NDArray[np.uint8]] = []
        for first in range(0, len(calls), self._threads.size):
            self._turns.give_way()
            made += self._threads.map(draw, calls[first : first + self._threads.size])
        return made

    def _in_turn(self, work: Callable[[], Result]) -> Result:
        with self._turns:
            return work()


def _laid_out(networks: ActorNetworks) -> ActorNetworks:
    """Convolutions read channels side by side, which saves a quarter of their time on processors, and on GPUs, too."""
    for network in (networks.autoencoder, networks.student, networks.pictures):
        if network is not None:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return networks


def _poses_at(performance: Performance, latents: range) -> Floats:
    """Given poses (n, 3) at the moments of latents, on straight lines between the dub's frames."""
    assert performance.poses is not None
    places = [frame_place(latent, performance.fps) - performance.first for latent in latents]
    return np.stack([between(performance.poses, place) for place in places])


def _torch_seed(*numbers: int) -> int:
    """A seed that torch takes, another one for other numbers."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:8], "little") >> 1
