"""Effects and meta strips that change which frame of a strip is seen, or how: against what Blender itself renders."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from tests.pipeline.makers import browser_recording

from .conftest import Blender, write_movie
from .test_dub import dub
from .test_footage import START, choose, footage, set_up
from .test_time import shown_index

__all__ = ["footage"]
RATE = Fraction(25)
FRAMES = (2, 3, 7, 12, 18, 21)
SPEED = {"kind": "SPEED", "name": "speed", "channel": 5, "start": 1, "end": 51}


@pytest.fixture(scope="module")
def actor(media: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50 frames at 25 fps; frame n has luma 20 + 4n."""
    return media / "25fps.mp4"


def set_up_actor(blender: Blender, media: Path, fps: int = 25) -> None:
    """A movie on channel 1 and a sound on channel 2, both from frame 1 on."""
    blender.new_scene(fps=fps)
    blender.add(kind="movie", file=str(media / "25fps.mp4"), name="actor", channel=1, start=1)
    blender.add(kind="sound", file=str(media / "speech.wav"), name="speech", channel=2, start=1)
    blender.settings(output="full_frame")
    blender.select(names=["speech", "actor"])


def rendered(blender: Blender, frame: int, folder: Path) -> int:
    """Which movie frame Blender shows; 5.2 else takes what it rendered for another timeline frame under Speed."""
    blender.refresh()
    return shown_index(blender, frame, folder)


def assert_dubbed_as_shown(blender: Blender, folder: Path, frames: tuple[int, ...] = FRAMES) -> None:
    """Footage, pose and portrait are the frames that Blender renders."""
    plan, first, fps = blender.plan(), blender.dub_start(), Fraction(25)
    source = plan["output"]["footage"]
    assert (source["start"], source["speed"]) == (plan["pose"]["start"], plan["pose"]["speed"])
    start, speed = Fraction(source["start"]), Fraction(source["speed"])
    seen = [floor((start + speed * (frame - first) / fps) * RATE) for frame in frames]
    assert seen == [rendered(blender, frame, folder) for frame in frames]
    assert [floor(Fraction(time) * RATE) for time in blender.seen(name="actor", frames=frames)] == seen


SPEEDS = {
    "twice": {"speed_control": "MULTIPLY", "speed_factor": 2.0},
    "two fifths": {"speed_control": "MULTIPLY", "speed_factor": 0.4},
    "one and a half": {"speed_control": "MULTIPLY", "speed_factor": 1.5},
    "as it is": {},
}


@pytest.mark.parametrize("values", SPEEDS.values(), ids=SPEEDS)
def test_the_frames_that_a_speed_effect_shows_are_dubbed(
    blender: Blender, media: Path, tmp_path: Path, values: dict[str, Any]
) -> None:
    set_up_actor(blender, media)
    blender.add_effect(**SPEED, inputs=["actor"], **values)

    assert_dubbed_as_shown(blender, tmp_path)
    assert blender.placement_channel() == 5


def test_a_speed_effect_that_stretches_a_trimmed_movie_is_followed(
    blender: Blender, media: Path, tmp_path: Path
) -> None:
    set_up_actor(blender, media)
    blender.add_effect(**SPEED, inputs=["actor"])
    blender.set_strip(name="actor", frame_offset_start=10)

    assert blender.plan()["output"]["footage"]["speed"] == "4/5"
    assert_dubbed_as_shown(blender, tmp_path, (12, 18, 21, 30, 40))
    blender.set_strip(name="actor", frame_final_end=41)
    blender.set_strip(name="actor", frame_final_start=6)
    assert_dubbed_as_shown(blender, tmp_path, (12, 18, 21, 30, 40))


def test_a_movie_that_begins_before_its_speed_effect_is_followed(blender: Blender, media: Path, tmp_path: Path) -> None:
    set_up_actor(blender, media)
    blender.add_effect(**SPEED, inputs=["actor"], speed_control="MULTIPLY", speed_factor=1.5)
    blender.set_strip(name="actor", frame_start=-4)

    assert_dubbed_as_shown(blender, tmp_path)


def test_a_movie_of_another_rate_under_a_speed_effect_is_followed(
    blender: Blender, media: Path, tmp_path: Path
) -> None:
    blender.new_scene(fps=24)
    movie = blender.add_adjusted_movie(file=str(media / "2997fps.mp4"), start=1)["name"]
    blender.add(kind="sound", file=str(media / "speech.wav"), name="speech", channel=2, start=1)
    blender.add_effect(**SPEED | {"end": 41}, inputs=[movie], speed_control="MULTIPLY", speed_factor=2.0)
    blender.settings(output="full_frame")
    blender.select(names=["speech", movie])

    source = blender.plan()["output"]["footage"]

    start, speed, rate = Fraction(source["start"]), Fraction(source["speed"]), Fraction(30000, 1001)
    for k in (0, 1, 5, 11, 19):
        assert floor((start + speed * k / 24) * rate) == shown_index(blender, 1 + k, tmp_path)


