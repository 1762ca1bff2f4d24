"""The add-on enabled from two repositories at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import ServerProcess

from .conftest import Blender
from .test_dub import FRAMES, dub, set_up

OWN, OTHER = "bl_ext.user_default.posedub", "bl_ext.other.posedub"
WHOLE = {"operator": True, "panel": True}
SENTENCE = 'PoseDub is enabled twice: the copy from the repository "{}" works. Disable one of the two.'


@pytest.fixture
def twice(addon_zip: Path, tmp_path: Path) -> Iterator[Blender]:
    """A Blender process of its own with two copies, the first at work."""
    (tmp_path / "repository").mkdir()
    worker = Blender(addon_zip, tmp_path)
    worker.install_again(zip_path=str(addon_zip), folder=str(tmp_path / "repository"))
    worker.new_scene()
    yield worker
    assert worker.end() == 0


def test_a_second_copy_waits_and_says_so(twice: Blender, server: ServerProcess, media: Path) -> None:
    assert twice.copy_at_work() == [OWN, {OTHER: [SENTENCE.format("user_default")]}]
    assert SENTENCE.format("user_default") in " ".join(twice.panel(name="POSEDUB_PT_dub"))

    twice.toggle_copy(other=True, enabled=False)

    assert twice.is_registered() == WHOLE
    assert twice.copy_at_work() == [OWN, {}]
    assert "enabled twice" not in " ".join(twice.panel(name="POSEDUB_PT_dub"))
    twice.preferences(mode="address", address=server.address)
    set_up(twice, media)
    assert len(dub(twice)["elements"]) == FRAMES


def test_the_copy_that_waited_works_when_the_first_is_disabled(twice: Blender) -> None:
    twice.toggle_copy(other=False, enabled=False)

    assert twice.is_registered() == WHOLE
    assert twice.copy_at_work() == [OTHER, {}]
    assert twice.settings_of_copy(other=True) == 50761
    twice.toggle_copy(other=False, enabled=True)
    assert twice.copy_at_work() == [OTHER, {OWN: [SENTENCE.format("other")]}]
    twice.toggle_copy(other=False, enabled=False)
    assert twice.is_registered() == WHOLE
    twice.toggle_copy(other=True, enabled=False)
    assert twice.is_registered() == {"operator": False, "panel": False}
    twice.toggle_copy(other=False, enabled=True)
    assert twice.copy_at_work() == [OWN, {}]
