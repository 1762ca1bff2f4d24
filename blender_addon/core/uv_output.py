"""What `uv` writes while it installs: progress, and faults as sentences."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .errors import AddonError

UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_STARTED = re.compile(r"\s*Downloading (\S+) \(([\d.]+)([KMG]iB)\)")
_FINISHED = re.compile(r"\s*Downloaded (\S+)")
_STEPS = (("Resolved ", "downloading"), ("Prepared ", "installing"), ("Installed ", "installed"))

AGAIN = "Then press Set Up Server again: what was downloaded is kept."
NETWORK = "Check the connection, or enter the proxy in the preferences"
ANEW = "Press Repair Server, which downloads everything anew."
SYSTEMS = "Its system may be too old: PyTorch needs macOS 14, Windows 10, or a Linux with glibc 2.28."
FOLDER_ANEW = "Make the folder anew with build_addon.py --wheelhouse."
OFFLINE = "without a network, name a folder of wheels there"


@dataclass
class Download:
    """How far the packages are, from the lines that uv writes.

    Attributes:
        phase: "resolving", "downloading", "installing", or "installed".
        finished: bytes of packages that have arrived; small ones, which uv does not name, are left out.
        running: bytes by name of packages that are on their way.
    """

    phase: str = "resolving"
    finished: float = 0.0
    running: dict[str, float] = field(default_factory=dict)

    def note(self, line: str) -> None:
        """Take over one line."""
        if started := _STARTED.match(line):
            self.running[started[1]] = float(started[2]) * UNITS[started[3]]
        elif finished := _FINISHED.match(line):
            self.finished += self.running.pop(finished[1], 0.0)
        else:
            self.phase = next((phase for sign, phase in _STEPS if line.startswith(sign)), self.phase)

    def done(self, unpacked: float, packed_share: float) -> float:
        """Bytes that have arrived.

        Args:
            unpacked: bytes on the disk of what is on its way; uv unpacks while it downloads.
            packed_share: size of downloads over their size on the disk, in (0, 1].
        """
        return self.finished + min(unpacked * packed_share, sum(self.running.values()))


# The first sign that is found in what uv wrote tells what is wrong, and what to do about it.
_FAULTS = (
    (r"No space left|os error 28\b|os error 112\b|not enough space", "The disk of {root} is full.",
     f"Free some space, or choose another server folder in the preferences. {AGAIN}"),
    (r"os error 32\b|being used by another process",
     "Another program holds files in {root}, perhaps an antivirus program or a server of an earlier Blender.",
     f"Close it, or have it leave this folder alone. {AGAIN}"),
    (r"Permission denied|Read-only file system|Access is denied|os error (5|13|30)\b", "{root} may not be written.",
     "Choose another server folder in the preferences, or allow it there; an antivirus program may forbid it, too."),
    (r"No interpreter found|No suitable Python|Could not find a suitable Python",
     "This computer has no Python that the server can use, and none could be downloaded.",
     f"Install Python 3.12. {AGAIN}"),
    (r"[Hh]ash mismatch|Bad (CRC|compressed size|uncompressed size)",
     "{package} arrived damaged, or is not the file that was expected.",
     "{anew}"),
    (r"tunnel error|[Pp]roxy Authentication|status (code )?407|\(407",
     "The proxy lets nothing through.", f"Correct it in the preferences, or {OFFLINE}. {AGAIN}"),
    (r"UnknownIssuer|invalid peer certificate|certificate verify",
     "{index} shows a certificate that this computer does not trust.",
     f"A proxy or an antivirus program may have put it there: let its owner add it to the system, or {OFFLINE}."),
    (r"dns error|failed to lookup|Could not resolve", "{index} cannot be found: there is no network, or it is blocked.",
     f"{NETWORK}; {OFFLINE}. {AGAIN}"),
    (r"provided package locations|not found in the package registry|no wheels? (are|is) available|has no wheels",
     "{place} lacks {package} for this computer.", "{fitting}"),
    (r"Connection refused|Connection reset|timed out|timeout|client error \(Connect\)|error sending request"
     r"|error decoding response body|Failed to fetch|Failed to download",
     "{index} does not answer, or broke off.", f"{NETWORK}; {OFFLINE}. {AGAIN}"),
)  # fmt: skip
_PACKAGES = (r"`([A-Za-z0-9_.-]+)==[^`]*`", r"[Bb]ecause ([A-Za-z0-9_.-]+) was not found",
             r"there is no version of ([A-Za-z0-9_.-]+?)(?:==|\s)", r"[Bb]ecause ([A-Za-z0-9_.-]+)[=<> ]")  # fmt: skip


def fault(output: str, root: str, place: str = "") -> AddonError:
    """What uv's output says is wrong, as a sentence.

    Args:
        root: folder of the installation.
        place: folder that packages come from, "" for an index.
    """
    found = next((re.search(sign, output) for sign in _PACKAGES if re.search(sign, output)), None)
    host = re.search(r"https?://([^/:\s`)]+)", output)
    index = f"The package index {host[1]}" if host else "The package index"
    values = {"root": root, "package": found[1] if found else "A package", "index": index}
    values |= {"place": f"The folder {place}" if place else index, "anew": FOLDER_ANEW if place else ANEW}
    values["fitting"] = f"{FOLDER_ANEW[:-1]}, for this platform and this version." if place else SYSTEMS
    for sign, message, hint in _FAULTS:
        if re.search(sign, output):
            return AddonError(message.format(**values), hint.format(**values))
    said = [line.removeprefix("error: ").rstrip(".") for line in output.splitlines() if line.startswith("error: ")]
    return AddonError(
        f"The server could not be set up: {said[0] if said else 'its installer broke off'}.", "Copy Log tells more."
    )


_TRIAL_FAULTS = (
    (r"WinError (126|1114)", "Windows lacks Microsoft's Visual C++ runtime, which PyTorch needs.", "Install it."),
    (r"(lib\S+\.so[\d.]*): cannot open shared object", "This system lacks {what}, which the server needs.",
     "Install the system's package that has it."),
    (r"PROBLEM: (.*)", "The server was installed, but a part of it does not work: {what}", ""),
)  # fmt: skip


def trial_fault(output: str) -> AddonError:
    """What a new server's first words say is wrong, as a sentence."""
    for sign, message, hint in _TRIAL_FAULTS:
        if found := re.search(sign, output):
            return AddonError(message.format(what=found[1]), f"{hint} {AGAIN}".strip())
    return AddonError("The server was installed, but does not run.", "Press Repair Server; Copy Log tells more.")
