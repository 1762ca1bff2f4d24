"""The book of jobs: what the panel lists and the .blend file keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .events import (
    FramesSaved,
    JobAccepted,
    JobCancelled,
    JobEvent,
    JobFailed,
    JobFinished,
    JobMeasured,
    JobProgress,
    JobWarning,
)
from .plan import DubPlan
from .weights import WeightsKind

JobState = Literal["starting", "running", "done", "failed", "cancelled"]
UNFINISHED: frozenset[JobState] = frozenset({"starting", "running"})


@dataclass
class JobRecord:
    """One job as far as it is known.

    Attributes:
        job_id: "" until the server accepted it.
        phase, done, total: as in JobProgress.
        saved_end: frames plan.first <= k < saved_end lie in the folder.
        error: one sentence when the state is "failed".
        sent: whether it is left to the server as soon as that has all of it.
        generated, seconds: what a finished job took, as in JobMeasured; -1 while unknown.
    """

    plan: DubPlan
    job_id: str = ""
    state: JobState = "starting"
    phase: str = ""
    done: int = 0
    total: int = 0
    queue_position: int = 0
    saved_end: int = 0
    weights_name: str = ""
    weights_kind: WeightsKind = "unknown"
    warnings: list[JobWarning] = field(default_factory=list)
    error: str = ""
    retryable: bool = False
    generated: int = -1
    seconds: float = -1.0
    sent: bool = False

    def __post_init__(self) -> None:
        self.saved_end = max(self.saved_end, self.plan.first)

    @property
    def saved(self) -> int:
        """Frames in the folder."""
        return self.saved_end - self.plan.first

    @property
    def shown_end(self) -> int:
        """The take's frames up to here lie in the folder, those taken over from an older take too."""
        return self.plan.take_end if self.saved_end == self.plan.end else self.saved_end

    @property
    def shown(self) -> int:
        """Frames that a strip may show."""
        return self.shown_end - self.plan.take_first if self.saved else 0

    def apply(self, event: JobEvent) -> None:
        """Take over what one event says."""
        match event:
            case JobAccepted():
                self.state, self.job_id, self.error = "running", event.job_id, ""
                self.weights_name, self.weights_kind = event.weights_name, event.weights_kind
            case JobProgress():
                self.phase, self.done, self.total = event.phase, event.done, event.total
                self.queue_position = event.queue_position
            case FramesSaved():
                self.saved_end = max(self.saved_end, event.end)
            case JobWarning() if event not in self.warnings:
                self.warnings.append(event)
            case JobMeasured():
                self.generated, self.seconds = event.generated, event.seconds
            case JobFinished():
                self.state = "done"
            case JobCancelled():
                self.state = "cancelled"
            case JobFailed():
                self.state, self.error, self.retryable = "failed", event.message, event.retryable

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        kept = {name: value for name, value in vars(self).items() if name not in ("plan", "warnings")}
        return kept | {"plan": self.plan.to_json(), "warnings": [asdict(warning) for warning in self.warnings]}

    @staticmethod
    def from_json(data: dict[str, Any]) -> JobRecord:
        """Inverse of `to_json`. Raises KeyError, TypeError or ValueError for other data."""
        warnings = [JobWarning(**warning) for warning in data["warnings"]]
        return JobRecord(**data | {"plan": DubPlan.from_json(data["plan"]), "warnings": warnings})


class JobBook:
    """Jobs by uid, oldest first."""

    def __init__(self, records: dict[str, JobRecord] | None = None) -> None:
        self.records: dict[str, JobRecord] = records or {}

    def __iter__(self) -> Iterator[JobRecord]:
        return iter(self.records.values())

    def __len__(self) -> int:
        return len(self.records)

    def add(self, plan: DubPlan) -> JobRecord:
        """Note a job that starts; a job of the same uid begins anew."""
        self.records[plan.uid] = record = JobRecord(plan)
        return record

    def get(self, uid: str) -> JobRecord | None:
        """The record of a job, None when it is not in the book."""
        return self.records.get(uid)

    def remove(self, uid: str) -> None:
        """Forget a job; its frames stay."""
        self.records.pop(uid, None)

    def apply(self, event: JobEvent) -> JobRecord | None:
        """Update and return the record of the event's job; None when it is not in the book."""
        record = self.records.get(event.uid)
        if record is not None:
            record.apply(event)
        return record

    def unfinished(self) -> list[JobRecord]:
        """Jobs that wait or run, or did when the file was saved."""
        return [record for record in self if record.state in UNFINISHED]

    def to_json(self) -> str:
        """Text for the .blend file."""
        return json.dumps([record.to_json() for record in self])

    @staticmethod
    def from_json(text: str) -> JobBook:
        """Read the text back; a record that cannot be understood is left out."""
        try:
            entries = json.loads(text or "[]")
        except ValueError:
            return JobBook()
        records = filter(None, map(_record, entries if isinstance(entries, list) else []))
        return JobBook({record.plan.uid: record for record in records})


def _record(entry: Any) -> JobRecord | None:
    try:
        return JobRecord.from_json(entry)
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError):
        return None
