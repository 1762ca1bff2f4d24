"""The server as the preferences describe it: managed on this machine, or at an address."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_server.engines.dae_talker.untrained import write_untrained
from model_server.engines.weights import built_in_weights, default_weights, describe
from tests.gate import Gate
from tests.servers import ServerProcess, free_port

from .conftest import Blender
from .test_dub import dub, results, set_up

POSEDUB = Path(sys.executable).with_name("posedub")


@pytest.fixture
def managed(blender: Blender, tmp_path: Path) -> Iterator[Blender]:
    """Blender that starts a server of its own."""
    blender.preferences(mode="local", executable=str(POSEDUB), port=free_port(), data_dir=str(tmp_path / "data"))
    yield blender
    blender.stop_server_and_wait()


def test_dub_starts_the_managed_server_which_can_be_stopped(managed: Blender, media: Path) -> None:
    set_up(managed, media, frames=2)

    assert len(dub(managed)["elements"]) == 2

    server = managed.server()
    assert (server["state"], server["owned"], server["problem"]) == ("running", True, "")
    assert managed.op(name="show_log") == {"result": ["FINISHED"]}
    assert "serves on 127.0.0.1" in managed.texts()["PoseDub server log"]
    assert managed.op(name="server_stop") == {"result": ["FINISHED"]}
    assert managed.server()["state"] == "stopped"
    assert "[posedub.server_start]" in managed.panel(name="POSEDUB_PT_server")


def test_managed_server_has_the_default_weights(managed: Blender, media: Path) -> None:
    kind = default_weights().kind
    set_up(managed, media, frames=1)

    strip = dub(managed)

    assert managed.jobs()[-1]["weights_kind"] == kind
    assert strip["name"].endswith(" untrained") == (kind == "untrained")
    managed.op(name="server_check", wait=True)
    warned = "Untrained weights: no speech, no movement" in managed.panel(name="POSEDUB_PT_dub")
    assert warned == (kind == "untrained")


def test_server_that_runs_is_reused_and_left_alone(blender: Blender, server: ServerProcess) -> None:
    blender.preferences(mode="local", executable=str(POSEDUB), port=server.port)

    assert blender.op(name="server_start", wait=True) == {"result": ["FINISHED"]}

    assert not blender.server()["owned"]
    assert "untrained" in blender.server()["info"]
    assert "was not started by this Blender" in blender.op(name="server_stop")["error"]
    assert server.process.poll() is None


def test_missing_command_is_one_sentence(managed: Blender, media: Path, tmp_path: Path) -> None:
    managed.preferences(executable=str(tmp_path / "posedub"))
    set_up(managed, media)

    managed.save(path=str(tmp_path / "edit.blend"))

    assert "The command posedub is not found. Install the model server" in managed.op(name="dub", wait=True)["error"]
    managed.add(kind="sound", file=str(media / "speech.wav"), name="more", channel=5, start=1)
    managed.select(names=["speech", "more", "face", "pose"])
    assert "posedub is not found" in managed.op(name="dub", sounds="each")["error"]
    assert not results(managed) and not managed.jobs()
    assert not (tmp_path / "dubs").exists()


def test_server_that_cannot_start_fails_the_dub_with_advice(managed: Blender, media: Path, tmp_path: Path) -> None:
    broken = tmp_path / "posedub"
    broken.write_text("#!/bin/sh\necho No module named torch\nexit 3\n")
    broken.chmod(0o755)
    managed.preferences(executable=str(broken))
    set_up(managed, media)

    error = managed.op(name="dub", wait=True)["error"]

    assert "The model server ended with code 3." in error
    assert "install the model server again" in error
    assert managed.jobs()[-1]["state"] == "failed"


def test_check_tells_version_and_weights(dubbing: Blender) -> None:
    assert dubbing.op(name="server_check", wait=True) == {"result": ["FINISHED"]}

    assert "untrained" in dubbing.server()["info"]


def test_check_of_a_silent_address_says_what_to_do(blender: Blender) -> None:
    blender.preferences(mode="address", address=f"127.0.0.1:{free_port()}")

    assert "No model server answers at 127.0.0.1" in blender.op(name="server_check", wait=True)["error"]


def test_other_computers_need_online_access(blender: Blender, media: Path) -> None:
    blender.preferences(mode="address", address="example.org:50761")
    set_up(blender, media)

    for operator in ("dub", "server_check"):
        assert "Allow online access" in blender.op(name=operator, wait=True)["error"]
    assert not blender.jobs()


ONLINE = "Other computers need System > Network > Allow Online Access"


@pytest.mark.parametrize(("address", "noted"), [("127.0.0.1:50761", False), ("localhost:1", False), ("a.org:1", True)])
def test_only_other_computers_are_noted_to_need_online_access(blender: Blender, address: str, noted: bool) -> None:
    blender.preferences(mode="address", address=address)
    assert (ONLINE in blender.preferences_panel()) == noted
    blender.preferences(mode="local")
    assert ONLINE not in blender.preferences_panel()


@pytest.mark.parametrize("form", ["http://127.0.0.1:{}", "grpc://localhost:{}/", " LOCALHOST:{} "])
def test_an_address_in_a_usual_form_is_understood(blender: Blender, server: ServerProcess, form: str) -> None:
    blender.preferences(mode="address", address=form.format(server.port))

    assert blender.op(name="server_check", wait=True) == {"result": ["FINISHED"]}


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "::1", "[::1]", "http://[::1]"])
def test_an_address_of_this_computer_needs_no_port_and_no_network(blender: Blender, address: str) -> None:
    blender.preferences(mode="address", address=address)

    assert ONLINE not in blender.preferences_panel()
    error = blender.op(name="server_check", wait=True).get("error", "No model server answers")
    assert "No model server answers" in error


@pytest.mark.parametrize("address", ["http//here:50761", "127.0.0.1:port", "127.0.0.1:70000", "ftp://here:1"])
def test_an_address_that_cannot_be_read_says_how_to_write_it(blender: Blender, media: Path, address: str) -> None:
    blender.preferences(mode="address", address=address)
    set_up(blender, media)

    sentence = f'The server address "{address}" cannot be read. Write it as host:port'
    for operator in ("server_check", "dub"):
        assert sentence in blender.op(name=operator)["error"]
        assert sentence in " ".join(blender.panel(name="POSEDUB_PT_dub"))
    assert sentence in " ".join(blender.preferences_panel())
    assert blender.panel(name="POSEDUB_PT_server") and not blender.jobs()
    blender.finish()


def test_the_add_on_is_disabled_even_when_blender_has_forgotten_its_handlers(blender: Blender) -> None:
    blender.forget_handlers()
    blender.toggle(enabled=False)
    assert blender.is_registered() == {"operator": False, "panel": False}
    blender.toggle(enabled=True)
    assert blender.is_registered() == {"operator": True, "panel": True}


def test_wrong_token_is_named(blender: Blender, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("right")
    with ServerProcess(tmp_path / "data", ["--token-file", str(tmp_path / "token")]) as server:
        blender.preferences(mode="address", address=server.address, token="wrong")
        refused = blender.op(name="server_check", wait=True)
        blender.preferences(token="right")
        accepted = blender.op(name="server_check", wait=True)
    blender.preferences(token="")

    assert "refused the token" in refused["error"]
    assert accepted == {"result": ["FINISHED"]}


def test_diagnostics_tell_versions_and_hide_secrets(dubbing: Blender, media: Path) -> None:
    dubbing.preferences(token="secret-token-1234")
    dubbing.op(name="server_check", wait=True)
    set_up(dubbing, media, frames=2)
    dubbing.preferences(token="")
    dub(dubbing)
    dubbing.preferences(token="secret-token-1234")

    text = dubbing.diagnostics()
    dubbing.preferences(token="")

    assert dubbing.op(name="copy_diagnostics") == {"result": ["FINISHED"]}
    assert "secret-token-1234" not in text
    assert "done, 2/2 frames" in text


def test_add_on_can_be_disabled_and_enabled(blender: Blender) -> None:
    blender.toggle(enabled=False)
    assert blender.is_registered() == {"operator": False, "panel": False}

    blender.toggle(enabled=True)
    assert blender.is_registered() == {"operator": True, "panel": True}


def test_quitting_with_jobs_ends_blender(dubbing: Blender, gate: Gate, media: Path) -> None:
    set_up(dubbing, media, seed=8)
    with gate.closed():
        dubbing.op(name="dub")
        dubbing.pump_until_saved(frames=1)

        assert dubbing.end() == 0
    dubbing.restart()


def test_managed_server_offers_an_actor_beside_its_weights(managed: Blender, tmp_path: Path) -> None:
    actor = write_untrained(tmp_path / "actor.safetensors")
    managed.preferences(actor=str(actor))
    assert managed.op(name="server_start", wait=True) == {"result": ["FINISHED"]}
    managed.op(name="server_check", wait=True)
    offered = [one["weights_id"] for one in managed.offered()]
    assert offered == [one.id for one in built_in_weights([describe(actor)])]
    assert describe(actor).id in offered[:2]  # it tells the pose of other dubs, not the built-in one
    managed.preferences(actor="")
