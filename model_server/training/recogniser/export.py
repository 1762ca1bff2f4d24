"""A recogniser's run as a weights file, or as the recogniser itself."""

from __future__ import annotations

from pathlib import Path

from model_server.engines.speech_recogniser import SpeechRecogniser, save_recogniser
from model_server.errors import ErrorKind, PoseDubError
from model_server.networks.speech_recogniser.recogniser import Recogniser
from model_server.synthetic.pronunciation import UNITS
from model_server.training import checkpoint as checkpoints
from model_server.training.recogniser.config import PRESETS, STAGE
from model_server.training.settings import changed

_AVERAGED = "averaged."


def trained_recogniser(run: Path) -> SpeechRecogniser:
    """The averaged network of a run's last checkpoint.

    Raises:
        PoseDubError: there is none, or it is of another stage.
    """
    network, facts = _finished(run)
    return SpeechRecogniser(network, UNITS, facts)


def export_recogniser(run: Path, out: Path) -> dict[str, object]:
    """Write a run's averaged network as a weights file; returns the facts that are written with it."""
    network, facts = _finished(run)
    save_recogniser(network, UNITS, facts, out)
    return facts


def _finished(run: Path) -> tuple[Recogniser, dict[str, object]]:
    path = checkpoints.latest(run)
    found = checkpoints.load(path) if path else None
    if found is None or found.stage != STAGE:
        sentence = f"There is no recogniser in {run}; train one with posedub train --preset recogniser."
        raise PoseDubError(sentence, ErrorKind.NOT_FOUND)
    config = changed(PRESETS["recogniser"], found.settings)
    network = Recogniser(config.size, config.dropout)
    state = {k.removeprefix(_AVERAGED): v for k, v in found.models.items() if k.startswith(_AVERAGED)}
    network.load_state_dict(state)
    return network.eval(), {"steps": found.steps[STAGE], "config": found.settings}
