"""The server's installation by the real uv, from wheels that stand in for the real ones; faults are sentences."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import build_addon
from blender_addon.client.installer import Carried, Installer, Order, carried, fits
from blender_addon.client.server_process import environment
from blender_addon.core.errors import AddonError
from blender_addon.core.installation import ENVIRONMENTS, INCOMPLETE, RECORD, Condition, Installation
from blender_addon.core.version import VERSION
from tests import standins
from tests.limits import HANGS
from tests.standins import NOWHERE, Index, StandIns

ORDER = Order(VERSION, "linux-x64", "cpu")
NEWER = "99.0.0"
AGAIN = "press Set Up Server again"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the stand-ins are for Linux")


@pytest.fixture(scope="session")
def uv() -> Path:
    """The wheel of uv."""
    return build_addon.uv_wheel(build_addon.PLATFORMS["linux-x64"])


@pytest.fixture
def parts(tmp_path: Path, uv: Path) -> StandIns:
    """What is installed."""
    return standins.make(tmp_path / "parts", uv)


@pytest.fixture
def index(parts: StandIns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """The index that uv asks."""
    with standins.index(parts.wheels) as made:
        for name, value in standins.surroundings(tmp_path / "bin", made.address).items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """Where to; the folder does not exist yet."""
    return Installation(tmp_path / "posedub")


def install(installation: Installation, parts: StandIns, order: Order = ORDER) -> Installer:
    """Install, to the end; raises AddonError."""
    installer = Installer(installation, parts.carried, order)
    installer.start()
    installer.wait(HANGS)
    return installer


def environments(installation: Installation) -> list[str]:
    folder = installation.root / ENVIRONMENTS
    return sorted(one.name for one in folder.iterdir()) if folder.exists() else []


def version_of(installation: Installation) -> str:
    """What the installed server says."""
    command = installation.command()
    assert command
    code = [command[0], "-P", "-s", "-c", "import model_server; print(model_server.__version__)"]
    return run(code).strip()


def run(command: list[str]) -> str:
    """What a program of the installed server writes, as the add-on starts it."""
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=True).stdout


def test_server_is_installed_from_an_index(installation: Installation, parts: StandIns, index: Index) -> None:
    assert installation.condition(VERSION) is Condition.ABSENT

    install(installation, parts)

    assert installation.condition(VERSION) is Condition.READY
    assert version_of(installation) == VERSION
    assert environments(installation) == [installation.installed().folder]
    assert not (installation.root / INCOMPLETE).exists()
    assert "torch==2.13.0" in (installation.root / "setup.log").read_text()
    assert "serve" in run([*installation.command(), "--help"])


def test_folder_of_wheels_needs_no_network(installation: Installation, parts: StandIns, index: Index) -> None:
    index.close()
    install(installation, parts, replace(ORDER, wheels=parts.wheels, proxy=NOWHERE))
    assert version_of(installation) == VERSION


def test_a_try_that_met_no_index_is_taken_up(
    installation: Installation, parts: StandIns, index: Index, monkeypatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"{NOWHERE}/simple")

    with pytest.raises(AddonError, match=f"The package index 127.0.0.1 does not answer, or broke off.*{AGAIN}"):
        install(installation, parts)

    assert installation.condition(VERSION) is Condition.INCOMPLETE
    assert environments(installation) == [] and installation.command() is None
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.address)
    install(installation, parts)
    assert installation.condition(VERSION) is Condition.READY


def test_proxy_that_lets_nothing_through(
    installation: Installation, parts: StandIns, index: Index, monkeypatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://127.0.0.1:9/simple")
    with pytest.raises(AddonError, match="The proxy lets nothing through. Correct it in the preferences"):
        install(installation, parts, replace(ORDER, proxy=NOWHERE))


def stalled(installation: Installation, parts: StandIns, index: Index) -> Installer:
    """An installation whose download has stopped half-way."""
    index.open.clear()
    installer = Installer(installation, parts.carried, ORDER)
    installer.start()
    assert index.stalled.wait(HANGS)
    return installer


def test_cancelled_half_way_and_taken_up(installation: Installation, parts: StandIns, index: Index) -> None:
    installer = stalled(installation, parts, index)

    installer.cancel()
    installer.wait(HANGS)

    assert installer.finished and installation.condition(VERSION) is Condition.INCOMPLETE
    assert environments(installation) == []
    index.open.set()
    install(installation, parts)
    assert installation.condition(VERSION) is Condition.READY


KILLED = """
import sys
from pathlib import Path
from blender_addon.client.installer import *
parts = Carried(*map(Path, sys.argv[2:5]))
installer = Installer(Installation(Path(sys.argv[1])), parts, Order({version!r}, "linux-x64", "cpu"))
installer.start()
installer.wait()
"""


def test_killed_half_way_and_taken_up(installation: Installation, parts: StandIns, index: Index) -> None:
    index.open.clear()
    carried = parts.carried
    command = [sys.executable, "-c", KILLED.format(version=VERSION), *map(str, (installation.root, carried.uv))]
    command += [str(carried.server), str(carried.locks)]
    root = str(Path(build_addon.__file__).parent)
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": root}) as blender:
        assert index.stalled.wait(HANGS)
        attempt = installation.attempt()
        assert attempt and attempt.going_on and installation.condition(VERSION) is Condition.ELSEWHERE
        with pytest.raises(AddonError, match="Another Blender is setting up the server. Wait"):
            install(installation, parts)
        blender.send_signal(signal.SIGKILL)

    assert installation.condition(VERSION) is Condition.INCOMPLETE and not attempt.going_on
    assert environments(installation) == [attempt.folder]
    index.open.set()
    install(installation, parts)
    assert environments(installation) == [installation.installed().folder] != [attempt.folder]


def test_update_that_fails_leaves_the_server_of_before(
    installation: Installation, parts: StandIns, index: Index, tmp_path: Path, uv: Path
) -> None:
    install(installation, parts)
    newer = standins.make(tmp_path / "newer", uv, NEWER)
    order = replace(ORDER, version=NEWER)
    assert installation.condition(NEWER) is Condition.OUTDATED
    damaged = replace(newer.carried, locks=tmp_path / "no locks")

    with pytest.raises(AddonError, match="cannot be read"):
        install(installation, replace(newer, carried=damaged), order)
    index.close()
    (newer.carried.locks / "base.txt").write_text("torch==2.13.0\nmissing==1\n")
    with pytest.raises(AddonError, match="The package index 127.0.0.1 does not answer"):
        install(installation, newer, order)

    assert installation.condition(NEWER) is Condition.OUTDATED
    assert version_of(installation) == VERSION


def test_update_takes_the_place_of_the_server_of_before(
    installation: Installation, parts: StandIns, index: Index, tmp_path: Path, uv: Path
) -> None:
    install(installation, parts)
    before = installation.installed()

    install(installation, standins.make(tmp_path / "newer", uv, NEWER), replace(ORDER, version=NEWER, anew=True))

    assert version_of(installation) == NEWER
    assert environments(installation) == [installation.installed().folder] != [before.folder]


def test_server_without_its_python_is_broken_and_repaired(
    installation: Installation, parts: StandIns, index: Index
) -> None:
    install(installation, parts)
    installation.python(installation.installed().folder).unlink()
    assert installation.condition(VERSION) is Condition.BROKEN and installation.command() is None

    install(installation, parts, replace(ORDER, anew=True))

    assert installation.condition(VERSION) is Condition.READY


def test_damaged_download_is_named(installation: Installation, parts: StandIns, index: Index) -> None:
    wheel = standins.write_wheel(parts.wheels, "torch", "2.13.0", {"torch/__init__.py": "evil = True"})
    assert wheel.exists()
    with pytest.raises(AddonError, match="torch arrived damaged, or is not the file that was expected. Press Repair"):
        install(installation, parts)


def test_server_that_does_not_run_is_not_taken(installation: Installation, parts: StandIns, index: Index) -> None:
    standins.write_wheel(
        parts.carried.server.parent, "posedub", VERSION, {"model_server/__init__.py": "import nothing"}
    )
    with pytest.raises(AddonError, match="The server was installed, but does not run. Press Repair Server"):
        install(installation, parts)
    assert "No module named 'nothing'" in (installation.root / "setup.log").read_text()
    assert installation.condition(VERSION) is Condition.INCOMPLETE


def test_graphics_card_that_pytorch_does_not_see_is_remarked(
    installation: Installation, parts: StandIns, index: Index
) -> None:
    shutil.copy(parts.carried.locks / "linux-x64-cpu.txt", parts.carried.locks / "linux-x64-cuda.txt")
    install(installation, parts, replace(ORDER, build="cuda"))
    assert "PyTorch sees no graphics card" in installation.installed().remark


def test_disk_too_small_is_said_before_anything_is_downloaded(
    installation: Installation, parts: StandIns, index: Index
) -> None:
    (parts.carried.locks / "linux-x64-cpu.txt").write_text("# download: 3\n# disk: 900000000\n-r base.txt\n")
    with pytest.raises(AddonError, match="The disk is too small: the server takes 990000.0 GB in .* are free"):
        install(installation, parts)
    assert not installation.root.exists()


def mounted(folder: Path, options: str) -> None:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that holds uv, and little more."""
    mounted(tmp_path / "small", "size=60m")
    yield tmp_path / "small"
    subprocess.run(["umount", str(tmp_path / "small")], check=True)


