"""What a run of the recogniser's stage does."""

from __future__ import annotations

from dataclasses import dataclass

from model_server.networks.speech_recogniser.recogniser import RecogniserSize
from model_server.synthetic.pronunciation import UNITS
from model_server.training.settings import settings_digest

STAGE = "phonemes"
_FREE = ("steps", "log_every", "checkpoint_seconds", "cached_hours")


@dataclass(frozen=True)
class RecogniserConfig:
    """A whole run. A loss weight has the name of the loss it weighs.

    Attributes:
        width, blocks, heads, reach, kernel: see `RecogniserSize`.
        steps: optimiser steps; the learning rate rises over the first `warm_up` and falls over the last two fifths.
        seconds: of sound in a batch.
        augmentation: part of all changes of the sound that are made, 1 as meant, 0 for none.
        middle: weight of the CTC loss that the middle block's output has, too (Lee and Watanabe 2021).
        cached_hours: of decoded sound kept in memory, 115 MB each.
    """

    name: str = "recogniser"
    width: int = 192
    blocks: int = 6
    heads: int = 4
    reach: int = 32
    kernel: int = 15
    dropout: float = 0.1
    steps: int = 24000
    seconds: float = 48.0
    learning_rate: float = 1e-3
    warm_up: int = 1000
    weight_decay: float = 0.01
    ema_decay: float = 0.999
    augmentation: float = 1.0
    ctc: float = 1.0
    middle: float = 0.3
    frames: float = 0.5
    energy: float = 1.0
    voicing: float = 0.1
    pitch: float = 0.3
    seed: int = 1
    log_every: int = 50
    checkpoint_seconds: float = 300.0
    cached_hours: float = 16.0

    @property
    def size(self) -> RecogniserSize:
        """Of the network."""
        return RecogniserSize(len(UNITS), self.width, self.blocks, self.heads, self.reach, self.kernel)

    def digest(self) -> str:
        """Hash of all that a checkpoint must share with the run that resumes it."""
        return settings_digest(self, _FREE)


PRESETS = {"recogniser": RecogniserConfig()}