def test_an_image_sequence_under_a_speed_effect_is_followed(blender: Blender, media: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"{n:03}.png" for n in range(50)]
    for n, file in enumerate(files):
        Image.fromarray(np.full((64, 64, 3), 20 + 4 * n, np.uint8)).save(file)
    set_up_actor(blender, media)
    blender.remove_strip(name="actor")
    blender.add_image_sequence(files=files, name="actor", channel=1, start=1)
    blender.add_effect(**SPEED, inputs=["actor"], speed_control="MULTIPLY", speed_factor=1.5)
    blender.select(names=["speech", "actor"])

    assert_dubbed_as_shown(blender, tmp_path)
    blender.playhead(frame=12)
    assert blender.plan()["portrait"]["file"] == str(files[shown_index(blender, 12, tmp_path)])


def test_a_movie_in_meta_strips_is_dubbed_as_shown(blender: Blender, media: Path, tmp_path: Path) -> None:
    set_up_actor(blender, media)
    blender.add_effect(**SPEED, inputs=["actor"], speed_control="MULTIPLY", speed_factor=2.0)
    meta = blender.make_meta(names=["actor", "speed"])
    assert blender.parent(name="speed") == meta
    blender.select(names=["speech", "actor"])

    assert_dubbed_as_shown(blender, tmp_path)
    blender.set_strip(name=meta, frame_start=-4)
    assert_dubbed_as_shown(blender, tmp_path, FRAMES[:-1])


def test_an_effect_counts_only_where_it_is_seen(blender: Blender, media: Path, tmp_path: Path) -> None:
    set_up_actor(blender, media)
    blender.add_effect(**SPEED, inputs=["actor"], speed_control="MULTIPLY", speed_factor=2.0)

    blender.set_strip(name="speed", mute=True)
    assert_dubbed_as_shown(blender, tmp_path)
    blender.set_strip(name="speed", mute=False)
    blender.mute_channel(channel=5)
    assert_dubbed_as_shown(blender, tmp_path)
    blender.mute_channel(channel=5, muted=False)
    blender.set_strip(name="actor", channel=7)
    assert_dubbed_as_shown(blender, tmp_path)
    assert blender.plan()["output"]["footage"]["speed"] == "1"


def test_no_effect_but_speed_shows_another_frame(blender: Blender, media: Path, tmp_path: Path) -> None:
    set_up_actor(blender, media)
    blender.add(kind="movie", file=str(media / "25fps.mp4"), name="other", channel=3, start=1)
    for kind in set(blender.effect_kinds()) - {"SPEED", "COLOR", "TEXT"}:
        inputs = [] if kind in ("ADJUSTMENT", "MULTICAM") else ["actor", "other"]
        blender.add_effect(**SPEED | {"kind": kind}, inputs=inputs[: blender.input_count(kind=kind)])
        pictures = []
        for values in ({}, {"strobe": 4.0, "use_reverse_frames": True}):
            blender.set_strip(name="speed", **values)
            blender.refresh()
            pictures.append(np.asarray(Image.open(blender.shown_picture(frame=13, target=str(tmp_path / "one.png")))))
        assert np.array_equal(*pictures), kind
        assert blender.seen(name="actor", frames=[13]) == ["1/2"]
        blender.remove_strip(name="speed")


BENT = {
    "strobe": ('The strip "actor" holds pictures by its strobe.', {"strobe": 3.0}),
    "reversed": ('The strip "actor" plays backwards.', {"use_reverse_frames": True}),
}


@pytest.mark.parametrize(("sentence", "values"), BENT.values(), ids=BENT)
def test_what_shows_other_frames_is_refused(
    blender: Blender, media: Path, sentence: str, values: dict[str, Any]
) -> None:
    set_up_actor(blender, media)
    meta = blender.make_meta(names=["actor"])
    blender.select(names=["speech", "actor"])

    for name in ("actor", meta):
        blender.set_strip(name=name, **values)
        expected = sentence if name == "actor" else sentence.replace('strip "actor"', f'meta strip "{meta}"')
        for output in ("full_frame", "crop"):
            blender.settings(output=output)
            assert expected in blender.op(name="dub")["error"]
        blender.set_strip(name=name, strobe=1.0, use_reverse_frames=False)
    assert blender.plan()["output"]["footage"] is None


def test_a_keyed_strobe_is_refused(blender: Blender, media: Path) -> None:
    set_up_actor(blender, media)
    blender.key_strip(name="actor", prop="strobe", keys=[(1, 1.0), (30, 4.0), (60, 1.0)])

    assert 'The strip "actor" holds pictures by its strobe.' in blender.op(name="dub")["error"]


