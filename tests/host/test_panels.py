"""What the panels show: sources, reasons, progress and errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gate import Gate

from .conftest import Blender
from .test_dub import FRAMES, MANY, dub, set_up


def test_sources_are_shown_with_what_is_missing(blender: Blender, media: Path) -> None:
    blender.add(kind="image", file=str(media / "portrait.png"), name="face", channel=1, start=1)
    blender.select(names=["face"])

    shown = blender.panel(name="POSEDUB_PT_dub")

    assert "face" in shown
    assert "Select a sound strip" in shown
    assert shown[-1] == "[posedub.dub]"


def test_assigned_source_can_be_cleared(blender: Blender, media: Path) -> None:
    blender.add(kind="image", file=str(media / "portrait.png"), name="face", channel=1, start=1)
    blender.select(names=["face"])
    assert "[posedub.clear_source]" not in blender.panel(name="POSEDUB_PT_dub")

    blender.op(name="assign_source", role="portrait")

    assert "[posedub.clear_source]" in blender.panel(name="POSEDUB_PT_dub")


def test_error_of_the_last_attempt_is_shown_until_the_next(blender: Blender, media: Path) -> None:
    blender.op(name="assign_source", role="audio")

    text = " ".join(blender.panel(name="POSEDUB_PT_dub"))
    assert "Nothing to set: select a sound strip first." in text

    blender.op(name="clear_source", role="audio")
    assert "Nothing to set" not in " ".join(blender.panel(name="POSEDUB_PT_dub"))


def test_running_dub_shows_progress_and_cancel_then_what_can_be_done(dubbing: Blender, gate: Gate, media: Path) -> None:
    set_up(dubbing, media, frames=MANY, seed=9)
    with gate.closed():
        dubbing.op(name="dub")
        assert "0.00 Reading the sound" in dubbing.panel(name="POSEDUB_PT_jobs")
        dubbing.pump_until_saved(frames=1)
        shown = dubbing.panel(name="POSEDUB_PT_jobs")
        assert "[posedub.cancel]" in shown
        assert any(f"/{MANY}" in line for line in shown)

        dubbing.op(name="cancel", wait=True)

    shown = dubbing.panel(name="POSEDUB_PT_jobs")
    assert "[posedub.cancel]" not in shown
    assert {"[posedub.retry]", "[posedub.fetch]", "[posedub.remove]"} <= set(shown)


def test_finished_dub_is_marked_untrained(dubbing: Blender, media: Path) -> None:
    set_up(dubbing, media)
    version = dub(dubbing)["version"]

    shown = dubbing.panel(name="POSEDUB_PT_jobs")

    assert f"speech {version} (untrained)" in shown
    assert f"{FRAMES}/{FRAMES} frames" in shown


def test_server_panel_names_version_device_and_weights(dubbing: Blender) -> None:
    dubbing.op(name="server_check", wait=True)

    text = "\n".join(dubbing.panel(name="POSEDUB_PT_server"))

    assert "PoseDub 0.1.0 on cpu" in text
    assert "(untrained)" in text
    assert "Untrained weights: no speech, no movement" in dubbing.panel(name="POSEDUB_PT_dub")


@pytest.mark.parametrize("mode", ["local", "address"])
def test_server_panel_offers_to_start_only_a_local_server(blender: Blender, mode: str) -> None:
    blender.preferences(mode=mode)

    offered = "[posedub.server_start]" in blender.panel(name="POSEDUB_PT_server")

    assert offered == (mode == "local")


def test_settings_panel_shows_all_parameters(blender: Blender) -> None:
    assert blender.panel(name="POSEDUB_PT_settings") == [
        "Mouth Strength",
        "Picture Size",
        "Portrait Crop",
        "Pose Crop",
        "Pose Reading",
        "Seed",
        "Precision",
    ]


def test_the_growing_list_of_dubs_lies_below_the_settings(blender: Blender) -> None:
    names = [f"POSEDUB_PT_{name}" for name in ("pose", "output", "faces", "preview", "jobs", "takes", "server")]
    *settings, jobs, takes, server = blender.panel_orders(names=names)
    assert max(settings) < jobs < takes < server


def test_roles_are_named_and_the_origin_of_sources_is_told(dubbing: Blender, media: Path) -> None:
    set_up(dubbing, media)
    shown = dubbing.panel(name="POSEDUB_PT_dub")
    assert shown[:5] == ["Portrait", "face", "[posedub.assign_source]", "Sound", "speech"]
    assert "Now it is a selected strip" in dubbing.tooltip(name="assign_source", role="pose")
    name = dub(dubbing)["name"]
    dubbing.select(names=[name])
    assert f"As in {name}: portrait, sound, pose" in dubbing.panel(name="POSEDUB_PT_dub")
    assert "the selected dub was made from" in dubbing.tooltip(name="assign_source", role="pose")


def test_strip_menus_offer_the_dub(blender: Blender) -> None:
    assert blender.menu() == ["[posedub.dub]", "[posedub.assign_source]"]


def test_status_bar_shows_the_running_dub_and_how_many_wait(dubbing: Blender, media: Path) -> None:
    assert dubbing.status_bar() == []
    set_up(dubbing, media, seed=31)
    dubbing.op(name="dub")
    dubbing.settings(seed=32)
    dubbing.op(name="dub")

    progress, waiting, cancel = dubbing.status_bar()

    assert progress.startswith("0.00 speech v") and progress.endswith(": Reading the sound")
    assert (waiting, cancel) == ("+ 1", "[posedub.cancel]")
    dubbing.finish()
    assert dubbing.status_bar() == []


def test_everything_to_click_has_a_tooltip(blender: Blender) -> None:
    assert blender.without_tooltip() == []


def test_settings_are_kept_as_presets(blender: Blender) -> None:
    blender.settings(output="overlay", feather=0.5, mouth_strength=2.0, size="320")
    blender.keep_preset(preset="Close Up")
    blender.new_scene()
    assert blender.setting(name="output") == "crop"

    blender.apply_preset(name="Close Up")

    kept = [blender.setting(name=name) for name in ("output", "feather", "mouth_strength", "size")]
    assert kept == ["overlay", 0.5, 2.0, "320"]
    blender.keep_preset(preset="Close Up", remove_name=True)
    assert not blender.presets()


def test_changes_of_the_edit_can_be_adjusted_and_undone(blender: Blender) -> None:
    options = blender.operator_options()
    changing = {name for name, flags in options.items() if "UNDO" in flags}
    assert {"choose_face", "clear_face", "assign_source", "clear_source", "key_handles", "clear_pose"} <= changing
    assert all("REGISTER" in options[name] for name in changing)
    preset = {name for name, flags in options.items() if "PRESET" in flags}
    assert {"bake_pose", "pose_smooth"} <= preset and "dub" not in preset, "who is shown is stated, not preset"
