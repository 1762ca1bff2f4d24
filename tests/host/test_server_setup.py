"""From a bare computer to a first dub: the server is set up, updated, repaired and removed by buttons."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from blender_addon.core.installation import RECORD
from blender_addon.core.version import VERSION
from tests import standins
from tests.servers import free_port
from tests.standins import StandIns

from .conftest import Blender

REMOVE = "[posedub.server_remove]"
PANEL, SET_UP, EXAMPLE = "POSEDUB_PT_dub", "[posedub.server_setup]", "[posedub.try_example]"
READY = {"result": ["FINISHED"]}


@dataclass
class Bare:
    """A Blender on a computer without a server, and where one goes."""

    blender: Blender
    root: Path

    def shown(self) -> str:
        """What the panel shows, looked at anew."""
        self.blender.look_anew()
        return " ".join(self.blender.panel(name=PANEL))

    def preferences(self) -> str:
        self.blender.look_anew()
        return " ".join(self.blender.preferences_panel())


@pytest.fixture(scope="module")
def worker(addon_zip: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Blender]:
    """A Blender that finds one Python and no command posedub."""
    folder = tmp_path_factory.mktemp("bare")
    made = Blender(addon_zip, folder, standins.surroundings(folder / "bin", f"{standins.NOWHERE}/simple"))
    yield made
    if made.alive():
        made.end()


@pytest.fixture
def bare(worker: Blender, stand_ins: StandIns, tmp_path: Path) -> Iterator[Bare]:
    """Nothing is installed; packages come from a folder."""
    worker.new_scene()
    root = tmp_path / "root"
    values = {"executable": "", "device": "cpu", "server_root": str(root), "wheels": str(stand_ins.wheels)}
    worker.preferences(mode="local", port=free_port(), data_dir=str(tmp_path / "data"), **values)
    yield Bare(worker, root)
    worker.stop_server_and_wait()
    worker.finish()


def test_bare_computer_is_told_what_to_do(bare: Bare, media: Path) -> None:
    shown = bare.shown()
    assert "The server is not set up on this computer yet." in shown and SET_UP in shown
    assert "About 0.0 GB to download" in shown
    assert "1. Add a portrait, a sound and a head movement as strips" in shown and EXAMPLE in shown
    assert SET_UP in bare.preferences()
    assert "Set up the server first." in bare.blender.op(name="try_example")["error"]

    bare.blender.add(kind="sound", file=str(media / "speech.wav"), name="speech", channel=1, start=1)
    bare.blender.select(names=["speech"])
    assert EXAMPLE not in bare.shown()
    assert "not set up on this computer. Press Set Up Server." in bare.blender.op(name="server_start")["error"]


def test_nothing_is_downloaded_without_leave(bare: Bare) -> None:
    bare.blender.preferences(wheels="")
    assert "Blender may not go online: switch on" in bare.blender.op(name="server_setup")["error"]
    assert not bare.root.exists()
    assert "Blender may not go online yet:" in bare.shown()

    bare.blender.go_online(allowed=True)
    error = bare.blender.op(name="server_setup", wait=True)["error"]
    bare.blender.go_online(allowed=False)

    assert "The package index 127.0.0.1 does not answer, or broke off." in error
    shown = bare.shown()
    assert "The package index 127.0.0.1 does not answer" in shown
    assert "was broken off; what was downloaded is kept." in shown and SET_UP in shown


@pytest.mark.slow
def test_from_one_button_to_a_first_dub_and_back(bare: Bare, tmp_path: Path) -> None:
    blender = bare.blender
    assert blender.op(name="server_setup", wait=True) == READY
    assert SET_UP not in bare.shown()
    assert f"The server is set up, version {VERSION}, for: Processor." in bare.preferences()

    assert blender.op(name="try_example") == READY
    blender.pump_until_saved(frames=1)
    assert blender.op(name="cancel", wait=True) == READY

    example = blender.example()
    assert example["strips"] == {"portrait": "IMAGE", "pose": "MOVIE", "speech": "SOUND"}
    assert (len(example["dubs"]), example["fps"], example["edited"]) == (1, 25, "PoseDub Example")
    assert blender.server()["owned"]
    assert EXAMPLE not in bare.shown()

    assert blender.op(name="server_remove", wait=True) == READY
    assert not bare.root.exists() and (tmp_path / "data").is_dir()
    assert blender.server()["state"] == "stopped" and SET_UP in bare.shown()


def test_update_after_the_add_on_was_updated(bare: Bare) -> None:
    bare.blender.op(name="server_setup", wait=True)
    bare.blender.stop_server_and_wait()
    record = bare.root / RECORD
    record.write_text(json.dumps(json.loads(record.read_text()) | {"version": "0.0.1"}))

    assert f"The server is of version 0.0.1, the add-on of {VERSION}." in bare.shown()
    assert f"version 0.0.1, the add-on of {VERSION}. Press Update" in bare.blender.op(name="server_start")["error"]

    assert bare.blender.op(name="server_setup", wait=True) == READY
    assert SET_UP not in bare.shown()


def test_what_a_broken_off_try_left_can_be_fetched_anew_or_removed(bare: Bare) -> None:
    lock = bare.root / "incomplete.json"
    bare.root.mkdir()
    lock.write_text(json.dumps({"version": VERSION, "build": "cpu", "folder": "x", "pid": 1, "born": -1}))
    shown = bare.shown()
    assert "was broken off; what was downloaded is kept." in shown and shown.count(SET_UP) == 2 and REMOVE in shown

    assert bare.blender.op(name="server_remove", wait=True) == READY

    assert "The server is not set up on this computer yet." in bare.shown()


def test_repair_and_remove(bare: Bare) -> None:
    bare.blender.op(name="server_setup", wait=True)
    for python in bare.root.glob("environments/*/bin/python"):
        python.unlink()
    assert "The server is damaged: its Python is gone" in bare.shown()
    bare.blender.stop_server_and_wait()
    assert "was set up here is damaged. Press Repair Server." in bare.blender.op(name="server_start")["error"]
    assert bare.blender.op(name="server_setup", anew=True, wait=True) == READY
    assert SET_UP not in bare.shown()

    assert bare.blender.op(name="server_remove", wait=True) == READY

    assert not bare.root.exists()
    assert "does not exist yet. Set up the server first." in bare.blender.op(name="server_folder")["error"]
    assert "nothing has been installed here yet" in bare.blender.op(name="server_setup_log")["error"]


def test_fault_is_shown_until_the_next_try(bare: Bare, tmp_path: Path, stand_ins: StandIns) -> None:
    bare.blender.preferences(wheels=str(tmp_path))
    assert "is no folder of wheels" in bare.blender.op(name="server_setup", wait=True)["error"]
    assert bare.shown().count("is no folder of wheels") == 1 and "[posedub.server_setup_log]" in bare.shown()

    bare.blender.preferences(wheels=str(stand_ins.wheels))
    assert bare.blender.op(name="server_setup", wait=True) == READY
    assert bare.blender.setup_error() == ""
    assert bare.blender.op(name="server_setup_log") == READY
