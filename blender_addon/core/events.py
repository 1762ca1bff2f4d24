"""What the background threads tell the main thread: small frozen values in a queue."""

from __future__ import annotations

from dataclasses import dataclass

from .engines import EngineTraits, Offer
from .faces import FacesFound
from .pose_map import Row
from .weights import WeightsInfo, WeightsKind


@dataclass(frozen=True)
class ServerInfo:
    """What answers at an address: versions, device, weights (default first), limits (0 = not stated), its engines."""

    version: str
    protocol: int
    device: str
    weights: tuple[WeightsInfo, ...] = ()
    max_asset_bytes: int = 0
    max_frames: int = 0
    max_chunk_bytes: int = 0
    engines: tuple[tuple[str, EngineTraits], ...] = ()

    def offer(self, weights_id: str = "") -> Offer:
        """What weights take of a dub; the usual where the server does not tell."""
        weights = self.offered(weights_id)
        if weights is None:
            return Offer()
        engine = weights.traits or dict(self.engines).get(weights.engine, EngineTraits())
        return Offer(engine, weights.sizes)

    def title(self, weights: WeightsInfo) -> str:
        """What the editor calls weights on offer: their name, their engine, and a warning where they are untrained."""
        engine = dict(self.engines).get(weights.engine)
        about = [engine.title] if engine and engine.title else []
        about += ["untrained"] if weights.kind == "untrained" and "untrained" not in weights.name else []
        return f"{weights.name} ({', '.join(about)})" if about else weights.name

    def offered(self, weights_id: str) -> WeightsInfo | None:
        """Weights on offer by id, the default for ""; None when there are no such."""
        return next((weights for weights in self.weights if weights_id in ("", weights.weights_id)), None)


@dataclass(frozen=True)
class Connected:
    """The handshake succeeded."""

    info: ServerInfo


@dataclass(frozen=True)
class Disconnected:
    """The handshake failed; `reason` is a sentence that says what to do."""

    reason: str


@dataclass(frozen=True)
class JobAccepted:
    """The server holds the job; `job_id` fetches it later."""

    uid: str
    job_id: str
    weights_name: str
    weights_kind: WeightsKind


@dataclass(frozen=True)
class JobProgress:
    """Work goes on.

    Attributes:
        phase: this side's "connecting", "reconnecting" or "uploading" (bytes), or the server's
            "queued", "weights", "speech", "portrait", "compiling", "pose", "footage", "frames".
        done, total: units of the phase; total 0 when unknown.
        queue_position: jobs ahead of this one.
    """

    uid: str
    phase: str
    done: int
    total: int
    queue_position: int = 0


@dataclass(frozen=True)
class FramesSaved:
    """The frames first <= k < end (dub indices) lie complete in the plan's folder."""

    uid: str
    first: int
    end: int


@dataclass(frozen=True)
class JobWarning:
    """Something about the frames first <= k < end; `kind` as in the protocol, such as "no_face"."""

    uid: str
    first: int
    end: int
    kind: str
    message: str


@dataclass(frozen=True)
class JobMeasured:
    """What a job took that is about to finish: frames that had to be generated, and seconds since it was submitted."""

    uid: str
    generated: int
    seconds: float


@dataclass(frozen=True)
class JobFinished:
    """All wanted frames are saved; `frames` of them lie in the folder."""

    uid: str
    frames: int


@dataclass(frozen=True)
class JobCancelled:
    """The editor stopped the job; `frames` finished ones stay in the folder."""

    uid: str
    frames: int


@dataclass(frozen=True)
class JobFailed:
    """The job stopped with a sentence; `retryable` when starting it again may help."""

    uid: str
    message: str
    retryable: bool


@dataclass(frozen=True)
class PoseRead:
    """A pose was read: a code for each time asked for; `held` are ranges of rows that hold a neighbour's code.

    `lids` say for each row how far the eyes are closed, 0 to 1; none where nothing is known of them.
    """

    uid: str
    rows: tuple[Row, ...]
    held: tuple[tuple[int, int], ...]
    lids: tuple[float, ...] = ()


@dataclass(frozen=True)
class PoseFailed:
    """A pose could not be read; `message` is a sentence that says what to do."""

    uid: str
    message: str


@dataclass(frozen=True)
class FacesFailed:
    """No faces could be looked for; `message` is a sentence that says what to do."""

    uid: str
    message: str


@dataclass(frozen=True)
class DubEstimated:
    """What a dub would take.

    Attributes:
        generated: ranges (first, end) of frames that would be generated, by dub index.
        unread: what the server has to look at first, as "pose"; if there is any, all frames count.
    """

    uid: str
    generated: tuple[tuple[int, int], ...]
    unread: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Frames in `generated`."""
        return sum(end - first for first, end in self.generated)


@dataclass(frozen=True)
class FramePreviewed:
    """One frame of a dub as a PNG file's bytes; `approximate` when the dub's own may differ a little."""

    uid: str
    png: bytes
    approximate: bool


@dataclass(frozen=True)
class PreviewFailed:
    """An estimate or a preview was not to be had; `message` is a sentence that says what to do."""

    uid: str
    message: str


JobEvent = JobAccepted | JobProgress | FramesSaved | JobWarning | JobMeasured | JobFinished | JobCancelled | JobFailed
PoseEvent = PoseRead | PoseFailed
FacesEvent = FacesFound | FacesFailed
PreviewEvent = DubEstimated | FramePreviewed | PreviewFailed
QueryEvent = PoseEvent | FacesEvent | PreviewEvent
Event = Connected | Disconnected | JobEvent | QueryEvent
