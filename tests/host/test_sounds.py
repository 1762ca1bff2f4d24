"""Several sounds, quiet sounds and sounds in meta strips, as an editor hears them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.gate import Gate

from .conftest import RATE, Blender
from .test_dub import FRAMES, MANY, results, set_up

PER_FRAME = RATE // 24


@pytest.fixture
def levels(tmp_path: Path) -> Path:
    """Two seconds of the constant 0.25 at 48 kHz, and of -0.5 at 24 kHz."""
    soundfile.write(tmp_path / "quarter.wav", np.full(2 * RATE, 0.25, np.float32), RATE, "FLOAT")
    soundfile.write(tmp_path / "half.wav", np.full(RATE, -0.5, np.float32), RATE // 2, "FLOAT")
    return tmp_path


def read(path: Path) -> np.ndarray:
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == RATE
    return samples


def test_keyed_volume_is_followed_from_frame_to_frame(blender: Blender, levels: Path) -> None:
    blender.add(kind="sound", file=str(levels / "quarter.wav"), name="speech", channel=1, start=1)
    for frame, value in ((5, 1.0), (15, 0.0), (25, 0.6)):
        blender.key(name="speech", prop="volume", frame=frame, value=value)
    blender.linear_keys()

    blender.cut(name="speech", target=str(levels / "cut.wav"))

    expected = np.interp(np.arange(2 * RATE) / PER_FRAME + 1, [5, 15, 25], [1.0, 0.0, 0.6]) / 4
    assert np.abs(read(levels / "cut.wav") - expected).max() < 1e-5


def test_sounds_are_mixed_where_they_lie(blender: Blender, levels: Path) -> None:
    blender.add(kind="sound", file=str(levels / "quarter.wav"), name="one", channel=1, start=11, volume=0.5)
    blender.add(kind="sound", file=str(levels / "half.wav"), name="two", channel=2, start=41)
    blender.add(kind="sound", file=str(levels / "quarter.wav"), name="three", channel=3, start=101)

    assert blender.mix(names=["three", "two", "one"], target=str(levels / "mix.wav")) == [11, 138]

    frames = read(levels / "mix.wav").reshape(138, PER_FRAME)
    middles = frames[:, PER_FRAME // 2]
    expected = np.zeros(138)
    expected[:48] += 0.125
    expected[30:78] -= 0.5
    expected[90:] += 0.25
    assert np.abs(middles - expected).max() < 0.01


def test_a_mix_that_would_clip_is_made_quieter(blender: Blender, levels: Path) -> None:
    for number in range(3):
        blender.add(kind="sound", file=str(levels / "half.wav"), name=f"s{number}", channel=number + 1, start=1)

    blender.mix(names=["s0", "s1", "s2"], target=str(levels / "mix.wav"))

    samples, _rate = soundfile.read(levels / "mix.wav")
    assert samples == pytest.approx(-1.0, abs=0.05)


def test_muted_sounds_are_left_out_of_a_mix(blender: Blender, levels: Path) -> None:
    blender.add(kind="sound", file=str(levels / "quarter.wav"), name="one", channel=1, start=1)
    blender.add(kind="sound", file=str(levels / "quarter.wav"), name="two", channel=2, start=25, mute=True)
    blender.add(kind="sound", file=str(levels / "quarter.wav"), name="three", channel=3, start=49)
    blender.mute_channel(channel=3)

    assert blender.mix(names=["one", "two", "three"], target=str(levels / "mix.wav")) == [1, 96]

    samples = read(levels / "mix.wav")
    assert np.all(samples[: 2 * RATE] == 0.25) and not samples[2 * RATE :].any()


@pytest.mark.parametrize("how", ["strip", "channel", "meta"])
def test_the_button_says_that_a_sound_is_muted(blender: Blender, media: Path, how: str) -> None:
    set_up(blender, media)
    if how == "strip":
        blender.set_strip(name="speech", mute=True)
    elif how == "channel":
        blender.mute_channel(channel=3)
    else:
        blender.wrap_in_meta(name="speech", channel=6)
        blender.set_strip(name="meta", mute=True)

    assert 'The sound strip "speech" is muted; unmute it' in blender.op(name="dub")["error"]


def test_a_meta_strip_trims_the_sounds_in_it(blender: Blender, media: Path, tmp_path: Path) -> None:
    blender.add(kind="sound", file=str(media / "speech.wav"), name="speech", channel=1, start=11)
    blender.wrap_in_meta(name="speech", channel=4)
    blender.set_strip(name="meta", frame_final_end=40)
    blender.set_strip(name="meta", frame_final_start=20)

    assert blender.mix(names=["speech"], target=str(tmp_path / "cut.wav")) == [20, 20]

    source = soundfile.read(media / "speech.wav", dtype="float32")[0]
    first = 9 * PER_FRAME
    assert np.abs(read(tmp_path / "cut.wav") - source[first : first + 20 * PER_FRAME]).max() < 1e-4


def test_sources_in_a_selected_meta_strip_are_taken(blender: Blender, media: Path) -> None:
    set_up(blender, media)
    blender.wrap_in_meta(name="speech", channel=6)
    blender.select(names=["meta", "face", "pose"])

    assert blender.plan()["name"].startswith("speech")


def two_sounds(blender: Blender, media: Path) -> None:
    """The usual sources, and a second sound strip of three frames ten frames later; all selected."""
    set_up(blender, media)
    blender.add(kind="sound", file=str(media / "speech.wav"), name="answer", channel=4, start=116)
    blender.set_strip(name="answer", frame_final_end=119)
    blender.select(names=["speech", "face", "pose", "answer"])


def test_each_selected_sound_gets_a_dub_of_its_own(dubbing: Blender, media: Path) -> None:
    two_sounds(dubbing, media)
    shown = dubbing.panel(name="POSEDUB_PT_dub")
    assert shown.count("[posedub.dub]") == 3

    assert dubbing.op(name="dub", sounds="each", wait=True) == {"result": ["FINISHED"]}

    made = sorted((strip["left"], strip["right"], strip["name"].split()[1]) for strip in results(dubbing))
    assert made == [(106, 112, "speech"), (116, 119, "answer")]
    assert [job["state"] for job in dubbing.jobs()] == ["done", "done"]


def test_several_sounds_become_one_dub(dubbing: Blender, media: Path) -> None:
    two_sounds(dubbing, media)

    assert dubbing.op(name="dub", sounds="together", wait=True) == {"result": ["FINISHED"]}

    (made,) = results(dubbing)
    assert (made["left"], made["right"], made["channel"]) == (106, 119, 5)
    assert len(made["elements"]) == 13
    samples = read(Path(made["directory"]) / "speech.wav")
    heard = np.abs(samples).reshape(13, -1).max(axis=1) > 0
    assert heard.tolist() == [True] * FRAMES + [False] * 4 + [True] * 3


def test_queued_dubs_are_listed_and_each_can_be_cancelled(dubbing: Blender, gate: Gate, media: Path) -> None:
    """The server works on four at a time."""
    set_up(dubbing, media, frames=MANY, seed=21)
    with gate.closed():
        for seed in range(21, 26):
            dubbing.settings(seed=seed)
            dubbing.op(name="dub")
        # Which of them comes last to the server is left to their threads.
        queued = dubbing.pump_until_queued()
        drawn, *others = {job["plan"]["uid"] for job in dubbing.jobs()} - {queued}
        shown = " ".join(dubbing.panel(name="POSEDUB_PT_jobs"))
        assert shown.count("[posedub.cancel]") == 5 and "Queued, " in shown

        for uid in (queued, *others):
            dubbing.op(name="cancel", uid=uid, wait=True)
    states = {job["plan"]["uid"]: (job["state"], job["saved_end"]) for job in dubbing.finish()}

    assert states[drawn] == ("done", MANY)
    assert states[queued] == ("cancelled", 0)
    assert {states[uid][0] for uid in others} == {"cancelled"}
