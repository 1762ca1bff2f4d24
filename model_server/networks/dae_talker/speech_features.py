"""What speech2latent hears: the outputs of all blocks of a frozen speech network, and the voice's prosody beside them.

The paper takes wav2vec 2.0; its weights cannot be shipped. Our own phoneme recogniser stands in for it where no file of
them is given (our choice).
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn

from model_server.networks.dae_talker.speech2latent import SpeechFeatures
from model_server.networks.dae_talker.wav2vec2 import STEP, Wav2Vec2
from model_server.networks.speech_recogniser.log_mel import log_mel
from model_server.networks.speech_recogniser.recogniser import Recogniser

SpeechNetwork: TypeAlias = Recogniser | Wav2Vec2

# Steps to either side that wav2vec 2.0, which sees all it is given, is given beyond those that are wanted: our choice.
_WAV2VEC2_CONTEXT = 50


class SpeechReader(Protocol):
    """Reads features of speech out of a frozen network.

    Attributes:
        layers, features, prosody: see `Speech2LatentSize`.
        context: steps of 20 ms before and after a step whose sound counts for it, too.
    """

    layers: int
    features: int
    prosody: int
    context: int

    def read(self, samples: Tensor) -> SpeechFeatures:
        """Features of mono 16 kHz sounds (n, t) at the reference loudness, one step for 320 samples begun."""
        ...


class RecogniserReader:
    """Implements `SpeechReader` with the phoneme recogniser: loudness, voicing and pitch are its prosody."""

    prosody = 3

    def __init__(self, network: Recogniser) -> None:
        self.network = network
        self.layers, self.features = network.size.blocks, network.size.width
        self.context = network.size.context

    @torch.no_grad()
    def read(self, samples: Tensor) -> SpeechFeatures:
        """See `SpeechReader.read`."""
        heard = self.network(log_mel(samples).to(_device(self.network)))
        return SpeechFeatures(torch.stack(heard.hidden, 1), heard.prosody)


class Wav2Vec2Reader:
    """Implements `SpeechReader` with wav2vec 2.0, as the paper does; nothing is beside its features."""

    prosody = 0

    def __init__(self, network: Wav2Vec2) -> None:
        self.network = network
        self.layers, self.features = 1 + network.size.blocks, network.size.width
        self.context = _WAV2VEC2_CONTEXT

    @torch.no_grad()
    def read(self, samples: Tensor) -> SpeechFeatures:
        """See `SpeechReader.read`."""
        whole = torch.nn.functional.pad(samples, (0, -samples.shape[-1] % STEP))
        layers = torch.stack(self.network(whole.to(_device(self.network))), 1)
        return SpeechFeatures(layers, layers.new_zeros(*layers[:, 0, :, 0].shape, 0))


def reader_of(network: SpeechNetwork) -> SpeechReader:
    """What reads features out of a speech network."""
    return RecogniserReader(network) if isinstance(network, Recogniser) else Wav2Vec2Reader(network)


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device
