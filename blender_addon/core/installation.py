"""A server that the add-on installed: where its files lie, whether they are whole, and what they need.

Each try builds an environment of its own. Only one that was tried out is named in `server.json`, which is
written in one piece: there is never half a server. `incomplete.json` stands while a try goes on.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from . import files, scratch
from .errors import AddonError

RECORD, INCOMPLETE, LOG = "server.json", "incomplete.json", "setup.log"
ENVIRONMENTS, PYTHONS, CACHE = "environments", "pythons", "cache"
MEGABYTE = 10**6
ENDED = -1
SPARE = 1.1
"""Of the space that an installation needs."""


class Condition(Enum):
    """Of the server's installation."""

    ABSENT = "absent"
    ELSEWHERE = "elsewhere"
    INCOMPLETE = "incomplete"
    OUTDATED = "outdated"
    BROKEN = "broken"
    READY = "ready"


@dataclass(frozen=True)
class Lock:
    """Packages of one build on one platform, as the head of its file says.

    Attributes:
        torch: what uv calls the source of PyTorch, "" where it is the usual index.
        download, disk: megabytes, about.
    """

    file: Path
    torch: str
    download: int
    disk: int

    @property
    def packed_share(self) -> float:
        """Size of the downloads over their size on the disk."""
        return self.download / self.disk


def read_lock(file: Path) -> Lock:
    """A lock file with `# key: value` lines at its head. Raises AddonError."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        values = dict(
            line.removeprefix("# ").split(": ", 1) for line in lines if line.startswith("# ") and ": " in line
        )
        return Lock(file, values.get("torch", ""), int(values["download"]), int(values["disk"]))
    except (OSError, KeyError, ValueError) as error:
        raise AddonError(f"{file} cannot be read.", "Install the add-on's zip again.") from error


@dataclass(frozen=True)
class Attempt:
    """A try at an installation.

    Attributes:
        folder: name of its environment.
        pid, born: the process that makes it, and when that began, as `scratch.born` tells.
    """

    version: str
    build: str
    folder: str
    pid: int
    born: int

    @property
    def going_on(self) -> bool:
        """Whether it has not ended, and its process lives."""
        return self.born != ENDED and scratch.born(self.pid) == self.born

    @property
    def by_another(self) -> bool:
        """Whether it goes on in another process."""
        return self.going_on and self.pid != os.getpid()


@dataclass(frozen=True)
class Installed:
    """A whole server: its version, PyTorch's build, the name of its environment, and what the trial run remarked."""

    version: str
    build: str
    folder: str
    remark: str = ""


