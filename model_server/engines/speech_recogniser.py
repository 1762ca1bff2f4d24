"""A trained phoneme recogniser at work on sound of any length, and its weights file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model_server.errors import ErrorKind, PoseDubError, first_line
from model_server.files import replacing, share_as_usual
from model_server.surroundings import naming

if TYPE_CHECKING:
    from model_server.networks.speech_recogniser.recogniser import Recogniser

FORMAT = "posedub-speech-recogniser-1"
STEPS_PER_SECOND = 50
_WINDOW = 1500  # steps computed at once

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class HeardSpeech:
    """What was heard in t steps of 20 ms.

    Attributes:
        ctc: (t, 1 + units) log-probabilities; class 0 is the blank.
        frames: (t, 1 + units) log-probabilities of the phoneme unit in each step; class 0 is silence.
        energy: (t,) loudness, 0 to about 1.
        voiced: (t,) probability that the voice sounds.
        pitch: (t,) octaves above 150 Hz where it does.
        hidden: (blocks, t, width) features of all blocks.
    """

    ctc: Floats
    frames: Floats
    energy: Floats
    voiced: Floats
    pitch: Floats
    hidden: Floats


class SpeechRecogniser:
    """Listens.

    Args:
        network: trained; what it says is asked for by `hear`, its features are read by others, too.
        units: names of its phoneme units.
        facts: what is known of its training.
    """

    def __init__(self, network: Recogniser, units: tuple[str, ...], facts: dict[str, object]) -> None:
        self.network = network.eval()
        self.units, self.facts = units, facts

    def hear(self, samples: Floats) -> HeardSpeech:
        """What is said in mono 16 kHz samples (n,), brought to the reference loudness first."""
        import torch

        from model_server.networks.speech_recogniser.log_mel import REFERENCE_RMS, log_mel
        from model_server.networks.speech_recogniser.recogniser import heard_in_windows

        level = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0
        scaled = torch.from_numpy(samples * np.float32(REFERENCE_RMS / max(level, 1e-4)))
        with torch.inference_mode():
            heard = heard_in_windows(self.network, log_mel(scaled[None]), _WINDOW)
            ctc, frames = (logits[0].log_softmax(-1).numpy() for logits in (heard.ctc, heard.frames))
            hidden = torch.cat(heard.hidden).numpy()
            energy, voiced, pitch = heard.energy[0], heard.voicing[0].sigmoid(), heard.pitch[0]
        return HeardSpeech(ctc, frames, energy.numpy(), voiced.numpy(), pitch.numpy(), hidden)


def save_recogniser(network: Recogniser, units: tuple[str, ...], facts: dict[str, object], path: Path) -> None:
    """Write a recogniser as safetensors, matrices in half precision."""
    from safetensors.torch import save_file

    state = network.state_dict()
    halved = {name: (value.half() if value.ndim > 1 else value).contiguous() for name, value in state.items()}
    metadata = {
        "format": FORMAT,
        "size": json.dumps(asdict(network.size)),
        "units": json.dumps(units),
        "facts": json.dumps(facts),
    }
    with naming(path), replacing(path) as part:
        save_file(halved, part, metadata)
        share_as_usual(part)


def load_recogniser(path: Path) -> SpeechRecogniser:
    """Read a recogniser that `save_recogniser` wrote.

    Raises:
        PoseDubError: missing, damaged or something else.
    """
    from safetensors import SafetensorError, safe_open

    from model_server.networks.speech_recogniser.recogniser import Recogniser, RecogniserSize

    if not path.is_file():
        sentence = f"There is no speech recogniser at {path}; train one with posedub train --preset recogniser."
        raise PoseDubError(sentence, ErrorKind.NOT_FOUND)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 - the handle is no mapping
        if metadata.get("format") != FORMAT:
            raise ValueError("it is no speech recogniser")
        network = Recogniser(RecogniserSize(**json.loads(metadata["size"])))
        network.load_state_dict(state)
        return SpeechRecogniser(network, tuple(json.loads(metadata["units"])), json.loads(metadata["facts"]))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        sentence = f"The speech recogniser {path} cannot be read ({first_line(error)}); export it again."
        raise PoseDubError(sentence, ErrorKind.CORRUPT) from error