def test_disk_that_runs_full_is_said(small_disk: Path, parts: StandIns, index: Index) -> None:
    standins.write_wheel(parts.wheels, "huge", "1", {}, padding=40_000_000)
    (parts.carried.locks / "base.txt").write_text("torch==2.13.0\nhuge==1\n")
    installation = Installation(small_disk / "posedub")

    with pytest.raises(AddonError, match=f"The disk of .*posedub is full. Free some space.*{AGAIN}"):
        install(installation, parts)

    assert installation.condition(VERSION) is Condition.INCOMPLETE and environments(installation) == []


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    mounted(tmp_path / "closed", "ro")
    yield tmp_path / "closed"
    subprocess.run(["umount", str(tmp_path / "closed")], check=True)


def test_read_only_folder_is_said(read_only: Path, parts: StandIns, index: Index) -> None:
    with pytest.raises(AddonError, match="cannot be made: Read-only file system. Choose another server folder"):
        install(Installation(read_only / "posedub"), parts)


def test_no_python_is_said(
    installation: Installation, parts: StandIns, index: Index, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(
        AddonError, match="no Python that the server can use, and none could be downloaded. Install Python"
    ):
        install(installation, parts)


def test_blenders_own_python_is_left_alone(installation: Installation, parts: StandIns, index: Index) -> None:
    own = Path(sys._base_executable).resolve().parent
    with pytest.raises(AddonError, match="no Python that the server can use"):
        install(installation, parts, replace(ORDER, blender=own))


def test_remove_leaves_nothing(installation: Installation, parts: StandIns, index: Index) -> None:
    install(installation, parts)
    installation.remove()
    assert not installation.root.exists() and installation.condition(VERSION) is Condition.ABSENT


def test_half_written_record_is_no_server(installation: Installation) -> None:
    installation.root.mkdir()
    (installation.root / RECORD).write_text('{"version": "0.')
    assert installation.condition(VERSION) is Condition.ABSENT and installation.command() is None


@pytest.mark.parametrize(("key", "value"), [("version", "0.0.1"), ("platform", "windows-x64"), ("build", "cuda")])
def test_folder_of_wheels_for_another_computer_is_refused(parts: StandIns, key: str, value: str) -> None:
    record = parts.wheels / standins.WHEELHOUSE
    record.write_text(json.dumps(json.loads(record.read_text()) | {key: value}))
    with pytest.raises(AddonError, match=f"was made for PoseDub .*{value}.*Make it anew"):
        fits(replace(ORDER, wheels=parts.wheels))


def test_folder_without_wheels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AddonError, match="is no folder of wheels. Make it with build_addon.py --wheelhouse"):
        fits(replace(ORDER, wheels=tmp_path))


