"""The recogniser inside the package finds the words of a text in a recording, without being told where it is."""

from pathlib import Path

import pytest

from model_server.synthetic.speech import Voice, synthesize
from tests.recogniser.conftest import TEXTS, command, say

pytest.importorskip("espeakng_loader")


@pytest.mark.parametrize(("voice", "text"), [("en-us+f3", TEXTS[0]), ("en-gb-x-rp+m5", TEXTS[2])])
def test_words_are_found_where_they_are_said(voice: str, text: str, tmp_path: Path) -> None:
    wav = say(text, tmp_path / "talk.wav", voice)
    assert command("corpus", "align", wav, "--text", text, "--out", tmp_path / "times") == 0
    rows = [line.split("\t") for line in (tmp_path / "times" / "talk.tsv").read_text().splitlines()[1:]]
    words = [(float(start), word) for tier, start, _, word in rows if tier == "word"]
    assert [word for _, word in words] == text.split()
    exact = [phoneme.start for phoneme in synthesize(text, Voice(voice)).phonemes if phoneme.symbol]
    assert all(min(abs(start - true) for true in exact) < 0.05 for start, _ in words)
    phonemes = [float(start) for tier, start, *_ in rows if tier == "phoneme"]
    assert phonemes == sorted(phonemes) and len(phonemes) >= len(words)
