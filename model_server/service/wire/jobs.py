"""Jobs, their events and answers about dubs to protocol messages and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from model_server.jobs.model import Accepted, Ended, Event, FrameMade, Job, JobState, Progress, Warned
from model_server.pipeline.preview import Estimate, Preview
from model_server.pipeline.request import (
    DubRequest,
)
from model_server.service.messages import dubbing, media
from model_server.service.wire.offer import KINDS

MAX_PART_BYTES = 2**20
_STATES = {state: dubbing.DubState.Value(f"DUB_STATE_{state.name}") for state in JobState}


def estimate_message(estimate: Estimate) -> dubbing.EstimateDubResponse:
    """What a dub would take."""
    ranges = [media.FrameRange(first=first, end=end) for first, end in estimate.generated]
    return dubbing.EstimateDubResponse(generated=ranges, generated_frames=estimate.count, unread=estimate.unread)


def preview_messages(preview: Preview) -> Iterator[dubbing.PreviewFrameResponse]:
    """One frame, in parts."""
    for begin in range(0, len(preview.png), MAX_PART_BYTES):
        part = preview.png[begin : begin + MAX_PART_BYTES]
        yield dubbing.PreviewFrameResponse(png=part, approximate=preview.approximate)


def job_message(job: Job) -> dubbing.Dub:
    """A job's state; the request itself stays behind."""
    weights_id, name, kind, preset = job.weights
    return dubbing.Dub(
        job_id=job.id,
        state=_STATES[job.state],
        frames=media.FrameRange(first=job.request.first, end=job.request.end),
        committed_frames=job.committed,
        generated_frames=job.generated,
        error=job.error,
        created=job.created,
        weights=dubbing.Weights(weights_id=weights_id, name=name, kind=KINDS[kind], preset=preset),
        queue_position=job.position,
    )


def event_messages(event: Event) -> Iterator[dubbing.WatchDubResponse]:
    """One event of a watch; a large frame comes in parts."""
    if isinstance(event, FrameMade):
        yield from _frame_parts(event)
    else:
        yield _event_message(event)


def _frame_parts(event: FrameMade) -> Iterator[dubbing.WatchDubResponse]:
    answer = dubbing.WatchDubResponse
    for begin in range(0, len(event.png), MAX_PART_BYTES):
        end = begin + MAX_PART_BYTES
        part = answer.Frame(index=event.index, png=event.png[begin:end], continues=end < len(event.png))
        yield answer(frame=part)


def _event_message(event: Accepted | Progress | Warned | Ended) -> dubbing.WatchDubResponse:
    answer = dubbing.WatchDubResponse
    if isinstance(event, Progress):
        shown = answer.Progress(phase=event.phase, done=event.done, total=event.total, queue_position=event.position)
        return answer(progress=shown)
    if isinstance(event, Warned):
        frames = media.FrameRange(first=event.first, end=event.end)
        return answer(warning=answer.Warning(frames=frames, kind=event.kind, message=event.message))
    if isinstance(event, Accepted):
        return answer(accepted=answer.Accepted(dub=job_message(event.job)))
    return answer(done=answer.Done(dub=job_message(event.job)))


def weights_of(message: dubbing.Weights) -> tuple[str, str, str, str]:
    """Id, name, kind and preset of weights."""
    kinds = {number: kind for kind, number in KINDS.items()}
    return message.weights_id, message.name, kinds.get(message.kind, "untrained"), message.preset


def job_of(message: dubbing.Dub, request: DubRequest) -> Job:
    """Inverse of `job_message`, for the client that knows its request."""
    states = {number: state for state, number in _STATES.items()}
    return Job(
        id=message.job_id,
        request=request,
        state=states[message.state],
        phase="",
        done=message.committed_frames,
        total=message.frames.end - message.frames.first,
        error=message.error,
        created=message.created,
        committed=message.committed_frames,
        generated=message.generated_frames,
        position=message.queue_position,
        weights=weights_of(message.weights),
    )


def events_of(messages: Iterable[dubbing.WatchDubResponse], request: DubRequest) -> Iterator[Event]:
    """The events behind a watch's messages, for the client that knows its request."""
    parts: list[bytes] = []
    for message in messages:
        if message.WhichOneof("event") != "frame":
            yield _event_of(message, request)
            continue
        parts.append(message.frame.png)
        if not message.frame.continues:
            yield FrameMade(message.frame.index, b"".join(parts))
            parts = []


def _event_of(message: dubbing.WatchDubResponse, request: DubRequest) -> Event:
    kind = message.WhichOneof("event")
    if kind == "progress":
        shown = message.progress
        return Progress(shown.phase, shown.done, shown.total, shown.queue_position)
    if kind == "warning":
        frames = message.warning.frames
        return Warned(frames.first, frames.end, message.warning.kind, message.warning.message)
    if kind == "accepted":
        return Accepted(job_of(message.accepted.dub, request))
    return Ended(job_of(message.done.dub, request))
