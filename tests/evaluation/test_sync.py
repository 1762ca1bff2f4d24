"""The sync judge on made-up mouths and sounds, and the official network's arithmetic."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model_server.errors import PoseDubError
from model_server.evaluation.comparison import Acceptance, Pair
from model_server.evaluation.metrics import METRICS
from model_server.evaluation.metrics.lse import distances
from model_server.evaluation.metrics.sync import accepted, confidence, found_offset, movement
from model_server.evaluation.sync import hard_negatives
from model_server.evaluation.sync.hard_negatives import KINDS, Example
from model_server.evaluation.sync.judge import Runs, SyncJudge, load_judge
from model_server.evaluation.sync.judge_training import (
    Settings,
    _train,
    acceptance,
    accepted_shares,
    accuracy,
    embed,
)
from model_server.evaluation.sync.mfcc import mfcc
from model_server.evaluation.sync.syncnet import SyncNet, embed_pictures, embed_sound, load_syncnet
from model_server.networks.sync_network import SyncNetwork
from tests.evaluation.conftest import comparison, course, face


def example(seed: int, delay: int = 0, frames: int = 70) -> Example:
    """A dark slit that opens, and a sound whose loudness is that opening, `delay` frames later."""
    opening = course(seed, frames + 60)
    rows = np.abs(np.arange(48) - 24)
    lips = [np.where(rows < 2 + 40 * gap, 40, 160) for gap in opening[30:-30]]
    pictures = np.repeat(np.stack(lips)[:, :, None], 48, axis=2).astype(np.uint8)
    moments = 30 - delay + np.arange(frames)[:, None] + (np.arange(20) - 10) / 4
    loudness = np.interp(moments, np.arange(len(opening)), opening)
    tilt = np.linspace(1, 0.4, 80)
    windows = (2 * loudness[:, None, :] * tilt[:, None]).astype(np.float32)
    return Example(pictures, windows, opening[30:-30].astype(np.float32))


@pytest.fixture(scope="module")
def judge() -> SyncJudge:
    torch.manual_seed(0)
    network = SyncNetwork()
    _train(network, [example(seed) for seed in range(40)], Settings(steps=45, clips=8, moments=8))
    return SyncJudge(network, {"clips": 40})


@pytest.mark.slow
def test_a_trained_judge_finds_the_offset_of_clips_it_never_saw(judge: SyncJudge) -> None:
    assert accuracy(judge, [example(seed) for seed in range(100, 110)])["found"] == 1


@pytest.mark.parametrize("seed", [200, 201, 202])
def test_delaying_the_sound_by_five_frames_moves_the_offset_by_five(judge: SyncJudge, seed: int) -> None:
    before, after = (found_offset(embed(judge, example(seed, delay))) for delay in (0, 5))
    assert after - before == 5


def test_a_trained_judge_takes_true_clips_and_few_others(judge: SyncJudge) -> None:
    kept = [example(seed) for seed in range(300, 312)]
    shares = accepted_shares(judge, kept, acceptance(embed(judge, clip) for clip in kept))
    assert list(shares) == ["true", *KINDS] and shares["true"] > 0.9
    assert shares["frozen"] == 0 and shares["shifted"] == 0 and shares["other speech"] < 0.2
    assert shares["damped"] < 0.3


def test_lips_that_move_half_as_far_as_the_sound_says_are_seen_to(judge: SyncJudge) -> None:
    clip = example(400)
    half = hard_negatives.damped(clip, 0.5)
    assert half is not None
    whole, less, still = (movement(embed(judge, one)) for one in (clip, half, hard_negatives.frozen(clip, 7)))
    assert 0.8 < whole < 1.2 and less == pytest.approx(0.5 * whole, abs=0.15) and abs(still) < 0.1


def test_false_lips_are_what_they_say() -> None:
    clip = example(1)
    assert clip.opening is not None
    assert (hard_negatives.frozen(clip, 7).mouths == clip.mouths[7]).all()
    late = hard_negatives.shifted(clip, 3)
    assert np.array_equal(late.mouths, clip.mouths[3:]) and np.array_equal(late.windows, clip.windows[:-3])
    early = hard_negatives.shifted(clip, -4)
    assert np.array_equal(early.mouths, clip.mouths[:-4]) and np.array_equal(early.windows, clip.windows[4:])
    less = clip.opening[hard_negatives.damped_frames(clip.opening, 0.5)]
    assert np.std(less) == pytest.approx(0.5 * np.std(clip.opening), rel=0.15)
    assert np.corrcoef(less, clip.opening)[0, 1] > 0.95
    assert hard_negatives.damped(replace(clip, opening=None), 0.5) is None
    other = hard_negatives.with_other_speech(clip, [example(2), replace(clip, windows=clip.windows * 3)])
    assert other is not None and np.array_equal(other.windows, example(2).windows)
    assert hard_negatives.with_other_speech(clip, [replace(clip, windows=clip.windows[:9])]) is None


def test_a_clip_is_accepted_at_its_place_and_confidence() -> None:
    sound = np.random.default_rng(0).normal(size=(60, 16)).astype(np.float32)
    heard = sound[:, 0]
    exact, late = Pair(sound, sound, heard, heard), Pair(np.roll(sound, -3, axis=0), sound, np.roll(heard, -3), heard)
    small = Pair(sound, sound, 0.4 * heard, heard)
    enough = confidence(exact)

    def taken(pair: Pair, confident: float, moved: float) -> float:
        clip = comparison(face(course(1)), face(course(1)), sync=pair, acceptance=Acceptance(confident, moved))
        return METRICS["sync_accepted"].measure([clip])

    assert [taken(pair, 0.9 * enough, 0.8) for pair in (exact, late, small)] == [1, 0, 0]
    assert taken(exact, 1.1 * enough, 0.8) == 0 and taken(small, 0.9 * enough, 0.3) == 1
    assert np.isnan(METRICS["sync_accepted"].measure([comparison(face(course(1)), face(course(1)), sync=exact)]))


def test_clips_too_short_to_tell_accept_nothing(judge: SyncJudge) -> None:
    limits = acceptance(embed(judge, example(seed, frames=16)) for seed in range(3))
    assert not accepted(embed(judge, example(5)), limits)


def test_a_judge_survives_its_file(judge: SyncJudge, tmp_path: Path) -> None:
    judge.save(tmp_path / "judge.safetensors")
    again = load_judge(tmp_path / "judge.safetensors")
    runs = Runs().push(example(1).mouths)
    assert np.abs(again.pictures(runs) - judge.pictures(runs)).max() < 0.01
    assert again.facts == {"clips": 40}


def test_what_is_no_judge_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(PoseDubError, match="cannot be read"):
        load_judge(tmp_path / "x.safetensors")
    with pytest.raises(PoseDubError, match="no sync judge at"):
        load_judge(tmp_path / "y.safetensors")


def test_the_built_in_judge_loads_and_says_how_good_it_is() -> None:
    assert load_judge().facts["held_out"]


@pytest.mark.parametrize("shift", [-7, 0, 4])
def test_sync_figures_of_known_embeddings(shift: int) -> None:
    sound = np.random.default_rng(0).normal(size=(60, 16)).astype(np.float32)
    pair = Pair(np.roll(sound, -shift, axis=0), sound)
    looked = comparison(face(course(1)), face(course(1)), sync=pair, delayed=np.roll(sound, 5, axis=0), delay=5)
    assert found_offset(pair) == shift
    assert METRICS["sync_offset"].measure([looked]) == abs(shift)
    assert METRICS["sync_found"].measure([looked]) == float(shift == 0)
    assert METRICS["sync_follows"].measure([looked]) == 1
    assert (METRICS["sync_retrieved"].measure([looked]) > 0.95) == (shift == 0)


def test_a_still_picture_is_never_in_sync() -> None:
    sound = np.random.default_rng(0).normal(size=(60, 16)).astype(np.float32)
    sound[:10] = sound[-10:] = 1  # silence at the ends
    still = comparison(face(course(1)), face(course(1)), sync=Pair(np.ones_like(sound), sound))
    assert METRICS["sync_found"].measure([still]) == 0


def test_runs_over_batches_are_those_of_the_whole() -> None:
    frames = np.arange(23)
    runs = Runs()
    parts = [runs.push(frames[first : first + 3]) for first in range(0, 23, 3)]
    assert np.array_equal(np.concatenate(parts), np.lib.stride_tricks.sliding_window_view(frames, 5))


def test_official_distance_is_smallest_at_the_shift() -> None:
    sound = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    assert distances(Pair(np.roll(sound, -3, axis=0), sound)).argmin() == 15 + 3


def test_mfcc_of_one_frame_by_the_definition() -> None:
    samples = np.random.default_rng(0).normal(0, 3000, 400)
    emphasised = np.append(samples[0], samples[1:] - 0.97 * samples[:-1])
    power = np.abs(np.fft.rfft(emphasised, 512)) ** 2 / 512
    features = mfcc(samples)
    assert features.shape == (1, 13)
    assert features[0, 0] == pytest.approx(np.log(power.sum()))


def test_mfcc_in_parts_is_mfcc_of_the_whole() -> None:
    samples = np.random.default_rng(0).normal(0, 3000, 4000)
    assert np.allclose(mfcc(samples[1600:], samples[1599]), mfcc(samples)[10:])


def test_mfcc_tells_tones_apart() -> None:
    seconds = np.arange(1600) / 16000
    low, high = (mfcc(8000 * np.sin(2 * np.pi * hertz * seconds)) for hertz in (200, 5000))
    assert (low[:, 1] > high[:, 1] + 10).all()


@pytest.fixture(scope="module")
def syncnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("syncnet") / "syncnet_v2.model"
    torch.save(SyncNet().state_dict(), path, _use_new_zipfile_serialization=False)
    return path


class _Tone:
    count = 9

    def samples(self, first: int, end: int) -> np.ndarray:
        return np.where(np.arange(first, end) < 0, 0, 0.3 * np.sin(np.arange(first, end) / 5)).astype(np.float32)


def test_the_official_network_reads_its_file(syncnet: Path) -> None:
    network = load_syncnet(syncnet)
    assert embed_pictures(network, np.zeros((1, 5, 224, 224, 3), np.uint8)).shape == (1, 1024)
    sound = embed_sound(network, _Tone())  # type: ignore[arg-type]
    assert sound is not None and sound.shape == (5, 1024)


class _Evil:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("touched"),))


def test_a_file_that_would_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("evil.model").write_bytes(pickle.dumps(_Evil()))
    with pytest.raises(PoseDubError, match="SyncNet's weights"):
        load_syncnet(Path("evil.model"))
    assert not Path("touched").exists()
