"""What a job is, and the events its watcher sees."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from model_server.pipeline.request import DubRequest


class JobState(Enum):
    """Life of a job; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing more will happen unless the dub is asked for again."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True)
class Job:
    """One durable dub, as the store holds it.

    Attributes:
        phase, done, total: what is being worked on and how far it is.
        committed: frames of the asked range that are readable.
        generated: how many of these the job had to make.
        position: jobs ahead of this one in the queue.
        weights: id, name, kind and preset of the weights.
    """

    id: str
    request: DubRequest
    state: JobState
    phase: str
    done: int
    total: int
    error: str
    created: float
    committed: int
    position: int
    weights: tuple[str, str, str, str]
    generated: int = 0


@dataclass(frozen=True)
class Accepted:
    """First event of a watch."""

    job: Job


@dataclass(frozen=True)
class Progress:
    """Phase "queued", "speech", "portrait", "pose" or "frames", and how far it is."""

    phase: str
    done: int
    total: int
    position: int = 0


@dataclass(frozen=True)
class FrameMade:
    """A committed frame as lossless PNG."""

    index: int
    png: bytes


@dataclass(frozen=True)
class Warned:
    """Something an editor should know about frames `first <= k < end`."""

    first: int
    end: int
    kind: str
    message: str


@dataclass(frozen=True)
class Ended:
    """Last event of a watch; the job's state says how it ended."""

    job: Job


Event = Accepted | Progress | FrameMade | Warned | Ended
