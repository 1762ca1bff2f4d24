"""Fits the gate of a trained speech encoder: which of its contents are speech, and which are noise or music.

The encoder tells them apart without having been asked to, so a linear reading of its contents is enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model_server.corpus.shards import FPS
from model_server.corpus.sound import clip_mel
from model_server.engines.base import WeightsInfo
from model_server.engines.pcavs.engine import PcavsEngine
from model_server.engines.weights_file import read_state
from model_server.errors import PoseDubError
from model_server.features import SAMPLE_RATE, clip_windows
from model_server.networks.pcavs.model import build
from model_server.networks.pcavs.presets import OPTIONAL_PARTS
from model_server.training.pcavs.teaching_voices import TeachingVoices

_BATCH = 64
_STRENGTH = 0.7  # of the sound's changes
_STEPS, _RATE, _DECAY = 600, 3e-3, 0.05
_SURE = 0.5
# Log-odds are sharpened, so that speech passes whole, and lean to it: lips that rest in speech are the worse mistake.
_SHARP, _LEAN = 3.0, 1.5


@dataclass(frozen=True)
class Heard:
    """Contents of sounds, each surely speech or surely none.

    Attributes:
        contents: (n, content).
        speech: (n,) bool.
    """

    contents: Tensor
    speech: Tensor


@dataclass(frozen=True)
class SpeechGateFit:
    """A gate, and how well it does on voices it was not fitted to.

    Attributes:
        state: tensors of `SpeechGate`, by their names in a weights file.
        kept: share of speech that passes.
        let_through: share of other sounds that pass.
    """

    state: dict[str, Tensor]
    kept: float
    let_through: float


def fit_speech_gate(engine: PcavsEngine, known: TeachingVoices, unknown: TeachingVoices, count: int) -> SpeechGateFit:
    """Fit a gate for the weights of `engine`, which has none, see `ungated`.

    Args:
        engine: hears.
        known: voices to fit to.
        unknown: voices to judge by.
        count: windows to fit to; half as many to judge by.

    Raises:
        PoseDubError: the voices give too little of one of both.
    """
    weight, bias = _separate(hear(engine, known, count, 0))
    weight, bias = _SHARP * weight, _SHARP * bias + _LEAN
    rest = torch.from_numpy(engine.speech_contents(_silence())[0])
    parts = {"speech_head.weight": weight[None], "speech_head.bias": bias[None], "rest": rest}
    state = {OPTIONAL_PARTS["speech_gate"] + name: value for name, value in parts.items()}
    judged = hear(engine, unknown, count // 2, 1)
    passes = torch.sigmoid(judged.contents @ weight + bias) > _SURE
    return SpeechGateFit(state, *(float(passes[rows].float().mean()) for rows in (judged.speech, ~judged.speech)))


def ungated(weights: WeightsInfo) -> PcavsEngine:
    """An engine with weights, without the gate that they may have."""
    if weights.path is None:
        raise PoseDubError("Untrained weights tell no speech from noise; give trained ones.")
    state = read_state(weights.path)
    kept = {name: value for name, value in state.items() if not name.startswith(OPTIONAL_PARTS["speech_gate"])}
    return PcavsEngine(build(weights.preset, kept), weights, "cpu", "fp32")


def hear(engine: PcavsEngine, voices: TeachingVoices, count: int, seed: int) -> Heard:
    """Contents of `count` windows of voices and of other sounds, without those in between."""
    rng = np.random.default_rng(seed)
    contents, speech, clear = [], [], []
    for _ in range(-(-count // _BATCH)):
        part = voices.sample(_BATCH, _STRENGTH, rng)
        contents.append(torch.from_numpy(engine.speech_contents(part.windows[:, 0].cpu().numpy())))
        spoken = (part.phonemes[:, 0] < 1 - _SURE).cpu() & ~part.wordless.cpu()
        speech.append(spoken)
        clear.append(spoken | part.wordless.cpu())
    told = torch.cat(clear)
    found = Heard(torch.cat(contents)[told], torch.cat(speech)[told])
    if found.speech.all() or not found.speech.any():
        raise PoseDubError("The voices give only speech, or none; take a larger corpus of voices.")
    return found


def _silence() -> NDArray[np.float32]:
    """A window (1, 80, 20) in which nothing is heard."""
    samples = np.zeros(SAMPLE_RATE, np.float32)
    return clip_windows(clip_mel(samples, FPS, 1.0), [FPS // 2], Fraction(FPS))


def _separate(heard: Heard) -> tuple[Tensor, Tensor]:
    """Weight (content,) and bias of a logistic regression in which speech and the rest count alike."""
    middle, spread = heard.contents.mean(0), heard.contents.std(0).clamp(min=1e-6)
    rows, speech = (heard.contents - middle) / spread, heard.speech.float()
    balance = (1 - speech).sum() / speech.sum()
    weight, bias = torch.zeros(rows.shape[1], requires_grad=True), torch.zeros((), requires_grad=True)
    optimizer = torch.optim.AdamW([weight, bias], lr=_RATE, weight_decay=_DECAY)
    for _ in range(_STEPS):
        loss = F.binary_cross_entropy_with_logits(rows @ weight + bias, speech, pos_weight=balance)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scaled = weight.detach() / spread
    return scaled, bias.detach() - scaled @ middle
