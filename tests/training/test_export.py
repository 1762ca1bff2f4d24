"""From a checkpoint to frames, and a checkpoint's way between computers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from model_server.engines.base import Engine
from model_server.engines.pcavs.engine import PcavsEngine
from model_server.engines.pcavs.untrained import untrained_state
from model_server.engines.pcavs.weights import write_weights
from model_server.engines.pose_map import PoseMap
from model_server.engines.weights import describe, load_engine
from model_server.engines.weights_file import read_tensors
from model_server.errors import PoseDubError
from model_server.networks.pcavs import visibility
from model_server.networks.pcavs.lower_face import Speech
from model_server.networks.pcavs.model import Networks, build
from model_server.networks.pcavs.presets import PRESETS
from model_server.networks.pcavs.speech_encoder import SpeechGate
from model_server.networks.pcavs.warping import WarpGenerator
from model_server.training import checkpoint as checkpoints
from model_server.training.distributed import ProcessGroup
from model_server.training.pcavs.config import Config
from model_server.training.pcavs.data import ClipStore
from model_server.training.pcavs.export import (
    export,
    export_onto,
    finish,
    fit_pose,
    labelled_frames,
    louder,
    recentre,
    without_untrained,
)
from model_server.training.pcavs.loop import Trainer
from model_server.training.pcavs.warm_start import WarmStart
from model_server.training.settings import changed

ALONE = ProcessGroup(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def run(lite: Config, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "small"
    Trainer(changed(lite, {"generator.steps": 2}), [corpus], folder, ALONE).train(["trunk", "generator"])
    return folder


def test_exported_weights_dub(run: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "made.safetensors"
    info = export(run, [corpus], out, "made", measured=96)
    assert (info.kind, info.preset, info.name) == ("trained", "lite", "made") and info == describe(out)
    assert info.pose_map is not None and info.pose_map.frontal == (0.0,) * 12
    yaw, *others = info.pose_map.residual or ()
    assert 0 < yaw < 20 and others == [0, 0], "the corpus turns heads by yaw only"
    assert out.stat().st_size < 20e6 and out.with_suffix(".json").exists()
    trained = PcavsEngine(finish(run).networks, info, "cpu", "fp32")
    expected, made = (dubbed(engine, corpus) for engine in (trained, load_engine(info, "cpu", "fp32")))
    assert made.shape == (3, 224, 224, 3)
    assert np.abs(made - expected).mean() < 0.1 * expected.std(), "the file holds half the digits"


def dubbed(engine: Engine, corpus: Path) -> NDArray[np.int16]:
    """Frames of a clip's own portrait, sound and pose."""
    clip = ClipStore([corpus], "val", torch.device("cpu"), 1)[0].frames([0, 5, 9])
    crops = ((clip.images.permute(0, 2, 3, 1) + 1) * 127.5).round().to(torch.uint8).numpy()
    identity, codes = engine.identity(crops[:1]), engine.pose_codes(crops)
    return engine.frames(identity, clip.windows[:, 0].numpy(), codes, 1.2, 0).astype(np.int16)


def test_a_generator_is_laid_onto_weights_that_draw_lower_faces(lite: Config, corpus: Path, tmp_path: Path) -> None:
    base = tmp_path / "base.safetensors"
    half = {name: value.half() if value.ndim > 1 else value for name, value in untrained_state("lite-in-place").items()}
    nothing = (0.0,) * 12
    known = PoseMap((nothing,) * 3, nothing, ((0.0,) * 3,) * 12, (0.0,) * 3)
    write_weights(base, half, "lite-in-place", "trained", "Base", pose_map=known, pose_reading="movement")
    config = changed(lite, {"generator.steps": 1})
    Trainer(config, [corpus], tmp_path / "run", ALONE, warm_start=WarmStart(base, "generator")).train(["generator"])
    info = export_onto(tmp_path / "run", [corpus], base, tmp_path / "out.safetensors", "")
    assert (info.preset, info.name, info.pose_reading) == ("lite-in-place", "Base", "movement")
    assert info.pose_map not in (None, known) and info.source == describe(base).id
    made, kept = read_tensors(tmp_path / "out.safetensors"), read_tensors(base)
    same = {name.split(".")[0] for name, value in kept.items() if torch.equal(value, made[name])}
    assert {"lower_face", "speech_encoder"} <= same
    assert not torch.equal(made["generator.synthesis.first.bias"], kept["generator.synthesis.first.bias"])
    heard = changed(config, {"generator.train_encoders": True})
    Trainer(heard, [corpus], tmp_path / "heard", ALONE, warm_start=WarmStart(base, "generator")).train(["generator"])
    with pytest.raises(PoseDubError, match="changed how speech is heard"):
        export_onto(tmp_path / "heard", [], base, tmp_path / "other.safetensors", "")


