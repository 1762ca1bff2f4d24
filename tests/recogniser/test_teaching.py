"""The speech-content encoder learns from a recogniser what other voices say."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from model_server.engines.pcavs.engine import PcavsEngine
from model_server.engines.shipped import DATA, FILE, RECOGNISER
from model_server.engines.speech_recogniser import SpeechRecogniser, load_recogniser
from model_server.engines.weights import load_engine
from model_server.engines.weights_file import describe, keep_part, read_pose_map, read_state
from model_server.evaluation.quiet_lips import quiet_windows
from model_server.evaluation.sync.voice_lessons import VoiceLessons, Voices
from model_server.networks.pcavs.presets import OPTIONAL_PARTS, PRESETS
from model_server.networks.speech_recogniser.recogniser import Recogniser, RecogniserSize
from model_server.networks.sync_network import SyncNetwork
from model_server.synthetic.pronunciation import UNITS
from model_server.training.distributed import ProcessGroup
from model_server.training.face_network import ANGLE_UNIT
from model_server.training.pcavs.config import Config, named
from model_server.training.pcavs.data import Chunks, ClipStore
from model_server.training.pcavs.loop import Limits, Trainer, make_stage
from model_server.training.pcavs.models import Models
from model_server.training.pcavs.speech_gate import fit_speech_gate, ungated
from model_server.training.pcavs.teaching_voices import Lessons, TeachingVoices
from model_server.training.pcavs.warm_start import WarmStart
from model_server.training.recogniser.export import export_recogniser
from model_server.training.recogniser.trainer import RecogniserTrainer
from model_server.training.settings import changed
from tests.recogniser.conftest import command
from tests.training.conftest import TINY, write_corpus

SHIPPED = DATA / FILE
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
            steps = (batch.phonemes[batch.visemes.isnan().all(1), 5] * 1000).numpy()  # others need not be heard
            # The middle of frame i lies between the steps 2 i and 2 i + 1.
            frames = (steps - 0.5) / 2
            seen.update(np.round(np.abs(frames - np.round(frames)), 1).tolist())
        else:
            assert batch.wordless.all() and torch.equal(batch.phonemes[:, 0], torch.ones(8))
    assert seen == {0.0}


def test_mouths_are_known_where_the_times_of_phonemes_are(voices: Path, recogniser: SpeechRecogniser) -> None:
    teaching = TeachingVoices([voices], "train", recogniser, ALONE.device)
    batches = [teaching.sample(8, 0.0, np.random.default_rng(seed)) for seed in range(30)]
    spoken = torch.cat([batch.visemes for batch in batches if not batch.wordless.any()])
    known = spoken.isfinite().all(1)
    assert known.any() and not known.all(), "eSpeak NG's clips have times, the recordings here have none"
    assert torch.allclose(spoken[known].sum(1), torch.ones(int(known.sum())), atol=2e-3)
    assert len(spoken[known].argmax(1).unique()) > 4
    silent = torch.cat([batch.visemes for batch in batches if batch.wordless.all()])
    assert len(silent) and bool((silent[:, 0] == 1).all())


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
    assert {"phonemes", "voice_visemes", "closed", "phoneme_accuracy", "contrastive"} <= losses[0].keys()
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


def test_weights_learn_to_hear_anew(voices: Path, heads: Path, recogniser: SpeechRecogniser, tmp_path: Path) -> None:
    """Only the speech encoder moves, so that what draws from the lips' space goes on; then the generator learns."""
    base, lessons = SHIPPED, Lessons([voices], recogniser)
    settings = config(
        "lite", banked=True, **{"speech.train_trunk": False, "speech.train_heads": False, "generator.steps": 1,
        "generator.batch": 2, "generator.critic_start": 9, "generator.perceptual": 0.0, "generator.lips": 0.0,
        "generator.likeness": 0.0, "generator.contrastive": 0.0, "speech.steps": 2},
    )  # fmt: skip
    begin = WarmStart(base, "speech")
    trainer = Trainer(settings, [heads], tmp_path / "run", ALONE, warm_start=begin, lessons=lessons)
    assert trainer.train(["speech"])
    gate = OPTIONAL_PARTS["speech_gate"]
    told = {name: value for name, value in read_state(base).items() if not name.startswith(gate)}
    learnt = trainer.models.networks.state_dict()
    assert {name.split(".")[0] for name in told.keys() - learnt.keys()} <= {"lower_face", "lip_shape"}, (
        "no part of this preset"
    )
    moved = {name for name, value in told.items() if name in learnt and not torch.equal(learnt[name], value)}
    assert moved and all(name.startswith("speech_encoder.") for name in moved)
    assert (tmp_path / "run" / "features").is_dir(), "what frozen encoders read lies with the run, not with the weights"
    again = Trainer(settings, [heads], tmp_path / "run", ALONE, warm_start=begin, lessons=lessons)
    assert again.train(["generator"])
    drawing = {name: value for name, value in again.models.networks.state_dict().items() if "generator." in name}
    assert any(not torch.equal(value, told[name]) for name, value in drawing.items())


