"""`uv`, the installer of Python packages that the add-on's zip carries as a wheel."""

from __future__ import annotations

import json
import os
import queue
import stat
import subprocess
import sys
import threading
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from ..core import files, uv_output
from ..core.errors import AddonError
from ..core.installation import CACHE, LOG, PYTHONS
from .cancel import CancelToken

TICK = 0.5
"""Seconds between two looks at what is on its way."""
PYTHONS_OLDEST, PYTHONS_END = (3, 11), (3, 15)
_KEPT = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_INSECURE_HOST",
         "UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES", "UV_PYTHON_INSTALL_MIRROR")  # fmt: skip
"""What a company may have set for all its computers; other settings of uv and of Python are left out."""


def unpack(wheel: Path, folder: Path) -> Path:
    """The program `uv` of a wheel, laid into a folder, where it may be run. Raises AddonError."""
    name = "uv.exe" if sys.platform == "win32" else "uv"
    target = folder / name
    try:
        with zipfile.ZipFile(wheel) as archive:
            entry = next(one for one in archive.infolist() if one.filename.endswith(f".data/scripts/{name}"))
            if not target.is_file() or target.stat().st_size != entry.file_size:
                folder.mkdir(parents=True, exist_ok=True)
                files.write_atomic(target, archive.read(entry))
        target.chmod(target.stat().st_mode | stat.S_IXUSR)
    except (StopIteration, zipfile.BadZipFile) as error:
        raise AddonError(f"{wheel.name} is damaged.", "Install the add-on's zip again.") from error
    except OSError as error:
        raise uv_output.fault(str(error), str(folder.parent)) from error
    return target


def environment(root: Path, proxy: str = "") -> dict[str, str]:
    """Variables of uv and of what it starts: nothing of Blender's Python, everything under one folder.

    Args:
        root: of the installation.
        proxy: URL; "" for what the system knows.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PYTHON", "CONDA_"))}
    own.pop("VIRTUAL_ENV", None)
    own |= {name: os.environ[name] for name in _KEPT if name in os.environ}
    proxies = {"http": proxy, "https": proxy} if proxy else urllib.request.getproxies()
    own |= {f"{kind.upper()}_PROXY": url for kind, url in proxies.items() if kind in ("http", "https") and url}
    return own | {
        "UV_CACHE_DIR": str(root / CACHE),
        "UV_PYTHON_INSTALL_DIR": str(root / PYTHONS),
        "UV_NO_CONFIG": "1",
        "UV_SYSTEM_CERTS": "1",
        "UV_CONCURRENT_DOWNLOADS": "4",
        "NO_COLOR": "1",
    }


class Uv:
    """The program, set up for one installation.

    Args:
        program: as `unpack` gives.
        root: of the installation; receives the log.
        cancel: ends what runs.
        place: folder that packages come from, "" for an index.
    """

    def __init__(self, program: Path, root: Path, cancel: CancelToken, proxy: str, place: str) -> None:
        self._program, self._root, self._cancel, self._place = program, root, cancel, place
        self._environment = environment(root, proxy)

    def run(
        self,
        *arguments: str,
        note: Callable[[str], object] = lambda line: None,
        tick: Callable[[], object] = lambda: None,
    ) -> str:
        """What it wrote; raises AddonError when it fails, and Cancelled.

        Args:
            note: receives each line as it comes.
            tick: called every moment.
        """
        output = self._stream([str(self._program), *arguments], note, tick)
        self._cancel.check()
        return output

    def _stream(self, command: list[str], note: Callable[[str], object], tick: Callable[[], object]) -> str:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
            encoding="utf-8",
            errors="replace",
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=_read, args=(process, lines), name="posedub uv", daemon=True).start()
        written: list[str] = []
        with self._cancel.waking(process.kill), (self._root / LOG).open("a", encoding="utf-8") as log:
            log.write(f"> {' '.join(command)}\n")
            for line in _until_end(lines, tick):
                written.append(line)
                log.write(line)
                note(line)
        if process.wait() != 0:
            self._cancel.check()
            raise uv_output.fault("".join(written), str(self._root), self._place)
        return "".join(written)

    def found_pythons(self, avoided: Path | None, wanted: tuple[int, int] | None) -> list[str]:
        """Pythons of this computer that a server may use, best first.

        Args:
            avoided: a folder whose Pythons are not taken: Blender's own.
            wanted: the only version that will do; None for any that the server runs on.
        """
        told = self.run("python", "list", "--only-installed", "--no-managed-python", "--output-format", "json")
        fitting: list[tuple[int, int, str]] = []
        begin = told.find('[{"key"')  # among what it and the Pythons it tried said on the way
        for one in json.JSONDecoder().raw_decode(told, begin)[0] if begin >= 0 else []:
            version = one["version_parts"]["major"], one["version_parts"]["minor"]
            own = avoided is not None and Path(one["path"]).resolve().is_relative_to(avoided.resolve())
            usable = version == wanted if wanted else PYTHONS_OLDEST <= version < PYTHONS_END
            if usable and not own and one["implementation"] == "cpython" and one["variant"] == "default":
                fitting.append((abs(version[1] - 12), len(fitting), one["path"]))
        return [path for *_, path in sorted(fitting)]


def _read(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert process.stdout
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def _until_end(lines: queue.Queue[str | None], tick: Callable[[], object]) -> Iterator[str]:
    while True:
        try:
            line = lines.get(timeout=TICK)
        except queue.Empty:
            tick()
            continue
        if line is None:
            return
        yield line