def test_louder_contents_open_the_lips_of_portraits_and_no_others(tmp_path: Path) -> None:
    state = untrained_state("lite-in-place")
    random = torch.Generator().manual_seed(2)
    gate = SpeechGate(320)
    torch.nn.init.normal_(gate.rest, generator=random)
    torch.nn.init.normal_(gate.speech_head.weight, generator=random)
    state |= {f"speech_encoder.gate.{name}": value.detach() for name, value in gate.state_dict().items()}
    plain, loud = build("lite-in-place", state), build("lite-in-place", louder(state, 1.6))
    windows = torch.rand(3, 1, 80, 20, generator=random)
    with torch.inference_mode():
        said, louder_said = plain.speech_encoder(windows), loud.speech_encoder(windows)
        torch.testing.assert_close(louder_said, 1.6 * said, rtol=1e-4, atol=1e-5)
        assert plain.lower_face is not None and loud.lower_face is not None
        angles, lips = torch.zeros(3, 2), torch.zeros(3, 4)
        styles = [
            faces._style(Speech(content, lips=lips, angles=angles))
            for faces, content in ((plain.lower_face, said), (loud.lower_face, louder_said))
        ]
    torch.testing.assert_close(styles[1], styles[0], rtol=1e-4, atol=1e-5)
    assert louder(state, 1) is state


def test_recentring_changes_codes_but_no_frame(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A whole number, which rounding changes where a flow lies on a pixel's border; it knows nothing of the codes.
    monkeypatch.setattr(visibility, "readers", lambda flow: torch.zeros_like(flow[:, :1]))
    networks, shift = finish(run).networks, torch.linspace(-1, 1, 12)
    coarse, windows = torch.rand(2, 3, 7, 7), torch.rand(2, 1, 80, 20)
    images = F.interpolate(coarse, 224, mode="bilinear")  # smooth: rounding moves samples by thousandths of a pixel
    encoder = networks.nonidentity_encoder
    noise = [torch.zeros(1, 1, size, size) for size in networks.generator.noise_sizes]

    def draw() -> tuple[torch.Tensor, torch.Tensor]:
        feature = encoder(images)
        code = encoder.pose_code(feature)
        vector, feature_map = networks.identity_encoder(images)
        style = networks.style(vector, windows, code, 1.0, networks.own_codes(feature))
        return code, networks.draw(feature_map, style, noise, images)

    code, frame = draw()
    recentre(networks, shift)
    moved, same = draw()
    torch.testing.assert_close(moved, code - shift, atol=1e-5, rtol=0)
    torch.testing.assert_close(same, frame, atol=2e-4, rtol=0)


def test_code_zero_is_frontal(run: Path, corpus: Path) -> None:
    done = finish(run, [corpus], measured=96)
    again = fit_pose(done.networks, labelled_frames([corpus], 96))
    assert done.pose is not None and again is not None
    assert np.abs(again.frontal).max() < 0.2 * np.abs(done.pose.frontal).max() + 1e-3


def test_packed_checkpoints_come_back_whole(run: Path, tmp_path: Path) -> None:
    path = checkpoints.latest(run)
    assert path is not None
    files = checkpoints.pack(path, tmp_path / "parts")
    assert len(files) > 2 and all(file.stat().st_size <= 16 << 20 for file in files)
    assert checkpoints.unpack(tmp_path / "parts", tmp_path / "run").read_bytes() == path.read_bytes()
    files[1].write_bytes(files[1].read_bytes()[:-1])
    with pytest.raises(PoseDubError, match="damaged"):
        checkpoints.unpack(tmp_path / "parts", tmp_path / "run")


def test_a_light_checkpoint_goes_on_without_optimisers(run: Path, lite: Config, corpus: Path, tmp_path: Path) -> None:
    path = checkpoints.latest(run)
    assert path is not None
    light = checkpoints.save(tmp_path, checkpoints.lightened(checkpoints.load(path)))
    assert light.stat().st_size < 0.4 * path.stat().st_size
    trainer = Trainer(changed(lite, {"generator.steps": 3}), [corpus], tmp_path, ALONE)
    assert trainer.train(["generator"]) and trainer.steps["generator"] == 3


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint-000000001.pt"
    path.write_bytes(b"nonsense")
    with pytest.raises(PoseDubError, match=path.name):
        checkpoints.load(path)


def test_parts_that_were_never_trained_are_left_out() -> None:
    networks = Networks(replace(PRESETS["lite"], visibility=True, lids=True))
    named = {name.split(".")[1] for name in without_untrained(networks.state_dict()) if name.startswith("generator.")}
    assert "synthesis" in named and not {"visibility", "lids"} & named
    assert isinstance(networks.generator, WarpGenerator) and networks.generator.lids
    torch.nn.init.ones_(networks.generator.lids.move_head.fields)
    named = {name.split(".")[1] for name in without_untrained(networks.state_dict()) if name.startswith("generator.")}
    assert "lids" in named and "visibility" not in named
