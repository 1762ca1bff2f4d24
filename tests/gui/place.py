"""Where the run happens: a virtual display, and Blender on it, installed here or in a chroot."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageGrab

SCREEN = (1600, 1000)
SOCKETS = Path("/tmp/.X11-unix")
# In a mount namespace of its own, so that nothing stays mounted, whatever happens.
ENTER = f"""
root=$1; work=$2; shift 2
mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"; mount -t tmpfs tmpfs "$root/tmp"
mkdir -p "$root$work" "$root{SOCKETS}"
mount --rbind "$work" "$root$work"; mount --bind {SOCKETS} "$root{SOCKETS}"
exec chroot "$root" "$@"
"""


class GuiError(Exception):
    """One sentence: what keeps the run from starting, or what went wrong in it."""


class Display:
    """A virtual X display of its own (Xvfb), on a free number."""

    def __init__(self) -> None:
        xvfb = shutil.which("Xvfb")
        if xvfb is None:
            raise GuiError("Xvfb is missing; install the package xvfb.")
        reader, writer = os.pipe()
        width, height = SCREEN
        screen = ["-screen", "0", f"{width}x{height}x24", "+extension", "GLX", "-nolisten", "tcp"]
        self._process = subprocess.Popen(
            [xvfb, "-displayfd", str(writer), *screen], pass_fds=[writer], stderr=subprocess.DEVNULL
        )
        os.close(writer)
        with os.fdopen(reader) as answer:
            number = answer.readline().strip()
        if not number:
            raise GuiError("Xvfb ended before it opened a display.")
        self.name = f":{number}"

    def grab(self) -> Image.Image:
        """What the screen shows, pop-ups and all windows included."""
        return ImageGrab.grab(xdisplay=self.name)

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()


@dataclass(frozen=True)
class Blender:
    """A Blender with a fresh configuration that lives in `work`.

    Attributes:
        program: its binary, as seen from inside the chroot if there is one.
        work: folder under /tmp that Blender sees at the same path.
        chroot: root folder of the system that Blender is installed in; None for this one.
        variables: of its environment, beside those that keep it apart from the user's.
    """

    program: str
    work: Path
    chroot: Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def found(program: str, work: Path, chroot: Path | None) -> Blender:
        """Raises GuiError when there is no such Blender, or its chroot cannot be entered."""
        if chroot is None:
            path = shutil.which(program)
            if path is None:
                raise GuiError(f"Blender is missing: {program} is no program.")
            return Blender(path, work)
        if not (chroot / "usr/bin").is_dir():
            raise GuiError(f"{chroot} holds no system; make one with debootstrap, see tests/gui/README.md.")
        if os.geteuid() != 0 or shutil.which("unshare") is None:
            raise GuiError("A chroot is entered as root, with the program unshare.")
        places = [str(Path(folder) / program) for folder in ("/", "/usr/bin", "/usr/local/bin")]
        there = next((place for place in places if (chroot / place.lstrip("/")).exists()), None)
        if there is None:
            raise GuiError(f"Blender is missing: {program} is no program in {chroot}.")
        return Blender(there, work, chroot)

    def command(self, *arguments: str, display: str = "") -> list[str]:
        """How to run it; without a display for its commands."""
        values = {"HOME": self.work, "BLENDER_USER_RESOURCES": self.work / "user", "LIBGL_ALWAYS_SOFTWARE": 1}
        values |= self.variables | ({"DISPLAY": display} if display else {})
        plain = ["env", *(f"{name}={value}" for name, value in values.items()), self.program, *arguments]
        if self.chroot is None:
            return plain
        return ["unshare", "--mount", "sh", "-euc", ENTER, "sh", str(self.chroot), str(self.work), *plain]

    def call(self, *arguments: str) -> str:
        """Run a command of Blender's to its end; what it said. Raises GuiError with the last line."""
        result = subprocess.run(self.command(*arguments), capture_output=True, text=True, check=False)
        said = (result.stdout + result.stderr).strip()
        if result.returncode != 0:
            last = (said.splitlines() or ["it said nothing"])[-1]
            raise GuiError(f"Blender's `{' '.join(arguments[:3])}` failed: {last}")
        return said

    def install(self, archive: Path) -> None:
        """Install and enable an add-on's zip. Raises GuiError."""
        print("Installing the add-on", flush=True)
        copy = shutil.copy(archive, self.work / "add-on.zip")
        self.call("--command", "extension", "install-file", "-r", "user_default", "--enable", str(copy))
