"""The stage `phonemes` learns, resumes exactly, and what comes out listens and aligns."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from model_server.cli.train import UNFINISHED
from model_server.engines.speech_recogniser import load_recogniser
from model_server.errors import PoseDubError
from model_server.evaluation.speech_recognition import decoded_units, edit_distance
from model_server.networks.speech_recogniser.recogniser import Recogniser
from model_server.training.distributed import ProcessGroup
from model_server.training.recogniser.config import PRESETS, RecogniserConfig
from model_server.training.recogniser.data import UNKNOWN, VoiceStore, example, joined, sample_batch
from model_server.training.recogniser.sound_augment import Augmented
from model_server.training.recogniser.task import PhonemeTask
from model_server.training.recogniser.trainer import RecogniserTrainer
from model_server.training.settings import changed
from model_server.training.timing import Limits
from tests.recogniser.conftest import command, say

ALONE = ProcessGroup(0, 1, torch.device("cpu"))
TINY = {"width": 32, "blocks": 2, "heads": 2, "reach": 16, "kernel": 5, "seconds": 6, "log_every": 2, "dropout": 0}


@pytest.fixture(scope="module")
def tiny() -> RecogniserConfig:
    return changed(PRESETS["recogniser"], {**TINY, "steps": 4})


@pytest.fixture(scope="module")
def store(voices: Path) -> VoiceStore:
    return VoiceStore([voices], "train", 1.0)


def test_two_and_two_steps_are_four_steps(tiny: RecogniserConfig, voices: Path, tmp_path: Path) -> None:
    whole = RecogniserTrainer(tiny, [voices], tmp_path / "whole", ALONE)
    assert whole.train()
    first = RecogniserTrainer(tiny, [voices], tmp_path / "parts", ALONE)
    assert not first.train(Limits(steps=2)) and first.step == 2
    rest = RecogniserTrainer(tiny, [voices], tmp_path / "parts", ALONE)
    assert rest.step == 2 and rest.train()
    pairs = zip(rest.models.state_dict().values(), whole.models.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert str(rest.optimizer.state_dict()) == str(whole.optimizer.state_dict())
    lines = [json.loads(line) for line in (tmp_path / "whole" / "losses.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4] and {"ctc", "unseen_ctc", "gradient"} <= lines[0].keys()


def test_other_settings_are_refused(tiny: RecogniserConfig, voices: Path, tmp_path: Path) -> None:
    RecogniserTrainer(changed(tiny, {"steps": 1}), [voices], tmp_path, ALONE).train()
    with pytest.raises(PoseDubError, match="other settings"):
        RecogniserTrainer(changed(tiny, {"ctc": 2}), [voices], tmp_path, ALONE)
    assert RecogniserTrainer(changed(tiny, {"steps": 2}), [voices], tmp_path, ALONE).step == 1


def test_settings_are_named(tiny: RecogniserConfig) -> None:
    with pytest.raises(PoseDubError, match="no setting colour"):
        changed(tiny, {"colour": 1})
    with pytest.raises(PoseDubError, match="cannot be 'many'"):
        changed(tiny, {"steps": "many"})


def test_a_batch_seen_often_is_said_back(tiny: RecogniserConfig, store: VoiceStore) -> None:
    torch.manual_seed(1)
    config = changed(tiny, {"width": 64})
    voices = [store[k] for k in range(len(store)) if store[k].clip.units is not None][:3]
    batch = joined([example(voice.clip, Augmented(voice.samples)) for voice in voices])
    recogniser = Recogniser(config.size, 0.0)
    task = PhonemeTask(recogniser, config).train()
    optimizer = torch.optim.Adam(task.parameters(), 4e-3)
    for step in range(160):
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * min(1, (step + 1) / 20, (160 - step) / 60)
        optimizer.zero_grad()
        task(batch)[0].backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), 5.0)
        optimizer.step()
    with torch.no_grad():
        heard = recogniser.eval()(batch.mel, batch.valid)
    texts = [units[:count].sub(1).tolist() for units, count in zip(batch.units, batch.unit_counts, strict=True)]
    said = [decoded_units(row[:steps].numpy()) for row, steps in zip(heard.ctc, batch.steps, strict=True)]
    assert sum(map(edit_distance, said, texts)) <= 0.1 * sum(map(len, texts))
    known = torch.isfinite(batch.pitch)
    assert (heard.pitch - batch.pitch)[known].abs().mean() < 0.15


def test_labels_move_with_the_sound(store: VoiceStore) -> None:
    voice = next(v for v in map(store.__getitem__, range(len(store))) if v.clip.unit_times is not None)
    plain = example(voice.clip, Augmented(voice.samples))
    slow = np.concatenate([np.zeros(8000, np.float32), np.repeat(voice.samples, 2)])
    moved = example(voice.clip, Augmented(slow, rate=0.5, lead=0.5, octaves=-1.0))
    count = len(plain.frames) - 1
    assert np.array_equal(moved.frames[25:][: 2 * count : 2], plain.frames[:count]) or (
        np.mean(moved.frames[25:][: 2 * count : 2] == plain.frames[:count]) > 0.9
    )
    assert (moved.frames[:25] == 0).all() and (moved.energy[:25] == 0).all()
    assert np.nanmedian(moved.pitch) == pytest.approx(np.nanmedian(plain.pitch) - 1, abs=0.05)


def test_what_is_not_known_is_not_learnt(store: VoiceStore) -> None:
    by_name = {store[k].clip.name: store[k] for k in range(len(store))}
    wordless, recorded = by_name["source-bob-wordless"], by_name["source-ann-1"]
    padded = np.pad(recorded.samples, (3200, 3200))
    batch = joined([
        example(wordless.clip, Augmented(wordless.samples)), example(recorded.clip, Augmented(padded, lead=0.2)),
    ])  # fmt: skip
    assert batch.unit_counts.tolist()[0] == -1 and (batch.frames[0] == UNKNOWN).all()
    assert (batch.frames[1, :10] == 0).all() and (batch.frames[1, 12:20] == UNKNOWN).all()


def test_batches_come_from_their_seed_alone(store: VoiceStore) -> None:
    batches = [sample_batch(store, 8, 1.0, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert torch.equal(batches[0].mel, batches[1].mel) and torch.equal(batches[0].units, batches[1].units)
    assert batches[0].mel.shape != batches[2].mel.shape or not torch.equal(batches[0].mel, batches[2].mel)
    assert all(torch.isfinite(batch.mel).all() for batch in batches)


def test_commands_from_training_to_words(voices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, weights = tmp_path / "run", tmp_path / "ears.safetensors"
    settings = [f"{key}={value}" for key, value in {**TINY, "steps": 3}.items()]
    train = ["train", "--preset", "recogniser", "--corpus", voices, "--out", run, "--set", *settings]
    assert command(*train, "--max-minutes", "0.001") == UNFINISHED
    assert command(*train) == 0
    assert command("checkpoint", "export", run, "--out", weights) == 0
    assert load_recogniser(weights).facts["steps"] == 3

    table = tmp_path / "figures"
    grid = say("place blue at k four now", tmp_path / "grid" / "s7_pbak4n.wav").parent
    times = "0 9000 sil\n9000 12000 place\n12000 15000 blue\n15000 17000 at\n17000 20000 k\n20000 25000 four\n"
    (grid / "s7_pbak4n.align").write_text(times + "25000 29000 now\n")
    assert command("evaluate", voices, grid, "--recogniser", weights, "--split", "test", "--out", table) == 0
    text = table.with_suffix(".md").read_text()
    assert "| source (en) | 1 | 1 |" in text and "Starts of 6 words in grid: median" in text
    assert "phonemes whose times are exact" in text

    sound = say("nobody moved", tmp_path / "x.wav")
    assert command("corpus", "align", sound, "--text", "Nobody moved.", "--recogniser", run, "--out", tmp_path) == 0
    rows = [line.split("\t") for line in (tmp_path / "x.tsv").read_text().splitlines()[1:]]
    assert [row[3] for row in rows if row[0] == "word"] == ["Nobody", "moved"]
    times = [(float(row[1]), float(row[2])) for row in rows if row[0] == "phoneme"]
    assert all(a < b for a, b in times) and times == sorted(times)
    grid = (tmp_path / "x.TextGrid").read_text()
    assert grid.count("IntervalTier") == 2 and 'text = "Nobody"' in grid
    with pytest.raises(PoseDubError, match="not known"):
        command("corpus", "align", say("a", tmp_path / "y.wav"), "--recogniser", run, "--out", tmp_path)
