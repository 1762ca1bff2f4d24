"""What a run hears with: one speech network from its first stretch of speech to the weights file."""

from __future__ import annotations

from pathlib import Path

from model_server.engines.speech_recogniser import SpeechRecogniser, load_recogniser, save_recogniser
from model_server.networks.dae_talker.speech_features import SpeechNetwork

KEPT = "recogniser.safetensors"


def kept_recogniser(run: Path, given: SpeechRecogniser | None) -> SpeechNetwork | None:
    """The recogniser that a run began with, kept beside it; else the one given, which it begins with now.

    It is kept as weights files keep it, in half precision, and read back, so that a run that goes on, the weights file
    and the engine all hear the same.
    """
    path = run / KEPT
    if not path.is_file():
        if given is None:
            return None
        run.mkdir(parents=True, exist_ok=True)
        save_recogniser(given.network, given.units, given.facts, path)
    return load_recogniser(path).network