def test_a_code_means_the_angles_that_it_meant_to_the_weights(heads: Path, tmp_path: Path) -> None:
    trainer = Trainer(config("lite"), [heads], tmp_path / "run", ALONE, warm_start=WarmStart(SHIPPED, "speech"))
    pose_map = read_pose_map(SHIPPED)
    assert pose_map is not None
    angles = np.array([[20, -10, 5], [-15, 8, -12]], np.float32)
    codes = torch.from_numpy(pose_map.codes(angles) - np.array(pose_map.frontal, np.float32))
    read = trainer.models.angle_readout(codes).detach() * ANGLE_UNIT
    assert torch.allclose(read, torch.from_numpy(angles), atol=0.1)


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


def test_lips_rest_when_what_is_heard_is_no_speech(voices: Path, tmp_path: Path) -> None:
    recogniser = load_recogniser(DATA / RECOGNISER)
    weights = Path(shutil.copyfile(SHIPPED, tmp_path / "lite.safetensors"))
    plain, before = ungated(describe(weights)), read_state(weights)
    teaching = TeachingVoices([voices], "train", recogniser, ALONE.device)
    found = fit_speech_gate(plain, teaching, teaching, 512)
    assert found.kept > 0.9 and found.let_through < 0.05
    info = keep_part(weights, OPTIONAL_PARTS["speech_gate"], found.state)
    after = read_state(weights)
    assert set(found.state) <= set(after) and info.id != describe(SHIPPED).id
    same = [name for name in before if name not in found.state]
    assert same and all(torch.equal(before[name], after[name]) for name in same)
    gated, sounds = load_engine(info, "cpu", "fp32"), quiet_windows(seed=5)
    assert isinstance(gated, PcavsEngine)
    rest = gated.speech_contents(sounds["silence"]).mean(0)
    moved, was = (
        [np.abs(engine.speech_contents(sounds[kind]) - rest).mean() for kind in ("music alone", "applause alone")]
        for engine in (gated, plain)
    )
    assert all(now < 0.5 * then for now, then in zip(moved, was, strict=True))
    speech = teaching.sample(8, 0.0, np.random.default_rng(2)).windows[:, 0].numpy()
    changed_by = np.abs(gated.speech_contents(speech) - plain.speech_contents(speech)).mean()
    assert changed_by < 0.2 * np.abs(plain.speech_contents(speech) - rest).mean()


def test_weights_with_a_gate_are_learnt_from_without_it(tmp_path: Path) -> None:
    weights = Path(shutil.copyfile(SHIPPED, tmp_path / "lite.safetensors"))
    prefix = OPTIONAL_PARTS["speech_gate"]
    size = PRESETS["lite"].feature
    gate = {"speech_head.weight": torch.ones(1, size), "speech_head.bias": torch.ones(1), "rest": torch.ones(size)}
    keep_part(weights, prefix, {prefix + name: value for name, value in gate.items()})
    models = Models(named("lite-cpu"), 0)
    WarmStart(weights, "lower_face").give(models)
    assert torch.equal(
        models.networks.speech_encoder.readout.weight, read_state(weights)["speech_encoder.readout.weight"]
    )
    assert models.networks.speech_encoder.gate is None


def test_the_sync_judge_hears_what_other_voices_say(voices: Path, recogniser: SpeechRecogniser) -> None:
    torch.manual_seed(0)
    lessons, network = VoiceLessons(Voices([voices], recogniser, windows=64), 0), SyncNetwork()
    optimizer = torch.optim.Adam([*lessons.parameters(), *network.parameters()], 3e-3)
    losses = []
    for _ in range(40):
        loss = lessons.loss(network, np.random.default_rng(0), 32)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
