"""Latents and head poses of speech of any length, in constant memory: windows that fade into each other."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

from model_server.engines.dae_talker.time_axis import (
    HEARING,
    LATENTS_PER_SECOND,
    WINDOW,
    Floats,
    window_latents,
    window_weights,
    windows_over,
)
from model_server.engines.dae_talker.weights import Actor
from model_server.engines.runtime.thread_pool import ThreadPool
from model_server.engines.runtime.value_cache import ValueCache
from model_server.features import SAMPLE_RATE, Sound, gain_of
from model_server.networks.dae_talker.speech2latent import STEPS_PER_FRAME, Speech2Latent, SpeechFeatures
from model_server.networks.dae_talker.speech_features import SpeechReader

STEP = SAMPLE_RATE // LATENTS_PER_SECOND // STEPS_PER_FRAME  # samples of a step of speech features
WINDOWS_KEPT = 4


@dataclass(frozen=True)
class Spoken:
    """What speech tells of a run of n latents.

    Attributes:
        latents: (n, latent).
        poses: yaw, pitch and roll that the head has, (n, 3), degrees.
    """

    latents: Floats
    poses: Floats


class PoseChoice:
    """How the head is held: as given, or as predicted, its movement made larger or smaller.

    Args:
        actor: whose poses are kept within what was trained.
        gain: of the predicted movement around the actor's usual pose; 0 holds the head still.
        untold: movement (n, 3) of latents n, degrees, that is added to the predicted one.
        given: yaw, pitch and roll (n, 3) of latents n, degrees; None for the predicted ones.
    """

    def __init__(
        self,
        actor: Actor,
        gain: float,
        untold: Callable[[range], Floats],
        given: Callable[[range], Floats] | None = None,
    ) -> None:
        self._low, self._high = (np.array(bound, np.float32) for bound in (actor.pose_low, actor.pose_high))
        self._gain = np.float32(gain)
        self._untold, self._given = untold, given

    def settings(self, latents: range) -> bytes:
        """What decides poses besides the predicted ones."""
        if self._given is not None:
            return self._given(latents).tobytes()
        return self._gain.tobytes() + (self._untold(latents).tobytes() if self._gain else b"")

    def of(self, latents: range, predicted: Floats, usual: Floats) -> Floats:
        """Poses (n, 3), degrees.

        Args:
            predicted: (n, 3), degrees.
            usual: the actor's mean pose (3,).
        """
        if self._given is not None:
            poses = self._given(latents)
        else:
            poses = usual + self._gain * (predicted - usual + self._untold(latents))
        return np.clip(poses, self._low, self._high).astype(np.float32)


class SpokenLatents:
    """Hears speech and tells latents and poses.

    Args:
        network: in evaluation mode.
        reader: of the speech features it was trained with.
        speech: its sample 0 is the beginning of latent 0.
        pose: how the head is held.
        threads: each of which works on a window.
        memory: windows of these networks by what is heard in them, of other dubs, too.
    """

    def __init__(
        self,
        network: Speech2Latent,
        reader: SpeechReader,
        speech: Sound,
        pose: PoseChoice,
        threads: ThreadPool,
        memory: ValueCache,
    ) -> None:
        self._network, self._reader, self._speech, self._pose = network, reader, speech, pose
        self._gain, self._memory = gain_of(speech.rms), memory
        self._threads = threads
        self._kept: OrderedDict[int, Spoken] = OrderedDict()

    def latents(self, wanted: range) -> Floats:
        """Latents (n, latent) of a run of them that begins at 0 or later."""
        return self.spoken(wanted).latents

    def spoken(self, wanted: range) -> Spoken:
        """Latents and poses of a run of them that begins at 0 or later."""
        size = self._network.size
        latents, poses = (np.zeros((len(wanted), count), np.float32) for count in (size.latent, size.pose))
        for number, spoken in self._told(windows_over(wanted)):
            run = window_latents(number)
            both = range(max(wanted.start, run.start), min(wanted.stop, run.stop))
            here, there = (slice(both.start - part.start, both.stop - part.start) for part in (wanted, run))
            weights = window_weights(number)[there, None]
            latents[here] += weights * spoken.latents[there]
            poses[here] += weights * spoken.poses[there]
        return Spoken(latents, poses)

    def _told(self, numbers: Sequence[int]) -> Iterator[tuple[int, Spoken]]:
        """What is spoken in windows, worked on by as many threads as there are; the latest ones are kept."""
        for first in range(0, len(numbers), self._threads.size):
            group = numbers[first : first + self._threads.size]
            missing = [number for number in group if number not in self._kept]
            self._kept.update(zip(missing, self._threads.map(self._spoken, missing), strict=True))
            yield from [(number, self._kept[number]) for number in group]
            while len(self._kept) > max(WINDOWS_KEPT, len(group)):
                self._kept.popitem(last=False)

    def _spoken(self, number: int) -> Spoken:
        """What is spoken in a window."""
        run = window_latents(number)
        first, samples = self._samples(run)
        key = digest(samples, first, self._pose.settings(run))
        return self._memory.get(key, lambda: self._heard(run, first, samples))

    def _samples(self, run: range) -> tuple[int, Floats]:
        """The sound that counts for a run of latents: its first step of speech features, and samples."""
        context = min(self._reader.context, HEARING * LATENTS_PER_SECOND * STEPS_PER_FRAME - 1)
        first = max(0, STEPS_PER_FRAME * run.start - context)
        end = STEPS_PER_FRAME * run.stop + context
        samples = self._speech.read(first * STEP, (end - first) * STEP) * self._gain
        return first, np.ascontiguousarray(samples, np.float32)

    @torch.inference_mode()
    def _heard(self, run: range, first: int, samples: Floats) -> Spoken:
        """What is spoken in a window with these samples, from step `first` on."""
        network = self._network
        read = self._reader.read(torch.from_numpy(samples)[None])
        inside = slice(STEPS_PER_FRAME * run.start - first, STEPS_PER_FRAME * run.stop - first)
        features = SpeechFeatures(read.layers[:, :, inside], read.prosody[:, inside])
        valid = torch.ones(1, WINDOW, dtype=torch.bool, device=network.pose_mean.device)
        heard = network.hear(features, WINDOW, valid)
        predicted = network.predicted_pose(features, WINDOW, valid) * network.pose_deviation + network.pose_mean
        poses = self._pose.of(run, _array(predicted[0]), _array(network.pose_mean))
        asked = (torch.from_numpy(poses).to(heard.device) - network.pose_mean) / network.pose_deviation
        latents = network.decode(heard, asked[None], valid) * network.latent_deviation + network.latent_mean
        return Spoken(_array(latents[0]), poses)


def digest(samples: Floats, first: int, settings: bytes) -> bytes:
    """What decides a window, in few bytes."""
    return blake2b(samples.tobytes() + f"{first}".encode() + settings, digest_size=16).digest()


def _array(tensor: Tensor) -> Floats:
    return tensor.float().cpu().numpy()
