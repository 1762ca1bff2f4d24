"""What a content holds of the phonemes is read from it, and nothing else."""

from pathlib import Path

import numpy as np
import pytest

from model_server.corpus.shards import Corpus
from model_server.corpus.speech.clips import read_speech_clip
from model_server.evaluation.content_readout import phonemes_at_frames, readout_figures
from model_server.synthetic.pronunciation import UNITS

pytest.importorskip("espeakng_loader")


class _Deaf:
    """A recogniser that must not be asked, as all times are known."""

    units = UNITS


def test_phonemes_of_frames_are_those_of_their_middles(voices: Path) -> None:
    clip = read_speech_clip(Corpus.open(voices), "espeak-0-000001")
    assert clip.unit_times is not None
    said = phonemes_at_frames(clip, 25, _Deaf())  # type: ignore[arg-type]
    for frame, number in enumerate(said.tolist()):
        middle = (frame + 0.5) / 25
        row = next(row for row in clip.unit_times if row[1] <= middle < row[2])
        assert number == row[0] + 1


def test_only_contents_that_hold_phonemes_give_them(voices: Path) -> None:
    corpus = Corpus.open(voices)
    exact = [(corpus, entry) for entry in corpus.entries if entry.source == "espeak"]
    rng = np.random.default_rng(0)
    told = [phonemes_at_frames(read_speech_clip(*_named(item)), item[1].frames + 1, _Deaf()) for item in exact]  # type: ignore[arg-type]

    def knowing(windows: np.ndarray) -> np.ndarray:
        mine = told.pop(0)[: len(windows)]
        return np.eye(80, dtype=np.float32)[mine] + rng.normal(0, 0.1, (len(windows), 80)).astype(np.float32)

    figures = readout_figures(knowing, _Deaf(), exact[:5], exact[5:])  # type: ignore[arg-type]
    assert figures.all > 0.9 and figures.frames > 50

    def guessing(windows: np.ndarray) -> np.ndarray:
        return rng.normal(size=(len(windows), 80)).astype(np.float32)

    assert readout_figures(guessing, _Deaf(), exact[:5], exact[5:]).spoken < 0.2  # type: ignore[arg-type]


def _named(item: tuple) -> tuple:
    return item[0], item[1].name
