"""What the panels show: sources, reasons, progress and errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Blender
from .test_dub import FRAMES, dub, set_up


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


def test_running_dub_shows_progress_and_cancel_then_what_can_be_done(dubbing: Blender, media: Path) -> None:
    set_up(dubbing, media, seed=9)
    dubbing.op(name="dub")
    assert "0.00 Reading the sound" in dubbing.panel(name="POSEDUB_PT_jobs")
    dubbing.pump_until_saved(frames=1)
    shown = dubbing.panel(name="POSEDUB_PT_jobs")
    assert "[posedub.cancel]" in shown
    assert any(f"/{FRAMES}" in line for line in shown)

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
        "Seed",
        "Precision",
    ]


def test_strip_menus_offer_the_dub(blender: Blender) -> None:
    assert blender.menu() == ["[posedub.dub]", "[posedub.assign_source]"]
