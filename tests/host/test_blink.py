"""Blink as a curve of the dub strip, with a real model server whose weights can close eyes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import ServerProcess

from .conftest import Blender
from .test_dub import FRAMES, dub, set_up
from .test_pose_dub import pictures


@pytest.fixture(scope="module")
def lid_server(tmp_path_factory: pytest.TempPathFactory, lid_weights: Path) -> Iterator[ServerProcess]:
    """A server whose weights heed the blink."""
    with ServerProcess(tmp_path_factory.mktemp("lids") / "data", ["--weights", str(lid_weights)]) as running:
        yield running


@pytest.fixture
def blinking(blender: Blender, lid_server: ServerProcess) -> Blender:
    """Blender that uses it."""
    blender.preferences(mode="address", address=lid_server.address)
    return blender


def test_a_keyed_blink_closes_eyes_there_alone_and_stays_with_the_strip(blinking: Blender, media: Path) -> None:
    set_up(blinking, media)
    blinking.settings(pose_kind="fixed", blinking="off")
    first = dub(blinking)
    plan = blinking.jobs()[-1]["plan"]
    assert (plan["blink"], plan["blinking"]) == ([0.0], "off")
    blinking.select(names=[first["name"]])
    assert any("posedub_blink" in row or "Blink" in row for row in blinking.panel(name="POSEDUB_PT_pose"))
    start = first["left"]
    for frame, value in ((1, 0.0), (2, 1.0), (3, 0.0)):
        blinking.key(name=first["name"], prop="posedub_blink", frame=start + frame, value=value)
    blinking.linear_keys()
    blinking.select(names=["speech", "face", first["name"]])

    second = dub(blinking)

    assert blinking.jobs()[-1]["plan"]["blink"] == pytest.approx([0, 0, 1, *[0] * (FRAMES - 3)])
    same = [one == other for one, other in zip(pictures(first), pictures(second), strict=True)]
    assert same == [index != 2 for index in range(FRAMES)]
    assert list(blinking.pose_keys(name=second["name"], prop="posedub_blink")) == ["0"]
    blinking.select(names=[second["name"]])
    blinking.op(name="clear_pose", what="blink")
    assert blinking.pose_keys(name=second["name"], prop="posedub_blink") == {}
