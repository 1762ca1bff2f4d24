"""Installs the model server into the user's files: a Python, PyTorch's build for this machine, the add-on's server."""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..core import uv_output
from ..core.errors import AddonError
from ..core.installation import CACHE, LOG, Attempt, Installation, Lock, read_lock, size_of
from ..core.setup_progress import MEGABYTE, PHASES, SetupProgress
from ..core.uv_output import Download
from .boundary import boundary
from .cancel import CancelToken
from .server_process import environment
from .uv import Uv, unpack

PYTHON = "3.12"
"""Of the servers whose Python is fetched."""
WHEELHOUSE = "wheelhouse.json"
TRIAL_LIMIT = 900.0
# The server's own check, in the new environment; the answer is the last line.
_TRIAL = """
import json, sys, model_server, torch
sees = {"cuda": torch.cuda.is_available, "rocm": torch.cuda.is_available, "cpu": lambda: True}
sees |= {"mps": lambda: torch.backends.mps.is_available(), "xpu": lambda: torch.xpu.is_available()}
build = sys.argv[1]
print(json.dumps({"version": model_server.__version__, "sees": bool(sees[build.rstrip("0123456789")]())}))
"""


@dataclass(frozen=True)
class Carried:
    """What the add-on's zip brings for its server: wheels of uv and of the server, and a lock file for each build."""

    uv: Path
    server: Path
    locks: Path


def carried(folder: Path) -> Carried:
    """What lies in a folder of the add-on. Raises AddonError when it is none of a zip."""
    uv, server = next(folder.glob("uv-*.whl"), None), next(folder.glob("posedub-*.whl"), None)
    if uv is None or server is None:
        raise AddonError(
            "This copy of the add-on carries no server.",
            "Install the zip that build_addon.py writes, or name the server's command in the preferences.",
        )
    return Carried(uv, server, folder / "locks")


@dataclass(frozen=True)
class Order:
    """What is to be installed.

    Attributes:
        version: of the server, the add-on's own.
        platform, build: as in `core.torch_builds`.
        wheels: folder that all packages come from; None for the network.
        proxy: URL, "" for the system's.
        blender: the folder of Blender's own Python, which is left alone.
        anew: delete earlier downloads first.
    """

    version: str
    platform: str
    build: str
    wheels: Path | None = None
    proxy: str = ""
    blender: Path | None = None
    anew: bool = False

    def lock(self, locks: Path) -> Lock:
        """The lock file of the build. Raises AddonError."""
        return read_lock(locks / f"{self.platform}-{self.build}.txt")


class SetupWork:
    """Work on the installation in the background.

    Attributes:
        progress: how far it is.
        error: why it failed; None while it did not.
        broken_off: whether it was cancelled.

    Args:
        before: called first, in the background.
    """

    FAULT = "The server could not be set up"

    def __init__(self, before: Callable[[], object] = lambda: None) -> None:
        self._before = before
        self._cancel = CancelToken()
        self.progress = SetupProgress()
        self.error: AddonError | None = None
        self.broken_off = False
        self._thread = threading.Thread(target=self._run, name="posedub setup", daemon=True)

    def _work(self) -> None:
        raise NotImplementedError

    @property
    def finished(self) -> bool:
        """Whether it has ended, well or not."""
        return not self._thread.is_alive()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def cancel(self) -> None:
        """Break it off; downloads are kept for the next try."""
        self._cancel.set()

    def wait(self, timeout: float | None = None) -> None:
        """Block until it has ended; raises AddonError with what went wrong."""
        self._thread.join(timeout)
        if self.error:
            raise self.error

    def _run(self) -> None:
        with boundary("setup", self.FAULT, self._failed, self._given_up):
            self._before()
            self._cancel.check()
            self._work()

    def _failed(self, error: AddonError) -> None:
        self.error = error

    def _given_up(self) -> None:
        self.broken_off = True

    def _phase(self, phase: str) -> None:
        self.progress = replace(self.progress, phase=phase)


class Removal(SetupWork):
    """Deletes an installation."""

    FAULT = "The server could not be removed"

    def __init__(self, installation: Installation, before: Callable[[], object] = lambda: None) -> None:
        super().__init__(before)
        self._installation = installation
        self.progress = SetupProgress("removing")

    def _work(self) -> None:
        self._installation.remove()