def test_a_retimed_meta_strip_is_refused_and_a_shortened_one_is_not(blender: Blender, media: Path) -> None:
    set_up_actor(blender, media)
    blender.add(kind="movie", file=str(media / "25fps.mp4"), name="more", channel=3, start=60)
    meta = blender.make_meta(names=["actor", "more"])
    blender.remove_strip(name="more")
    blender.select(names=["speech", "actor"])
    assert blender.plan()["output"]["footage"]["speed"] == "1"

    for speed in (50, 200):
        blender.retime_in_window(name=meta, speed=speed)
        blender.select(names=["speech", "actor"])
        assert f'The meta strip "{meta}" is retimed.' in blender.op(name="dub")["error"]


def test_a_sound_in_a_retimed_meta_strip_is_cut_as_blender_mixes_it(
    blender: Blender, media: Path, tmp_path: Path
) -> None:
    seconds = np.arange(2 * 48000) / 48000
    soundfile.write(tmp_path / "rising.wav", 0.5 * np.sin(2 * np.pi * 500 * seconds**2), 48000)  # at t: 1000 t Hz
    blender.new_scene(fps=25)
    blender.add(kind="sound", file=str(tmp_path / "rising.wav"), name="speech", channel=1, start=1)
    meta = blender.make_meta(names=["speech"])
    blender.retime_in_window(name=meta, speed=200)
    right = next(strip["right"] for strip in blender.strips() if strip["name"] == meta)

    if blender.version() >= [5, 1]:  # which mixes in the background
        blender.select(names=["speech"])
        assert 'The sound strip "speech" is retimed.' in blender.error_of_plan()
        return
    assert blender.mix(names=["speech"], target=str(tmp_path / "cut.wav")) == [1, right - 1]

    samples = soundfile.read(tmp_path / "cut.wav")[0]
    window = samples[19200 - 600 : 19200 + 600] * np.hanning(1200)  # at 0.4 s
    heard = np.argmax(np.abs(np.fft.rfft(window))) * 48000 / 1200
    blender.mixdown(name=meta, target=str(tmp_path / "mix.wav"))
    mixed = soundfile.read(tmp_path / "mix.wav")[0].mean(axis=1)[19200 - 600 : 19200 + 600] * np.hanning(1200)
    assert heard == np.argmax(np.abs(np.fft.rfft(mixed))) * 48000 / 1200 >= 800


CHANGING = {
    "interpolated": {"speed_control": "MULTIPLY", "speed_factor": 2.0, "use_frame_interpolate": True},
    "held": {"speed_control": "FRAME_NUMBER"},
    "backwards": {"speed_control": "MULTIPLY", "speed_factor": -1.0},
    "strobed": {"speed_control": "MULTIPLY", "speed_factor": 2.0, "strobe": 3.0},
}


@pytest.mark.parametrize("values", CHANGING.values(), ids=CHANGING)
def test_a_speed_that_changes_is_refused(blender: Blender, media: Path, values: dict[str, Any]) -> None:
    set_up_actor(blender, media)
    blender.add_effect(**SPEED, inputs=["actor"], **values)

    assert 'The speed of "actor" changes under the effect "speed". Give it' in blender.op(name="dub")["error"]


def test_a_keyed_speed_and_two_speeds_are_refused(blender: Blender, media: Path) -> None:
    set_up_actor(blender, media)
    blender.add_effect(**SPEED, inputs=["actor"], speed_control="MULTIPLY")
    blender.add_effect(**SPEED | {"name": "other", "channel": 6}, inputs=["speed"], speed_control="MULTIPLY")
    assert 'The speed of "actor" changes under the effect "other".' in blender.op(name="dub")["error"]

    blender.remove_strip(name="other")
    blender.key_strip(name="speed", prop="speed_factor", keys=[(1, 1.0), (30, 2.0)])
    assert 'The speed of "actor" changes under the effect "speed".' in blender.op(name="dub")["error"]


def test_another_video_stream_than_the_first_is_refused(blender: Blender, media: Path) -> None:
    set_up_actor(blender, media)
    blender.set_strip(name="actor", stream_index=1)

    assert 'The strip "actor" shows video stream 1 of its file. Export' in blender.op(name="dub")["error"]


def test_footage_of_which_blender_shows_nothing_is_refused(blender: Blender, media: Path, tmp_path: Path) -> None:
    pictures = [np.full((64, 64, 3), 5 * n, np.uint8) for n in range(25)]
    file = browser_recording(tmp_path / "recorded.webm", pictures, [40 * n for n in range(25)])
    set_up_actor(blender, media)
    blender.remove_strip(name="actor")
    blender.add(kind="movie", file=str(file), name="actor", channel=1, start=1)
    blender.set_strip(name="actor", frame_final_end=26)
    blender.select(names=["speech", "actor"])

    assert 'Blender shows nothing of the footage "actor"' in blender.op(name="dub")["error"]
    blender.settings(output="crop")
    assert blender.plan()["pose"]["file"] == str(file)


