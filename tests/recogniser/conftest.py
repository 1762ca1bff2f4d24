"""A few voices of eSpeak NG, as files of every layout and as a corpus."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from model_server.cli.main import parser
from model_server.synthetic.speech import Voice, synthesize

TEXTS = ("lay green by k two soon", "nobody moved", "we all love apple pie")


def say(text: str, path: Path, voice: str = "en-us") -> Path:
    """A sound file (16 kHz) of a text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    speech = synthesize(text, Voice(voice))
    soundfile.write(path, soxr.resample(speech.samples, speech.sample_rate, 16000), 16000)
    return path


def command(*arguments: object) -> int:
    options = parser().parse_args([str(argument) for argument in arguments])
    return options.run(options)


@pytest.fixture(scope="session")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of recordings with texts, one without, and clips with exact times; two for validation, two for tests."""
    pytest.importorskip("espeakng_loader")
    folder = tmp_path_factory.mktemp("voices")
    for number, text in enumerate(TEXTS):
        say(text, folder / "source" / "ann" / f"{number}.wav").with_suffix(".txt").write_text(text)
    say(TEXTS[0], folder / "source" / "bob" / "wordless.wav", "en-us+m3")
    say(TEXTS[1], folder / "source" / "cid" / "kept.wav", "en-us+f2").with_suffix(".txt").write_text(TEXTS[1])
    held_out = ["source-cid-*", "espeak-0-000007"]
    out = folder / "corpus"
    assert command("corpus", "speech", folder / "source", "--espeak", 8, "--val", 0.2, "--out", out,
                   "--hold-out", *held_out) == 0  # fmt: skip
    return out


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(int(16000 * seconds))).astype(np.float32)
