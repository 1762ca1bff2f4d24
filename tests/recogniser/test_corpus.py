"""Voices are found in every layout, and a corpus keeps what they say."""

from pathlib import Path

import numpy as np
import pytest

from model_server.corpus.shards import Corpus
from model_server.corpus.speech.clips import decoded_sound, read_speech_clip
from model_server.corpus.speech.layouts import SpeechSource, find_speech
from model_server.corpus.speech.prosody import energy, pitch
from model_server.errors import PoseDubError
from model_server.synthetic.pronunciation import UNITS
from tests.recogniser.conftest import command, say

pytest.importorskip("espeakng_loader")


def found(folder: Path) -> dict[str, SpeechSource]:
    return {source.name: source for source in find_speech([folder])}


def test_a_list_of_files(tmp_path: Path) -> None:
    say("nobody", tmp_path / "us" / "a.wav")
    say("niemand", tmp_path / "de" / "b.wav", "de")
    (tmp_path / "index.tsv").write_text(
        'file\tspeaker\tlanguage\ttext\tlicence\nus/a.wav\tann\ten\tnobody "at home"\tCC0\nde/b.wav\tbea\tde\t\tCC0\n'
    )
    sources = found(tmp_path)
    assert sources["us-a"].text == 'nobody "at home"' and sources["us-a"].licence == "CC0"
    assert (sources["de-b"].speaker, sources["de-b"].language, sources["de-b"].text) == ("bea", "de", "")
    (tmp_path / "index.tsv").write_text("file\twho\nus/a.wav\tann\n")
    with pytest.raises(PoseDubError, match="lacks columns"):
        find_speech([tmp_path])


def test_lj_speech(tmp_path: Path) -> None:
    say("nobody", tmp_path / "wavs" / "LJ001-0001.wav")
    (tmp_path / "metadata.csv").write_text("LJ001-0001|No. 1|number one\nLJ001-0002|not here|not here\n")
    (source,) = find_speech([tmp_path])
    assert (source.name, source.text, source.collection) == ("LJ001-0001", "number one", "ljspeech")


def test_librispeech(tmp_path: Path) -> None:
    say("nobody", tmp_path / "19" / "198" / "19-198-0000.flac")
    (tmp_path / "19" / "198" / "19-198.trans.txt").write_text("19-198-0000 NOBODY CAME\n19-198-0001 LOST\n")
    (source,) = find_speech([tmp_path])
    assert (source.name, source.speaker, source.text) == ("19-198-0000", "libri-19", "nobody came")


def test_grid(tmp_path: Path) -> None:
    say("place blue at a four now", tmp_path / "s7_pbaa4n.wav")
    (tmp_path / "s7_pbaa4n.align").write_text(
        "0 5000 sil\n5000 9000 place\n9000 12000 blue\n12000 13000 at\n"
        "13000 14000 sp\n13000 15000 a\n15000 19000 four\n"
    )
    (source,) = find_speech([tmp_path])
    assert (source.name, source.speaker) == ("grid-s7-pbaa4n", "grid-s7")
    assert source.text == "place blue at eh four" and source.language.startswith("en-gb")


def test_sounds_with_and_without_texts(tmp_path: Path) -> None:
    say("nobody", tmp_path / "ann" / "one.wav").with_suffix(".txt").write_text("nobody\n")
    say("nobody", tmp_path / "two.wav")
    sources = found(tmp_path)
    assert sources[f"{tmp_path.name}-ann-one"].text == "nobody" and sources[f"{tmp_path.name}-ann-one"].speaker == "ann"
    assert sources[f"{tmp_path.name}-two"].text == ""


def test_a_folder_without_sound_says_so(tmp_path: Path) -> None:
    with pytest.raises(PoseDubError, match="no sound"):
        find_speech([tmp_path])
    with pytest.raises(PoseDubError, match="is no folder"):
        find_speech([tmp_path / "absent"])


def test_clips_keep_sound_text_and_times(voices: Path) -> None:
    corpus = Corpus.open(voices)
    assert len(corpus.entries) == 13 and corpus.names("test") == ("source-cid-kept", "espeak-0-000007")
    clip = read_speech_clip(corpus, "source-ann-1")
    assert clip.identity == "ann" and clip.facts["text"] == "nobody moved" and clip.unit_times is None
    assert clip.units is not None and "".join(UNITS[k] for k in clip.units) == "noʊbɑdimuvd".replace(
        "ɑ", UNITS[clip.units[4]]
    )
    sound = decoded_sound(clip.sound)
    assert len(sound) / 16000 == pytest.approx(clip.seconds) and np.sqrt(np.mean((sound / 32768) ** 2)) < 0.11
    assert len(clip.energy) == len(clip.pitch) == -(-len(sound) // 320)
    assert read_speech_clip(corpus, "source-bob-wordless").units is None
    exact = read_speech_clip(corpus, "espeak-0-000000")
    assert exact.unit_times is not None and exact.units is not None
    starts, ends = exact.unit_times[:, 1], exact.unit_times[:, 2]
    assert (starts[1:] == ends[:-1]).all() and ends[-1] == pytest.approx(exact.seconds, abs=0.01)
    said = exact.unit_times[exact.unit_times[:, 0] >= 0, 0]
    assert set(said.astype(int)) <= set(exact.units.tolist())


def test_the_same_command_adds_nothing_and_other_settings_are_refused(voices: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in voices.glob("shard-*")}
    with pytest.raises(PoseDubError, match="other settings"):
        command("corpus", "speech", voices.parent / "source", "--espeak", 9, "--out", voices)
    assert {path: path.stat().st_mtime_ns for path in voices.glob("shard-*")} == before


def test_unreadable_sound_is_listed(tmp_path: Path) -> None:
    say("nobody", tmp_path / "in" / "good.wav")
    (tmp_path / "in" / "bad.wav").write_bytes(b"no sound")
    assert command("corpus", "speech", tmp_path / "in", "--out", tmp_path / "out") == 0
    index = Corpus.open(tmp_path / "out").index
    assert [clip.name for clip in index.clips] == ["in-good"] and [item.source for item in index.dropped] == ["in-bad"]


@pytest.mark.parametrize("hertz", [90.0, 150.0, 310.0])
def test_pitch_of_a_known_voice(hertz: float) -> None:
    time = np.arange(16000) / 16000
    voice = sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 9)).astype(np.float32)
    voice[8000:] = 0.05 * np.random.default_rng(0).standard_normal(8000)
    heard = pitch(0.1 * voice)
    assert np.nanmedian(heard[3:22]) == pytest.approx(np.log2(hertz / 150), abs=0.02)
    assert np.isfinite(heard[3:22]).all() and np.isnan(heard[27:]).mean() > 0.8


def test_energy_is_level() -> None:
    tone = np.sin(np.arange(16000) * 0.3).astype(np.float32)
    levels = [float(np.median(energy(tone * gain))) for gain in (1.0, 0.1, 0.01, 0.0)]
    assert levels[3] == 0 and levels[0] - levels[1] == pytest.approx(1 / 3, abs=0.01) and levels[1] > levels[2] > 0