class Installation:
    """The folder of the server's installation; it may not exist yet."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def condition(self, version: str) -> Condition:
        """How it stands, for an add-on of this version."""
        installed = self.installed()
        if installed is None:
            attempt = self.attempt()
            if attempt is None:
                return Condition.ABSENT
            return Condition.ELSEWHERE if attempt.by_another else Condition.INCOMPLETE
        if not self.python(installed.folder).exists():
            return Condition.BROKEN
        return Condition.READY if installed.version == version else Condition.OUTDATED

    def installed(self) -> Installed | None:
        """The whole server; None when there is none."""
        return self._read(RECORD, Installed)

    def attempt(self) -> Attempt | None:
        """The try that goes on, or that was broken off; None when there is none."""
        return self._read(INCOMPLETE, Attempt)

    def _read(self, name: str, kind: type) -> Any:
        with suppress(OSError, ValueError, TypeError):
            return kind(**json.loads((self.root / name).read_text(encoding="utf-8")))
        return None

    def command(self) -> list[str] | None:
        """What starts the server's command `posedub`; None when there is none."""
        installed = self.installed()
        if installed is None or not (python := self.python(installed.folder)).exists():
            return None
        return [str(python), "-P", "-s", "-m", "model_server"]

    def environment(self, folder: str) -> Path:
        """Where an environment lies."""
        return self.root / ENVIRONMENTS / folder

    def python(self, folder: str) -> Path:
        """The Python of an environment."""
        inside = ("Scripts", "python.exe") if sys.platform == "win32" else ("bin", "python")
        return self.environment(folder).joinpath(*inside)

    def begin(self, version: str, build: str) -> Attempt:
        """Mark the beginning of a try; what earlier ones left is deleted, but for their downloads.

        Raises:
            AddonError: another Blender is at it, or the folder may not be written.
        """
        earlier, pid = self.attempt(), os.getpid()
        if earlier and earlier.by_another:
            raise AddonError("Another Blender is setting up the server.", "Wait until it is ready there.")
        attempt = Attempt(version, build, f"{version}-{build}-{os.urandom(3).hex()}", pid, scratch.born(pid) or 0)
        self._make_root()
        self._write(INCOMPLETE, attempt)
        self.tidy(keep=attempt.folder)
        return attempt

    def _make_root(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AddonError(
                f"The folder {self.root} cannot be made: {error.strerror}.",
                "Choose another server folder in the preferences.",
            ) from error

    def _write(self, name: str, value: Attempt | Installed) -> None:
        files.write_atomic(self.root / name, json.dumps(asdict(value), indent=1).encode())

    def complete(self, attempt: Attempt, remark: str) -> None:
        """From now on the environment of this try is the server; the one before goes. Raises AddonError."""
        self._write(RECORD, Installed(attempt.version, attempt.build, attempt.folder, remark))
        with suppress(OSError):
            (self.root / INCOMPLETE).unlink()
        self.tidy()

    def break_off(self) -> None:
        """The try has ended without a server: its environment goes, its downloads stay."""
        if attempt := self.attempt():
            with suppress(AddonError):
                self._write(INCOMPLETE, replace(attempt, born=ENDED))
        self.tidy()

    def tidy(self, keep: str = "") -> None:
        """Delete all environments but the server's and the one to keep; files in use go another time."""
        installed = self.installed()
        kept = {keep, installed.folder if installed else ""}
        with suppress(OSError):
            for folder in list((self.root / ENVIRONMENTS).iterdir()):
                if folder.name not in kept:
                    shutil.rmtree(folder, ignore_errors=True)

    def drop_downloads(self) -> None:
        """Delete what was downloaded, so that everything is fetched anew."""
        shutil.rmtree(self.root / CACHE, ignore_errors=True)

    def remove(self) -> None:
        """Delete the server, its Python and the downloads. Raises AddonError when files stay."""
        for name in (RECORD, INCOMPLETE, LOG):
            (self.root / name).unlink(missing_ok=True)
        for name in (ENVIRONMENTS, PYTHONS, CACHE, "bin"):
            shutil.rmtree(self.root / name, ignore_errors=True)
        if left := [name for name in (ENVIRONMENTS, PYTHONS, CACHE) if (self.root / name).exists()]:
            raise AddonError(
                f"{self.root / left[0]} could not be deleted: a program holds files in it.",
                "Close servers of other Blenders, and press Remove Server again.",
            )
        with suppress(OSError):
            self.root.rmdir()

    def log(self) -> str:
        """What the last installation wrote; "" when there was none."""
        try:
            return (self.root / LOG).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def require_space(self, lock: Lock) -> None:
        """Raise AddonError when the disk is too small for a lock's packages."""
        there = next(folder for folder in (self.root, *self.root.parents) if folder.exists())
        needed = SPARE * lock.disk * MEGABYTE - size_of(self.root / CACHE)
        free = shutil.disk_usage(there).free
        if free < needed:
            raise AddonError(
                f"The disk is too small: the server takes {gigabytes(needed)} in {self.root}, "
                f"and {gigabytes(free)} are free.",
                "Free some space, or choose another server folder in the preferences.",
            )


def gigabytes(size: float) -> str:
    """Bytes as `1.6 GB`."""
    return f"{size / 10**9:.1f} GB"


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder; 0 when there is none. Files of several names count once."""
    seen: dict[tuple[int, int], int] = {}
    for base, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                status = os.lstat(os.path.join(base, name))
                seen[(status.st_dev, status.st_ino) if status.st_ino else (-1, len(seen))] = status.st_size
    return sum(seen.values())