def test_folder_that_lacks_a_package_is_said(installation: Installation, parts: StandIns, index: Index) -> None:
    next(parts.wheels.glob("torch-*.whl")).unlink()
    with pytest.raises(AddonError, match="The folder .* lacks torch for this computer. Make the folder anew"):
        install(installation, parts, replace(ORDER, wheels=parts.wheels))


def test_folder_whose_wheel_is_damaged_is_to_be_made_anew(
    installation: Installation, parts: StandIns, index: Index
) -> None:
    wheel = next(parts.wheels.glob("torch-*.whl"))
    content = bytearray(wheel.read_bytes())
    content[len(content) // 2] ^= 1
    wheel.write_bytes(content)
    with pytest.raises(AddonError, match="torch arrived damaged.* Make the folder anew with build_addon.py"):
        install(installation, parts, replace(ORDER, wheels=parts.wheels))


def test_server_in_a_folder_that_was_moved_goes_on(
    installation: Installation, parts: StandIns, index: Index, tmp_path: Path
) -> None:
    install(installation, parts)
    moved = Installation(installation.root.rename(tmp_path / "moved"))
    assert moved.condition(VERSION) is Condition.READY and version_of(moved) == VERSION
    install(moved, parts)
    assert version_of(moved) == VERSION


def test_add_on_that_is_no_zip_carries_no_server(tmp_path: Path) -> None:
    with pytest.raises(AddonError, match="This copy of the add-on carries no server. Install the zip"):
        carried(tmp_path)


def test_damaged_uv_is_said(installation: Installation, parts: StandIns, index: Index, tmp_path: Path) -> None:
    broken = tmp_path / "uv-1-py3-none-any.whl"
    broken.write_bytes(b"no zip")
    with pytest.raises(AddonError, match="uv-1-py3-none-any.whl is damaged. Install the add-on's zip again"):
        install(installation, replace(parts, carried=Carried(broken, parts.carried.server, parts.carried.locks)))
