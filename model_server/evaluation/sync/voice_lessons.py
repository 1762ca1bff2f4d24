"""What other voices say, for the sync judge's hearing: corpora of clips with pictures have few speakers, these many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.engines.speech_recogniser import SpeechRecogniser
from model_server.networks.sync_network import EMBEDDING, SyncNetwork
from model_server.synthetic.visemes import VISEMES
from model_server.training.pcavs.teaching_voices import TeachingVoices, VoiceWindows

_STRENGTH = 0.5  # of the sound's changes
_AT_ONCE = 64
_VISEMES = 4.0  # weight of their squared error, which is small beside the phonemes' cross-entropy


@dataclass(frozen=True)
class Voices:
    """Corpora of voices.

    Attributes:
        folders: of the corpora.
        recogniser: hears what is said where a corpus does not know.
        windows: taken of them, once.
    """

    folders: Sequence[Path]
    recogniser: SpeechRecogniser
    windows: int = 8000


class VoiceLessons(nn.Module):
    """Has the embeddings of sound tell what is said, and which mouth belongs to it."""

    def __init__(self, voices: Voices, seed: int) -> None:
        super().__init__()
        teaching = TeachingVoices(voices.folders, "train", voices.recogniser, torch.device("cpu"))
        rng = np.random.default_rng(seed)
        parts = [teaching.sample(_AT_ONCE, _STRENGTH, rng) for _ in range(-(-voices.windows // _AT_ONCE))]
        names = VoiceWindows.__dataclass_fields__
        self._bank = VoiceWindows(*(torch.cat([getattr(part, name) for part in parts]) for name in names))
        self.readout = nn.Linear(EMBEDDING, self._bank.phonemes.shape[1] + len(VISEMES))

    def loss(self, network: SyncNetwork, rng: np.random.Generator, count: int) -> Tensor:
        """Cross-entropy of phonemes, and error of mouths where these are known, for `count` windows."""
        rows = torch.from_numpy(rng.integers(len(self._bank.windows), size=count))
        told = self.readout(network.sound(self._bank.windows[rows, 0]))
        phonemes, visemes = told.split([told.shape[1] - len(VISEMES), len(VISEMES)], 1)
        true, known = self._bank.visemes[rows], self._bank.visemes[rows].isfinite().all(1)
        mouths = F.mse_loss(visemes[known], true[known]) if known.any() else visemes.sum() * 0
        return F.cross_entropy(phonemes, self._bank.phonemes[rows]) + _VISEMES * mouths
