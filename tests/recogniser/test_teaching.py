"""The speech-content encoder learns from a recogniser what other voices say."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model_server.engines.speech_recogniser import SpeechRecogniser
from model_server.networks.speech_recogniser.recogniser import Recogniser, RecogniserSize
from model_server.synthetic.pronunciation import UNITS
from model_server.training.distributed import ProcessGroup
from model_server.training.pcavs.config import Config, named
from model_server.training.pcavs.data import Chunks, ClipStore
from model_server.training.pcavs.loop import Limits, Trainer, make_stage
from model_server.training.pcavs.models import Models
from model_server.training.pcavs.teaching_voices import Lessons, TeachingVoices
from model_server.training.recogniser.export import export_recogniser
from model_server.training.recogniser.trainer import RecogniserTrainer
from model_server.training.settings import changed
from tests.recogniser.conftest import command
from tests.training.conftest import TINY, write_corpus

ALONE = ProcessGroup(0, 1, torch.device("cpu"))
assert TINY  # its import makes the preset `tiny` known


@pytest.fixture(scope="module")
def recogniser() -> SpeechRecogniser:
    torch.manual_seed(0)
    size = RecogniserSize(len(UNITS), width=32, blocks=1, heads=2, reach=8, kernel=5)
    network = Recogniser(size)
    with torch.no_grad():
        network.frame_head.weight.mul_(20)  # sure of what it hears
    return SpeechRecogniser(network, UNITS, {})


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("heads") / "drawn")


def config(preset: str = "tiny", **changes: object) -> Config:
    small = {
        "preset": preset, "speech.steps": 4, "speech.batch": 2, "speech.window": 4, "speech.stride": 2,
        "speech.shifts": 2, "speech.voices": 12, "perceptual.width": 8, "generator.critic_width": 8, "log_every": 2,
    }  # fmt: skip
    return changed(named("lite"), small | changes)


def test_windows_are_told_what_lies_in_their_middle(voices: Path) -> None:
    class Counter:
        """Hears the number of the step."""

        def hear(self, samples: np.ndarray) -> object:
            steps = -(-len(samples) // 320)
            frames = np.zeros((steps, 64), np.float32)
            frames[:] = (np.arange(steps) / 1000)[:, None]
            return type("Heard", (), {"frames": np.log(np.maximum(frames, 1e-6))})()

    teaching = TeachingVoices([voices], "train", Counter(), ALONE.device)  # type: ignore[arg-type]
    seen = set()
    for seed in range(12):
        batch = teaching.sample(8, 0.0, np.random.default_rng(seed))
        assert batch.windows.shape == (8, 1, 80, 20) and batch.phonemes.shape == (8, 64)
        if not batch.wordless.any():
            steps = (batch.phonemes[:, 5] * 1000).numpy()
            # The middle of frame i lies between the steps 2 i and 2 i + 1.
            frames = (steps - 0.5) / 2
            seen.update(np.round(np.abs(frames - np.round(frames)), 1).tolist())
        else:
            assert batch.wordless.all() and torch.equal(batch.phonemes[:, 0], torch.ones(8))
    assert seen == {0.0}


@pytest.mark.parametrize("preset", ["tiny", "lite", "full"])
def test_what_was_heard_is_learnt(preset: str, voices: Path, heads: Path, recogniser: SpeechRecogniser) -> None:
    torch.manual_seed(0)
    settings = config(preset, augmentation=0.0, **{"speech.train_trunk": preset == "tiny"})
    store = ClipStore([heads], "train", ALONE.device, 8)
    store.voices = TeachingVoices([voices], "train", recogniser, ALONE.device)
    models = Models(settings, 3)
    stage = make_stage("speech", models, settings, ALONE)
    batch = stage.sample(store, np.random.default_rng(0))
    assert isinstance(batch, Chunks) and batch.voices is not None
    stage.learners["task"].task.train()
    losses = []
    for _ in range(12 if preset == "tiny" else 3):
        torch.manual_seed(0)
        losses.append(stage.learn(batch, 0, True))
        stage.update(0)
    assert {"phonemes", "closed", "phoneme_accuracy", "contrastive"} <= losses[0].keys()
    assert all(bool(torch.isfinite(value)) for value in losses[-1].values())
    assert float(losses[-1]["phonemes"]) < (0.9 if preset == "tiny" else 1.0) * float(losses[0]["phonemes"])


def test_steps_with_voices_resume_exactly(
    voices: Path, heads: Path, recogniser: SpeechRecogniser, tmp_path: Path
) -> None:
    def trained(run: str, steps: float = float("inf")) -> Trainer:
        lessons = Lessons([voices], recogniser)
        trainer = Trainer(config(), [heads], tmp_path / run, ALONE, lessons=lessons)
        trainer.train(["speech"], Limits(steps=steps))
        return trainer

    whole = trained("whole").models.state_dict()
    trained("parts", 2)
    parts = trained("parts").models.state_dict()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_the_command_takes_voices_and_a_recogniser(voices: Path, heads: Path, tmp_path: Path) -> None:
    from model_server.training.recogniser.config import PRESETS
    from model_server.training.settings import changed as recogniser_with

    small = {"width": 32, "blocks": 1, "heads": 2, "reach": 8, "kernel": 5, "seconds": 4, "steps": 1}
    RecogniserTrainer(recogniser_with(PRESETS["recogniser"], small), [voices], tmp_path / "ears", ALONE).train()
    export_recogniser(tmp_path / "ears", tmp_path / "ears.safetensors")
    settings = ["speech.steps=1", "speech.batch=2", "speech.voices=8", "preset=tiny", "speech.window=4"]
    arguments = ["--preset", "lite", "--stage", "speech", "--corpus", heads, "--device", "cpu", "--set", *settings]
    heard = ["--voices", voices, "--recogniser", tmp_path / "ears.safetensors"]
    assert command("train", *arguments, *heard, "--out", tmp_path / "run") == 0
