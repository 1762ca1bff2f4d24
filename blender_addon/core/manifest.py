"""`manifest.json` beside the frames: what made them, and enough to fetch the rest after a crash."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .errors import AddonError
from .events import JobWarning
from .files import write_atomic
from .plan import DubPlan
from .version import VERSION
from .weights import WeightsInfo

FILE_NAME = "manifest.json"
FORMAT = 1
MEASURES = ("created", "generated", "seconds")
STATES = ("running", "done", "failed", "cancelled")


@dataclass(frozen=True)
class SourceFile:
    """A file the dub was made from; role "portrait", "speech", "pose" or "footage"."""

    role: str
    file: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """Record of one dub.

    Attributes:
        plan: all parameters.
        job_id: fetches the frames from the server again.
        state: "running", "done", "failed" or "cancelled".
        error: one sentence when the state is "failed".
        created: when the server accepted it, seconds since the epoch.
        generated, seconds: what it took, as in `events.JobMeasured`; -1 while unknown.
    """

    plan: DubPlan
    job_id: str
    sources: tuple[SourceFile, ...]
    weights: WeightsInfo
    server_version: str
    addon_version: str = VERSION
    state: str = "running"
    warnings: tuple[JobWarning, ...] = ()
    error: str = ""
    created: float = 0.0
    generated: int = -1
    seconds: float = -1.0

    def warned(self, warning: JobWarning) -> Manifest:
        """The same with one more warning; a repeated one changes nothing."""
        if warning in self.warnings:
            return self
        return replace(self, warnings=(*self.warnings, warning))

    def write(self) -> None:
        """Write it atomically into the plan's folder. Raises AddonError."""
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
        write_atomic(self.plan.folder / FILE_NAME, text.encode())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        parts = {
            "format": FORMAT,
            "plan": self.plan.to_json(),
            "sources": [asdict(source) for source in self.sources],
            "weights": asdict(self.weights),
            "warnings": [asdict(warning) for warning in self.warnings],
        }
        names = ("job_id", "server_version", "addon_version", "state", "error", *MEASURES)
        return parts | {name: getattr(self, name) for name in names}


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder of frames; the plan's folder is where it lies now.

    Raises:
        AddonError: there is none, or it is not one this version understands.
    """
    path = folder / FILE_NAME
    try:
        data = json.loads(path.read_bytes())
        return _manifest(data, folder)
    except OSError as error:
        raise AddonError(f"{path} cannot be read: {error.strerror}.", "Dub the strips again.") from error
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise AddonError(f"{path} is damaged or of another version.", "Dub the strips again.") from error


def _manifest(data: dict[str, Any], folder: Path) -> Manifest:
    if data["format"] != FORMAT or data["state"] not in STATES:
        raise ValueError(data["format"])
    return Manifest(
        plan=replace(DubPlan.from_json(data["plan"]), folder=folder),
        job_id=data["job_id"],
        sources=tuple(SourceFile(**source) for source in data["sources"]),
        weights=WeightsInfo(**data["weights"]),
        server_version=data["server_version"],
        addon_version=data["addon_version"],
        state=data["state"],
        warnings=tuple(JobWarning(**warning) for warning in data["warnings"]),
        error=data["error"],
        **{name: data[name] for name in MEASURES if name in data},
    )
