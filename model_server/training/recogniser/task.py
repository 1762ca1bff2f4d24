"""What the recogniser learns from a batch, as one module, fit for DDP."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.networks.speech_recogniser.recogniser import BLANK, Recogniser
from model_server.training.losses import Losses, known_l1, weighted
from model_server.training.recogniser.config import RecogniserConfig
from model_server.training.recogniser.data import UNKNOWN, Batch


class PhonemeTask(nn.Module):
    """CTC on the texts' phonemes, cross-entropy on frames of known times, loudness, voice and pitch."""

    def __init__(self, recogniser: Recogniser, config: RecogniserConfig) -> None:
        super().__init__()
        self.recogniser, self.weights = recogniser, config

    def forward(self, batch: Batch) -> tuple[Tensor, Losses]:
        """Total and single losses."""
        valid = batch.valid
        heard = self.recogniser(batch.mel, valid)
        middle = self.recogniser.ctc_head(heard.hidden[len(heard.hidden) // 2 - 1])
        losses = {
            "ctc": ctc_loss(heard.ctc, batch),
            "middle": ctc_loss(middle, batch),
            "frames": _frame_loss(heard.frames, batch.frames),
            "energy": known_l1(heard.energy, batch.energy),
            "voicing": _voicing_loss(heard.voicing, batch.voiced),
            "pitch": known_l1(heard.pitch, batch.pitch),
        }
        with torch.no_grad():
            known = batch.frames != UNKNOWN
            right = (heard.frames.argmax(-1) == batch.frames) & known
            losses["frame_accuracy"] = right.sum() / known.sum().clamp(min=1)
        names = ("ctc", "middle", "frames", "energy", "voicing", "pitch")
        return weighted(losses, self.weights, names), losses


def ctc_loss(logits: Tensor, batch: Batch) -> Tensor:
    """CTC loss per phoneme unit (Graves et al. 2006) of logits (n, t, classes).

    A batch without any unit counts as one; sounds without units are to be all blank.
    """
    known = batch.unit_counts >= 0
    scores = F.log_softmax(logits.float(), -1).transpose(0, 1)
    each = F.ctc_loss(
        scores, batch.units, batch.steps, batch.unit_counts.clamp(min=0), BLANK, reduction="none", zero_infinity=True
    )
    return (each * known).sum() / batch.unit_counts.clamp(min=0).sum().clamp(min=1)


def _frame_loss(logits: Tensor, classes: Tensor) -> Tensor:
    entropy = F.cross_entropy(
        logits.float().flatten(0, 1), classes.flatten(), ignore_index=UNKNOWN, reduction="sum", label_smoothing=0.05
    )
    return entropy / (classes != UNKNOWN).sum().clamp(min=1)


def _voicing_loss(logits: Tensor, voiced: Tensor) -> Tensor:
    known = torch.isfinite(voiced)
    entropy = F.binary_cross_entropy_with_logits(logits.float(), torch.where(known, voiced, 0), reduction="none")
    return (entropy * known).sum() / known.sum().clamp(min=1)
