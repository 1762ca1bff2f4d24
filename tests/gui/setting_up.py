"""A real Blender on a virtual display sets up its server: every state photographed, or the whole way to a first dub.

`python -m tests.gui.setting_up --out gui` uses small wheels that stand in for the server's, from an index on this
computer that breaks in every way. With `--real` it installs the real ones, from a folder of wheels (`--wheels`) or from
where this computer's uv would look, and dubs the example.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import build_addon
from blender_addon.core import scratch
from blender_addon.core.installation import INCOMPLETE, RECORD, Attempt, size_of
from blender_addon.core.version import VERSION
from tests import standins
from tests.gui.place import Blender, Display, GuiError
from tests.gui.watch import Watch, zip_of

PLATFORM = build_addon.PLATFORMS["linux-x64"]
PADDING, PACE = 80_000_000, 6_000_000
INSTALLED = Path("user/extensions/user_default/posedub/server")
# Faults that are met for real: name, and the preferences that lead there; {work} is the run's folder.
FAULTS: tuple[tuple[str, dict[str, str]], ...] = (
    ("no-index", {}),
    ("damaged-download", {}),
    ("no-python", {}),
    ("no-folder-of-wheels", {"wheels": "{work}"}),
    ("other-blender", {}),
    ("disk-too-small", {}),
    ("disk-full", {"server_root": "{work}/small/PoseDub"}),
    ("read-only", {"server_root": "{work}/closed/PoseDub"}),
    ("server-does-not-run", {}),
)


def main() -> int:
    """Run it; 0, or 1 with one sentence."""
    options = _options()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    run = _whole_way if options.real else _states
    try:
        with tempfile.TemporaryDirectory(prefix="posedub-gui-") as folder, Display() as display:
            blender = Blender.found(options.blender, Path(folder), options.chroot)
            result = run(options, Watch(blender, display, out))
    except (GuiError, build_addon.BuildError) as problem:
        print(f"gui: {problem}", file=sys.stderr)
        return 1
    if "Traceback" in (out / "blender.log").read_text(encoding="utf-8", errors="replace"):
        print(f"gui: the add-on met an error that it did not expect; {out / 'blender.log'} shows it.", file=sys.stderr)
        return 1
    (out / "report.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"Blender {result['blender']}: set up; screenshots and report.json are in {options.out}.")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.gui.setting_up", description=__doc__)
    parser.add_argument("--blender", default="blender", help="Blender's binary (default: blender)")
    parser.add_argument("--chroot", type=Path, help="root folder of the system that --blender is installed in")
    parser.add_argument("--out", type=Path, default=Path("gui"), help="receives screenshots and the report")
    parser.add_argument("--real", action="store_true", help="install the real server, and dub the example")
    parser.add_argument("--zip", type=Path, help="with --real: the add-on's zip (default: it is built)")
    parser.add_argument("--wheels", type=Path, help="with --real: folder of wheels (default: the network)")
    parser.add_argument("--device", default="cpu", help="with --real: PyTorch's build, as in the preferences")
    return parser.parse_args()


def _whole_way(options: argparse.Namespace, watch: Watch) -> dict:
    """From the real zip to a dub; times, and what lies on the disk."""
    work = watch.blender.work
    watch.blender.install(zip_of(options.zip, work))
    wheels = ""
    if options.wheels:  # linked, so that a chroot sees them
        wheels = shutil.copytree(options.wheels, work / "wheels", copy_function=_linked)
    root = work / "PoseDub"
    before = _received()
    job = {"kind": "whole way", "root": str(root), "device": options.device, "wheels": str(wheels)}
    result = watch.follow("setting_up.py", job)
    megabytes = size_of(root) / 1e6
    sizes = {"received_mb": round(_received() - before), "disk_mb": round(megabytes), "largest_mb": _largest(root)}
    shutil.copy(root / "setup.log", watch.out)
    return result | sizes


def _linked(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def _received() -> float:
    """Megabytes that this computer's network cards have received."""
    cards = [line.split() for line in Path("/proc/net/dev").read_text(encoding="ascii").splitlines()[2:]]
    return sum(int(card[1]) for card in cards if card[0] != "lo:") / 1e6


