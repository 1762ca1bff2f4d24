"""The whole command on rendered footage, and what happens to clips that cannot be used."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from model_server.cli.main import main
from model_server.corpus.layouts import find_videos
from model_server.corpus.mesh import MeshReader
from model_server.engines.pcavs.untrained import untrained_state
from model_server.engines.pcavs.weights import untrained, write_weights
from model_server.engines.weights import default_weights, load_engine
from model_server.engines.weights_file import describe
from model_server.evaluation.clips import VideoClip
from model_server.evaluation.frozen_mouth import frozen
from model_server.evaluation.generate import Generator
from model_server.evaluation.measure import faces_of
from model_server.evaluation.pose_sources import generated_source, to_and_fro
from model_server.evaluation.views import ViewStore
from model_server.training.checkpoint import Checkpoint, save, settings_of
from model_server.training.pcavs.config import named
from model_server.training.pcavs.models import Models
from tests.conftest import drawn_head, write_movie

FIGURES = ("ssim", "psnr", "cpbd", "lmd_mouth", "faces", "yaw_error", "identity")


@pytest.fixture(scope="module")
def report(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation of two weights files on two videos and on one that has no sound."""
    folder = tmp_path_factory.mktemp("report")
    state = untrained_state("lite")
    for name in ("A", "B"):
        write_weights(folder / f"{name}.safetensors", state, "lite", "untrained", f"ablation {name}")
    weights = [word for name in "AB" for word in ("--weights", str(folder / f"{name}.safetensors"))]
    arguments = ["evaluate", str(footage), *weights, "--max-frames", "12", "--out", str(folder / "table")]
    arguments += ["--precision", "fp32"]  # what is faster is measured, and may be the other one for equal weights
    assert main(arguments) == 0
    return folder / "table"


def test_one_row_for_each_weights_file_beside_truth_and_baselines(report: Path) -> None:
    found = json.loads(report.with_suffix(".json").read_text())
    assert list(found["methods"]) == ["true frames", "frozen mouth", "copied portrait", "ablation A", "ablation B"]
    for method in found["methods"].values():
        assert len(method["takes"]) == 2
        assert all(method["figures"][key] is not None for key in FIGURES)


def test_untrained_weights_are_called_so(report: Path) -> None:
    notes = json.loads(report.with_suffix(".json").read_text())["notes"]
    assert all(notes[f"ablation {name}"].startswith("untrained lite weights ") for name in "AB")
    assert "ablation A: untrained lite weights " in report.with_suffix(".md").read_text()


def test_without_weights_the_default_ones_are_measured(footage: Path, tmp_path: Path) -> None:
    assert main(["evaluate", str(footage / "one.mp4"), "--max-frames", "8", "--out", str(tmp_path / "table")]) == 0
    found, default = json.loads((tmp_path / "table.json").read_text()), default_weights()
    assert list(found["methods"])[-1] == default.name
    assert found["notes"][default.name].startswith(f"{default.kind} {default.preset} weights ")


def test_a_run_is_a_row_also_of_an_ablation(footage: Path, tmp_path: Path) -> None:
    config = named("lite-cpu-pose-36")
    state = Models(config, 2).state_dict()
    run = Checkpoint(config.digest(), "generator", {"generator": 1}, state, {}, settings_of(config))
    save(tmp_path / "run", run)
    arguments = ["evaluate", str(footage / "one.mp4"), "--weights", str(tmp_path / "run"), "--max-frames", "8"]
    assert main([*arguments, "--out", str(tmp_path / "table")]) == 0
    figures = json.loads((tmp_path / "table.json").read_text())["methods"]["lite-cpu-pose-36"]["figures"]
    assert figures["ssim"] is not None and "frontal_yaw" in figures


def test_truth_is_perfect_and_a_copied_portrait_is_not(report: Path) -> None:
    methods = json.loads(report.with_suffix(".json").read_text())["methods"]
    true, copied = (methods[name]["figures"] for name in ("true frames", "copied portrait"))
    assert (true["ssim"], true["lmd_mouth"], true["yaw_error"], true["faces"]) == (1, 0, 0, 1)
    assert copied["ssim"] < 1 and copied["lmd_pose"] > 0 and copied["lips"] == 0


def test_the_table_defines_every_figure_that_it_prints(report: Path) -> None:
    found, table = json.loads(report.with_suffix(".json").read_text()), report.with_suffix(".md").read_text()
    for key in FIGURES:
        assert found["definitions"][key]["is"] in table
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert {row.count("|") for row in rows} == {rows[0].count("|"), rows[-1].count("|")}


def test_equal_weights_have_equal_figures(report: Path) -> None:
    methods = json.loads(report.with_suffix(".json").read_text())["methods"]
    assert methods["ablation A"] == methods["ablation B"]


def test_clips_that_cannot_be_used_are_listed_with_the_reason(
    footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = write_movie(tmp_path / "silent.mp4", [drawn_head(0.0)] * 20, Fraction(25))
    assert main(["evaluate", str(silent), "--out", str(tmp_path / "table")]) == 1
    assert "No clip could be evaluated" in capsys.readouterr().err


@pytest.fixture(scope="module")
def take(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> VideoClip:
    video = find_videos([footage / "two.mp4"], "flat", "name")[0]
    return VideoClip(video, tmp_path_factory.mktemp("take"))


def test_a_video_is_read_in_sync(take: VideoClip) -> None:
    assert take.count == 24
    assert take.views(3, 7).shape == (4, 224, 224, 3)
    assert take.windows(range(5)).shape == (5, 80, 20)
    sound = take.samples(-10, 10)
    assert (sound[:10] == 0).all() and sound.shape == (20,)


def test_a_frozen_mouth_moves_less_than_the_true_one_and_the_head_moves_alike(take: VideoClip) -> None:
    reader = MeshReader()
    still, true = faces_of(frozen(take, reader), reader), faces_of(take, reader)
    assert np.std(still.opening) < 0.5 * np.std(true.opening)
    assert np.abs(still.angles - true.angles).mean() < 2


def test_the_generated_pose_source_is_another_clip_of_the_same_length(take: VideoClip, tmp_path: Path) -> None:
    source = generated_source(take, take, Generator(load_engine(untrained())), tmp_path)
    assert source.speaks and source.store.count == take.count


def test_weights_that_heed_lids_draw_a_takes_own(take: VideoClip, lid_weights: Path) -> None:
    films, codes = Generator(load_engine(describe(lid_weights), "cpu", "fp32")), np.zeros((take.count, 12), np.float32)
    assert take.lids is not None and take.lids.shape == (take.count,)

    opened, shut = (next(films.film(take, codes, lids=lids)) for lids in (None, np.ones(take.count, np.float32)))

    assert not np.array_equal(opened, shut)


def test_views_come_back_as_they_went_in(tmp_path: Path) -> None:
    views = np.random.default_rng(0).integers(0, 256, (5, 224, 224, 3), np.uint8)
    store = ViewStore.of(tmp_path, [views[:2], views[2:]])
    assert np.array_equal(store.views(1, 4), views[1:4])


def test_to_and_fro() -> None:
    assert to_and_fro(3, 8) == [0, 1, 2, 2, 1, 0, 0, 1]
