"""Recordings whose times are known speak in place of eSpeak NG."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_server.corpus.actor.script import monologue
from model_server.corpus.shards import Entry, Index, write_index, write_shard
from model_server.corpus.speech.aligned_voices import AlignedVoices
from model_server.corpus.speech.build import found_times, spoken_clip, with_pauses
from model_server.corpus.speech.forced_alignment import STEP
from model_server.engines.speech_recogniser import HeardSpeech
from model_server.errors import PoseDubError
from model_server.synthetic.pronunciation import UNITS, Word
from model_server.synthetic.speaking_motion import pauses
from model_server.synthetic.speech import Phoneme

pytest.importorskip("espeakng_loader")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers' clips with times, one without, one kept for tests, and one of eSpeak NG."""
    folder = tmp_path_factory.mktemp("recordings")
    made = [replace(spoken_clip(0, k, ()), name=f"clip{k}", identity=f"who{k % 2}", source="talk") for k in range(5)]
    made[3] = replace(made[3], unit_times=None)
    made.append(spoken_clip(0, 5, ()))
    write_shard(folder / "shard-00000.safetensors", made)
    splits = ["train", "train", "train", "train", "test", "train"]
    entries = [
        Entry(clip.name, clip.identity, clip.source, clip.frames, "shard-00000.safetensors", split)
        for clip, split in zip(made, splits, strict=True)
    ]
    write_index(folder, Index(tuple(entries)))
    return folder


def test_one_speaker_fills_the_time(recordings: Path) -> None:
    voices = AlignedVoices(recordings)
    for seed in range(4):
        speech = voices.speech(np.random.default_rng(seed), 6.0)
        assert speech.duration >= 6.0 and speech.sample_rate == 16000
        starts, ends = (np.array([getattr(p, name) for p in speech.phonemes]) for name in ("start", "end"))
        assert (ends >= starts).all() and np.abs(starts[1:] - ends[:-1]).max() < 0.02
        assert ends[-1] == pytest.approx(speech.duration, abs=0.02)
        assert {p.symbol for p in speech.phonemes} <= {"", *UNITS}
        again = voices.speech(np.random.default_rng(seed), 6.0)
        assert np.array_equal(again.samples, speech.samples)


def test_vowels_are_louder_than_pauses(recordings: Path) -> None:
    speech = AlignedVoices(recordings).speech(np.random.default_rng(1), 8.0)

    def level(symbols: str) -> float:
        spans = [p for p in speech.phonemes if p.symbol in symbols.split() or (not symbols and not p.symbol)]
        parts = [speech.samples[int(p.start * 16000) : int(p.end * 16000)] for p in spans]
        return float(np.sqrt(np.mean(np.concatenate(parts) ** 2)))

    assert level("a ɑ e ɛ ɪ i o u ɔ ə ʊ") > 5 * level("")


def test_a_corpus_without_times_is_refused(voices: Path) -> None:
    with pytest.raises(PoseDubError, match="--recogniser"):
        AlignedVoices(voices)


class _Listener:
    """Hears a word of two units in the middle, or nothing of it."""

    def __init__(self, fits: bool) -> None:
        classes = [0] * 10 + [1] * 5 + [2] * 5 + [0] * 10
        frames = np.full((30, 1 + len(UNITS)), np.log(1e-4), np.float32)
        frames[np.arange(30), classes if fits else [9] * 30] = np.log(0.99)
        nothing = np.zeros(30, np.float32)
        ctc = np.full_like(frames, np.log(1e-4))
        ctc[:, 0] = np.log(0.99)
        self._heard = HeardSpeech(ctc, frames, nothing, nothing, nothing, np.zeros((1, 30, 2), np.float32))

    def hear(self, samples: np.ndarray) -> HeardSpeech:
        return self._heard


def test_times_are_found_where_the_text_fits() -> None:
    words, samples = [Word("x", (UNITS[0], UNITS[1]))], np.zeros(30 * 320, np.float32)
    times = found_times(samples, words, _Listener(True))  # type: ignore[arg-type]
    assert times is not None and times[:, 0].tolist() == [-1, 0, 1, -1]
    assert times[:, 1] / STEP == pytest.approx([0, 10, 15, 20], abs=0.5) and times[-1, 2] == pytest.approx(0.6)
    assert found_times(samples, words, _Listener(False)) is None  # type: ignore[arg-type]


def test_pauses_fill_the_gaps() -> None:
    rows = with_pauses([Phoneme("tʃ", 0.1, 0.3), Phoneme("a", 0.3, 0.4), Phoneme("b", 0.6, 0.7)], 0.7)
    assert [UNITS[int(u)] if u >= 0 else "" for u in rows[:, 0]] == ["", "t", "ʃ", "a", "", "b"]
    assert rows[1:, 1] == pytest.approx(rows[:-1, 2])


def test_the_renderer_speaks_them(recordings: Path) -> None:
    if not os.environ.get("POSEDUB_ICT"):
        pytest.skip("POSEDUB_ICT does not name ICT-FaceKit's ict.npz")
    from model_server.corpus.build import Shares
    from model_server.corpus.synthetic import IdentityMaker, Settings, plan

    settings = Settings(
        Path(os.environ["POSEDUB_ICT"]), 1, 1, 12, texture=64, strands=50, supersampling=1, speech=recordings,
        speech_share=1.0,
    )  # fmt: skip
    assert plan(settings, Shares()).settings["speech"] == recordings.name
    (spoken,) = IdentityMaker(settings)(0)[0]
    (other,) = IdentityMaker(replace(settings, speech=None))(0)[0]
    assert spoken.visemes is not None and spoken.visemes.shape == (12, 17)
    assert (spoken.mel.shape == other.mel.shape) and not np.array_equal(spoken.mel, other.mel)


def test_a_synthetic_actor_says_recordings_with_pauses(recordings: Path) -> None:
    spoken = [monologue(np.random.default_rng(seed), 8.0, (), recordings, 1.0) for seed in range(6)]
    for speech in spoken:
        assert speech.duration >= 8.0 and {p.symbol for p in speech.phonemes} <= {"", *UNITS}
        assert not any(p.symbol for p in speech.phonemes if p.end < 0.4)
    said = [speech for speech in spoken if any(p.symbol for p in speech.phonemes)]
    assert len(said) > 3 and all(len(pauses(speech)) >= 2 for speech in said)