def _largest(root: Path) -> dict[str, float]:
    """The ten largest parts, megabytes; files of several names count for each."""
    places = [*root.glob("environments/*/lib/python*/site-packages/*"), *root.glob("pythons/*"), root / "cache"]
    sizes = {place.name: round(size_of(place) / 1e6, 1) for place in places if place.is_dir()}
    return dict(sorted(sizes.items(), key=lambda one: -one[1])[:10])


def _states(options: argparse.Namespace, watch: Watch) -> dict:
    """Every state, by stand-ins."""
    work = watch.blender.work
    made = standins.make(work / "parts", build_addon.uv_wheel(PLATFORM), padding=PADDING)
    build_addon.write_stubs()
    watch.blender.install(build_addon.build(PLATFORM, work, parts=made.parts))
    with standins.index(made.wheels) as index, _disks(work):
        variables = standins.surroundings(work / "bin", index.address)
        python = next((work / "bin").iterdir())
        if options.chroot:
            python.unlink()
            python = work / "bin" / "python3"
            python.symlink_to("/usr/bin/python3")
        watch.blender = replace(watch.blender, variables=variables)
        watch.actions = _actions(work, index, python)
        faults = [(name, {key: value.format(work=work) for key, value in values.items()}) for name, values in FAULTS]
        job = {"kind": "states", "root": str(work / "PoseDub"), "device": "auto", "faults": faults}
        return watch.follow("setting_up.py", job)


@contextmanager
def _disks(work: Path) -> Iterator[None]:
    """A disk that is too small, and one that may not be written, in folders of `work`."""
    mounts = {"small": "size=90m", "closed": "ro"}
    for name, options in mounts.items():
        (work / name).mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(work / name)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            raise GuiError("Only root can mount the disks that this run needs.")
    try:
        yield
    finally:
        for name in mounts:
            subprocess.run(["umount", "--lazy", str(work / name)], check=False)


def _actions(work: Path, index: standins.Index, python: Path) -> dict[str, Callable[[], object]]:
    """What the script inside asks for."""
    root, server = work / "PoseDub", work / INSTALLED
    lock, wheel = server / "locks" / "linux-x64-cpu.txt", server / f"posedub-{VERSION}-py3-none-any.whl"
    hidden, broken = python.with_suffix(".hidden"), {"model_server/__init__.py": "import nothing"}
    usual = wheel.with_suffix(".usual")
    other = Attempt(VERSION, "cpu", "other", os.getpid(), scratch.born(os.getpid()) or 0)
    actions: dict[str, Callable[[], object]] = {
        f"{does} {name}": _nothing for name, _ in FAULTS for does in ("break", "mend")
    }
    return actions | {
        "slow index": lambda: setattr(index, "pace", PACE),
        "fast index": lambda: setattr(index, "pace", 0),
        "break no-index": lambda: setattr(index, "silent", True),
        "mend no-index": lambda: setattr(index, "silent", False),
        "break damaged-download": lambda: setattr(index, "damaged", True),
        "mend damaged-download": lambda: setattr(index, "damaged", False),
        "break no-python": lambda: python.rename(hidden),
        "mend no-python": lambda: hidden.rename(python),
        "break other-blender": lambda: _write(root / INCOMPLETE, vars(other)),
        "mend other-blender": (root / INCOMPLETE).unlink,
        "break disk-too-small": lambda: _edit(lock, "# disk: 81", "# disk: 900000"),
        "mend disk-too-small": lambda: _edit(lock, "# disk: 900000", "# disk: 81"),
        "break disk-full": lambda: _edit(lock, "# disk: 81", "# disk: 8"),
        "mend disk-full": lambda: _edit(lock, "# disk: 8", "# disk: 81"),
        "break server-does-not-run": lambda: (
            wheel.rename(usual), standins.write_wheel(server, "posedub", VERSION, broken)
        ),
        "mend server-does-not-run": lambda: usual.rename(wheel),
        "older server": lambda: _write(root / RECORD, json.loads((root / RECORD).read_text()) | {"version": "0.0.1"}),
        "damaged server": lambda: next(root.glob("environments/*/bin/python")).unlink(),
    }  # fmt: skip


def _nothing() -> None:
    pass


def _write(file: Path, values: dict) -> None:
    file.write_text(json.dumps(values), encoding="utf-8")


def _edit(file: Path, before: str, after: str) -> None:
    file.write_text(file.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
