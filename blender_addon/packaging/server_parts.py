"""What the add-on installs its server from: the wheels and locks in its zip, and folders of wheels for no network.

`build_addon.py` is the command.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from packaging.markers import Marker

ROOT = Path(__file__).resolve().parents[2]
LOCKS = Path(__file__).resolve().parent / "locks"
UV = "0.13.9"
FOLDER = "server"
"""Of the zip, for all this."""
WHEELHOUSE = "wheelhouse.json"
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "protos", "model_server")
SYSTEMS = {"linux": "linux", "windows": "win32", "macos": "darwin"}
MACHINES = {"linux-x64": "x86_64", "windows-x64": "AMD64", "macos-arm64": "arm64"}


class PartsError(Exception):
    """One sentence: what is missing."""


def backend() -> ModuleType:
    """The server's build backend, which writes the stubs first. Raises ImportError."""
    spec = importlib.util.spec_from_file_location("posedub_backend", ROOT / "protos" / "backend.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def server_wheel(out: Path) -> Path:
    """Build the server's wheel from a copy of its sources. Equal inputs give equal bytes."""
    out = out.resolve()
    for earlier in out.glob("posedub-*.whl"):
        earlier.unlink()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unwanted = shutil.ignore_patterns("__pycache__", "stubs", "*.nbi", "*.nbc")
        for source in SOURCES:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, folder / source, ignore=unwanted)
            else:
                shutil.copyfile(ROOT / source, folder / source)
        code = "import sys; sys.path.insert(0, 'protos'); import backend; backend.build_wheel(sys.argv[1])"
        built = subprocess.run(
            [sys.executable, "-c", code, str(out)],
            cwd=folder,
            env={**os.environ, "SOURCE_DATE_EPOCH": "315532800"},
            capture_output=True,
            text=True,
            check=False,
        )
    if built.returncode != 0:
        raise PartsError(f"The server's wheel could not be built: {built.stderr.strip().splitlines()[-1]}")
    return next(out.glob("posedub-*.whl"))


def requirements(lock: Path) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """(name==version, marker or "", SHA-256 digests) of each package in a lock file and those that it includes."""
    text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line.startswith("-r "):
            yield from requirements(lock.parent / line[3:].strip())
        elif line and not line.startswith("#"):
            requirement, *hashes = re.split(r"\s+--hash=sha256:", line)
            name, _, marker = requirement.partition(" ; ")
            yield name.strip(), marker.strip(), tuple(one.strip() for one in hashes)


def needed(lock: Path, platform: str, python: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(name==version, digests) of the packages that one platform and Python need."""
    target = {
        "sys_platform": SYSTEMS[platform.partition("-")[0]],
        "platform_machine": MACHINES[platform],
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    for requirement, marker, digests in requirements(lock):
        if not marker or Marker(marker).evaluate(target):
            yield requirement, digests


def make_wheelhouse(
    folder: Path, platform: str, build: str, python: str, version: str, targets: Sequence[str], lock: Path
) -> None:
    """Download all wheels of a lock, but the server's own, which the zip carries. Raises PartsError.

    Args:
        targets: wheel platforms, best first, as pip names them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = list(needed(lock, platform, python))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command += ["--implementation", "cp", "--python-version", python, "--dest", str(folder)]
    command += [option for tag in targets for option in ("--platform", tag)]
    result = subprocess.run(
        [*command, *(requirement for requirement, _ in wanted)], capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        said = [line for line in result.stderr.strip().splitlines() if line.startswith("ERROR")] or ["pip broke off"]
        raise PartsError(f"{said[-1]}. PyTorch's own builds need its index in PIP_EXTRA_INDEX_URL.")
    check_digests(folder, {digest for _, digests in wanted for digest in digests}, {n for n, d in wanted if not d})
    told = {"version": version, "platform": platform, "build": build, "python": python}
    (folder / WHEELHOUSE).write_text(json.dumps(told, indent=1), encoding="utf-8")


def check_digests(folder: Path, known: set[str], unknown: set[str]) -> None:
    """Raise PartsError when a wheel is none of the lock's, but for packages whose digests nobody knows."""
    free = {requirement.replace("==", "-").lower() for requirement in unknown}
    for wheel in sorted(folder.glob("*.whl")):
        with wheel.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest not in known and "-".join(wheel.name.lower().split("-")[:2]) not in free:
            raise PartsError(f"{wheel.name} is not the file that the lock names; delete it and try again.")