def test_a_dub_that_would_not_fit_is_refused_and_one_of_the_face_alone_is_not(blender: Blender, media: Path) -> None:
    set_up_actor(blender, media)
    refused = {
        "moves or changes": [SPEED | {"inputs": ["actor"], "use_flip_x": True}],
        "would not show a dub": [SPEED | {"kind": "MULTICAM", "multicam_source": 1}],
        "change the speed of a dub": [SPEED | {"inputs": ["meta"], "speed_control": "MULTIPLY", "speed_factor": 2.0}],
    }
    if "TRANSFORM" in blender.effect_kinds():
        refused["moves or changes"].append(SPEED | {"kind": "TRANSFORM", "inputs": ["actor"]})
    for words, effects in refused.items():
        for effect in effects:
            if effect.get("inputs") == ["meta"]:
                blender.wrap_in_meta(name="actor", channel=3)
            blender.add_effect(**effect)
            blender.settings(output="overlay")
            assert words in blender.op(name="dub")["error"]
            blender.settings(output="crop")
            assert blender.plan()["pose"]["file"]
            blender.remove_strip(name="speed")


def test_what_changes_the_footage_and_not_the_dub_over_it_is_said(blender: Blender, media: Path) -> None:
    set_up_actor(blender, media)
    blender.add(kind="movie", file=str(media / "25fps.mp4"), name="next", channel=3, start=41)
    blender.set_strip(name="next", frame_final_end=51)
    blender.add_effect(kind="CROSS", name="fade", channel=6, start=41, end=51, inputs=["actor", "next"])
    for channel, name in ((7, "below"), (9, "above"), (12, "plain")):
        blender.add_effect(kind="ADJUSTMENT", name=name, channel=channel, start=11, end=21)
    blender.grade(name="below")
    blender.grade(name="above")

    assert blender.placement_channel() == 6
    found = blender.remarks()
    assert [[first, end] for first, end, _text in found] == [[41, 51], [11, 21]]
    assert 'The effect "fade" changes "actor", not the dub over it' in found[0][2]
    assert 'The adjustment layer "below" lies under the dub' in found[1][2]


def test_a_held_picture_is_not_dubbed(blender: Blender, media: Path, tmp_path: Path) -> None:
    write_movie(tmp_path / "short.mp4", RATE, 30)
    set_up_actor(blender, media)
    blender.remove_strip(name="actor")
    blender.add(kind="movie", file=str(tmp_path / "short.mp4"), name="actor", channel=1, start=5)
    blender.set_strip(name="actor", frame_final_end=51)
    blender.set_strip(name="actor", frame_final_start=1)
    blender.select(names=["speech", "actor"])

    assert blender.plan()["frame_count"] == 30
    assert blender.remarks() == [
        [first, end, '"actor" holds a picture here, which is not dubbed.'] for first, end in ((1, 5), (35, 51))
    ]
    blender.add_effect(**SPEED, inputs=["actor"], speed_control="MULTIPLY", speed_factor=2.0)
    plan = blender.plan()
    assert (plan["frame_count"], Fraction(plan["output"]["footage"]["speed"])) == (15, 2)


def test_an_actor_at_twice_the_speed_is_dubbed_in_place(dubbing: Blender, footage: Path, tmp_path: Path) -> None:
    set_up(dubbing, footage, (640, 360))
    choose(dubbing)
    dubbing.add_effect(
        **SPEED | {"start": START, "end": START + 30}, inputs=["actor"], speed_control="MULTIPLY", speed_factor=2.0
    )
    dubbing.add_effect(kind="GLOW", name="glow", channel=7, start=START, end=START + 30, inputs=["speed"])

    strip = dub(dubbing)

    # 15 of the film's 30 frames are left, from the third on; the actor is on the other side from its frame 12 on.
    assert (strip["left"], strip["right"], strip["channel"]) == (START + 2, START + 15, 8)
    alphas = [np.asarray(Image.open(Path(strip["directory"]) / name))[..., 3] for name in strip["elements"]]
    sides = ["left" if alpha[:, :320].any() else "right" if alpha[:, 320:].any() else "" for alpha in alphas]
    assert sides[:4] == ["left"] * 4 and sides[4] == "right"
    shown = " ".join(dubbing.panel(name="POSEDUB_PT_jobs"))
    assert "00:00:01:18 to 00:00:02:05: The effect" in shown and '"glow" changes "actor"' in shown