class Installer(SetupWork):
    """Makes an installation.

    Args:
        installation: where to.
        parts: what the zip carries.
        before: called first, in the background.
    """

    def __init__(
        self, installation: Installation, parts: Carried, order: Order, before: Callable[[], object] = lambda: None
    ) -> None:
        super().__init__(before)
        self._installation, self._parts, self._order = installation, parts, order
        self._download = Download()

    def _work(self) -> None:
        lock = self._order.lock(self._parts.locks)
        fits(self._order)
        if self._order.anew:
            self._installation.drop_downloads()
        self._installation.require_space(lock)
        attempt = self._installation.begin(self._order.version, self._order.build)
        try:
            self._install(lock, attempt)
        except BaseException:
            self._installation.break_off()
            raise

    def _install(self, lock: Lock, attempt: Attempt) -> None:
        (self._installation.root / LOG).write_text(f"{self._order}\n", encoding="utf-8")
        python = self._environment(self._uv(), attempt)
        self._packages(lock, python)
        self._installation.complete(attempt, self._tried(python))

    def _uv(self) -> Uv:
        self._phase("preparing")
        root = self._installation.root
        place = str(self._order.wheels or "")
        self._runner = Uv(unpack(self._parts.uv, root / "bin"), root, self._cancel, self._order.proxy, place)
        return self._runner

    def _environment(self, uv: Uv, attempt: Attempt) -> Path:
        """The Python of a new environment."""
        self._phase("python")
        folder = self._installation.environment(attempt.folder)
        uv.run("venv", "--no-project", "--no-python-downloads", "--python", self._python(uv), str(folder))
        return self._installation.python(attempt.folder)

    def _python(self, uv: Uv) -> str:
        """A Python of uv's own, fetched if it must be; else one that is found."""
        wanted = wheelhouse_python(self._order.wheels) if self._order.wheels else None
        if wanted is None:
            try:
                uv.run("python", "install", "--no-bin", "--no-registry", PYTHON)
                return uv.run("python", "find", "--no-project", "--managed-python", PYTHON).splitlines()[-1]
            except AddonError:
                self._cancel.check()
        found = uv.found_pythons(self._order.blender, wanted)
        if not found:
            version = f" {wanted[0]}.{wanted[1]}, which the folder of wheels was made for" if wanted else ""
            raise AddonError(
                f"This computer has no Python that the server can use{version}"
                + ("." if wanted else ", and none could be downloaded."),
                f"Install Python {'.'.join(map(str, wanted or (3, 12)))} and press Set Up Server again.",
            )
        return found[0]

    def _packages(self, lock: Lock, python: Path) -> None:
        order = self._order
        self._download = Download()
        self.progress = SetupProgress("resolving", 0.0, lock.download * MEGABYTE)
        arguments = ["pip", "install", "--python", str(python), "--only-binary", ":all:", "-r", str(lock.file)]
        if order.wheels:
            arguments += ["--no-index", "--offline", "--find-links", str(order.wheels)]
        elif lock.torch:
            arguments += ["--torch-backend", lock.torch]
        self._runner.run(*arguments, str(self._parts.server), note=self._note, tick=lambda: self._look(lock))

    def _note(self, line: str) -> None:
        self._download.note(line)
        if (phase := self._download.phase) in PHASES:
            self._phase("unpacking" if phase == "downloading" and self._order.wheels else phase)

    def _look(self, lock: Lock) -> None:
        """uv does not say how far a package is: what it has unpacked of it tells."""
        if self._download.phase == "downloading":
            unpacked = sum(map(size_of, (self._installation.root / CACHE).glob(".tmp*")))
            self.progress = replace(self.progress, done=self._download.done(unpacked, lock.packed_share))

    def _tried(self, python: Path) -> str:
        """Run what was installed; a remark where it is not all that was wanted. Raises AddonError."""
        self._phase("trying")
        root = self._installation.root
        own = [str(python), "-P", "-s"]
        answer = json.loads(trial([*own, "-c", _TRIAL, self._order.build], self._cancel, root))
        if answer["version"] != self._order.version:
            raise AddonError(
                f"The server is version {answer['version']}, the add-on {self._order.version}.",
                "Install the zip again.",
            )
        with tempfile.TemporaryDirectory(dir=root) as data:  # a first start, with all that is compiled in it
            trial([*own, "-m", "model_server", "doctor", "--data", data], self._cancel, root)
        return "" if answer["sees"] else "PyTorch sees no graphics card: the server draws on the processor."


def fits(order: Order) -> None:
    """Raise AddonError when a folder of wheels is none, or was made for another computer or add-on."""
    if order.wheels is None:
        return
    try:
        made = json.loads((order.wheels / WHEELHOUSE).read_text(encoding="utf-8"))
        told = made["version"], made["platform"], made["build"]
    except (OSError, ValueError, KeyError) as error:
        raise AddonError(
            f"{order.wheels} is no folder of wheels.", "Make it with build_addon.py --wheelhouse."
        ) from error
    if told != (order.version, order.platform, order.build):
        raise AddonError(
            f"The folder {order.wheels} was made for PoseDub {told[0]}, {told[1]}, {told[2]}; "
            f"wanted are {order.version}, {order.platform}, {order.build}.",
            "Make it anew with build_addon.py --wheelhouse, or choose its device.",
        )


def wheelhouse_python(wheels: Path) -> tuple[int, int] | None:
    """The Python that a folder of wheels was made for, None for any."""
    text = json.loads((wheels / WHEELHOUSE).read_text(encoding="utf-8")).get("python", "")
    major, _, minor = text.partition(".")
    return (int(major), int(minor)) if minor else None


def trial(command: list[str], cancel: CancelToken, root: Path) -> str:
    """The last line that a new server writes. Raises AddonError when it does not work."""
    with (
        (root / LOG).open("a", encoding="utf-8") as log,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
            cwd=root,
            encoding="utf-8",
            errors="replace",
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        ) as process,
        cancel.waking(process.kill),
    ):
        try:
            told, _ = process.communicate(timeout=TRIAL_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            told, _ = process.communicate()
        log.write(told)
    cancel.check()
    if process.returncode == 0 and told.strip():
        return told.splitlines()[-1]
    raise uv_output.trial_fault(told)
