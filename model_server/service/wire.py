"""Dataclasses to protocol messages and back; the only place that knows the stubs' fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from typing import Any

from model_server.engines.base import WeightsInfo
from model_server.engines.pose_map import PoseMap
from model_server.errors import PoseDubError
from model_server.jobs.model import Accepted, Ended, Event, FrameMade, Job, JobState, Progress, Warned
from model_server.pipeline.faces import FoundFace
from model_server.pipeline.glance import Estimate, Preview
from model_server.pipeline.request import (
    FEATHER,
    POSE_SIZE,
    SIZE,
    CropMode,
    DubRequest,
    DubSpec,
    FaceSelection,
    FootageSource,
    Output,
    OutputMode,
    Portrait,
    Pose,
    PoseCodes,
    PoseFixed,
    PoseFrontal,
    PoseVideo,
    Precision,
    Speech,
    Viewer,
)
from model_server.service.messages import dubbing, media

PROTOCOL = 1
_PRECISION_VALUES: dict[Precision, dubbing.Precision] = {
    "auto": dubbing.PRECISION_AUTO,
    "fp32": dubbing.PRECISION_FP32,
    "bf16": dubbing.PRECISION_BF16,
}
_CROP_VALUES: dict[CropMode, media.CropMode] = {"auto": media.CROP_MODE_AUTO, "aligned": media.CROP_MODE_ALIGNED}
_MODE_VALUES: dict[OutputMode, dubbing.OutputMode] = {
    "crop": dubbing.OUTPUT_MODE_CROP,
    "overlay": dubbing.OUTPUT_MODE_OVERLAY,
    "full_frame": dubbing.OUTPUT_MODE_FULL_FRAME,
}
_VIEWER_VALUES: dict[Viewer, media.Viewer] = {"player": media.VIEWER_PLAYER, "blender": media.VIEWER_BLENDER}
MAX_PART_BYTES = 2**20
_STATES = {state: dubbing.DubState.Value(f"DUB_STATE_{state.name}") for state in JobState}
_KINDS = {
    kind: dubbing.WeightsKind.Value(f"WEIGHTS_KIND_{kind.upper()}") for kind in ("untrained", "trained", "imported")
}


def rational(value: Fraction) -> media.Rational:
    """An exact number."""
    return media.Rational(numerator=value.numerator, denominator=value.denominator)


def fraction(message: media.Rational, default: Fraction = Fraction(0)) -> Fraction:
    """An exact number; `default` where the field was left out."""
    if message.denominator == 0 and message.numerator == 0:
        return default
    if message.denominator <= 0:
        raise PoseDubError(f"The number {message.numerator}/{message.denominator} has no positive denominator.")
    return Fraction(message.numerator, message.denominator)


def face_message(face: FaceSelection) -> media.FaceSelection:
    """Which face, and how it is cropped."""
    at = media.Point(x=face.at[0], y=face.at[1]) if face.at else None
    time = None if face.time is None else rational(face.time)
    return media.FaceSelection(crop=_CROP_VALUES[face.crop], at=at, time=time)


def face_selection(message: media.FaceSelection) -> FaceSelection:
    """Inverse of `face_message`."""
    at = (message.at.x, message.at.y) if message.HasField("at") else None
    time = fraction(message.time) if message.HasField("time") else None
    return FaceSelection(_choice(_CROP_VALUES, message.crop, "crop mode"), at, time)


def viewer_of(number: int) -> Viewer:
    """Our word for a viewer's number."""
    viewer: Viewer = _choice(_VIEWER_VALUES, number, "viewer")
    return viewer


def _choice(values: dict[Any, Any], number: int, what: str) -> Any:
    """Our word for an enum's number; the first one where the field was left out."""
    words = {value: word for word, value in values.items()} | {0: next(iter(values))}
    if number not in words:
        raise PoseDubError(f"The server does not know the {what} {number}; update the server.")
    return words[number]


def spec_message(spec: DubSpec) -> dubbing.DubSpec:
    """A dub's description for the wire."""
    portrait = media.Portrait(
        asset_id=spec.portrait.asset, face=face_message(spec.portrait.face), time=rational(spec.portrait.time)
    )
    return dubbing.DubSpec(
        engine=spec.engine,
        weights_id=spec.weights,
        portrait=portrait,
        speech=media.Speech(asset_id=spec.speech.asset, start=rational(spec.speech.start), track=spec.speech.track),
        pose=_pose_message(spec.pose),
        frame_rate=rational(spec.fps),
        frame_count=spec.frame_count,
        mouth_strength=spec.mouth_strength,
        seed=spec.seed,
        precision=_PRECISION_VALUES[spec.precision],
        size=spec.size,
        output=_output_message(spec.output),
        viewer=_VIEWER_VALUES[spec.viewer],
    )


def _output_message(output: Output) -> dubbing.Output:
    footage = None
    if output.footage:
        given = output.footage
        footage = media.Footage(
            asset_id=given.asset,
            face=face_message(given.face),
            start=rational(given.start),
            speed=rational(given.speed),
        )
    return dubbing.Output(
        mode=_MODE_VALUES[output.mode],
        footage=footage,
        feather=output.feather,
        mouth_only=output.mouth_only,
        keep_where_absent=output.keep_where_absent,
    )


def _output_of(message: dubbing.Output) -> Output:
    footage = None
    if message.HasField("footage"):
        given = message.footage
        footage = FootageSource(
            given.asset_id, face_selection(given.face), fraction(given.start), fraction(given.speed, Fraction(1))
        )
    return Output(
        mode=_choice(_MODE_VALUES, message.mode, "output mode"),
        footage=footage,
        feather=_short(message.feather) if message.HasField("feather") else FEATHER,
        mouth_only=tuple(map(_short, message.mouth_only)) or (0.0,),
        keep_where_absent=message.keep_where_absent if message.HasField("keep_where_absent") else True,
    )


def _pose_message(pose: Pose) -> media.Pose:
    if isinstance(pose, PoseVideo):
        video = media.PoseVideo(
            asset_id=pose.asset,
            face=face_message(pose.face),
            start=rational(pose.start),
            speed=rational(pose.speed),
        )
        return media.Pose(video=video)
    if isinstance(pose, PoseCodes):
        return media.Pose(codes=media.PoseCodes(values=[value for row in pose.rows for value in row]))
    if isinstance(pose, PoseFixed):
        return media.Pose(fixed=media.PoseFixed())
    return media.Pose(frontal=media.PoseFrontal())


def spec_of(message: dubbing.DubSpec) -> DubSpec:
    """Inverse of `spec_message`."""
    if message.engine not in ("", "pcavs"):
        raise PoseDubError(f"The server has no engine {message.engine!r}; use pcavs.")
    return DubSpec(
        portrait=Portrait(
            message.portrait.asset_id, face_selection(message.portrait.face), fraction(message.portrait.time)
        ),
        speech=Speech(message.speech.asset_id, fraction(message.speech.start), message.speech.track),
        pose=_pose_of(message.pose),
        fps=fraction(message.frame_rate),
        frame_count=message.frame_count,
        mouth_strength=_short(message.mouth_strength),
        seed=message.seed,
        precision=_choice(_PRECISION_VALUES, message.precision, "precision"),
        engine="pcavs",
        weights=message.weights_id,
        size=message.size or SIZE,
        output=_output_of(message.output),
        viewer=viewer_of(message.viewer),
    )


def _short(value: float) -> float:
    """The decimal a person wrote, back from its 32-bit form (1.2 and not 1.2000000477)."""
    return float(f"{value:.7g}")


def _pose_of(message: media.Pose) -> Pose:
    source = message.WhichOneof("source")
    if source == "video":
        video = message.video
        return PoseVideo(
            video.asset_id, face_selection(video.face), fraction(video.start), fraction(video.speed, Fraction(1))
        )
    if source == "codes":
        values = message.codes.values
        if len(values) % POSE_SIZE:
            raise PoseDubError(f"The {len(values)} pose values are not rows of {POSE_SIZE}; bake the pose again.")
        return PoseCodes(tuple(tuple(values[i : i + POSE_SIZE]) for i in range(0, len(values), POSE_SIZE)))
    if source == "fixed":
        return PoseFixed()
    if source == "frontal":
        return PoseFrontal()
    raise PoseDubError("The dub names no pose source; choose a movie, fixed, frontal or pose codes.")


def request_message(request: DubRequest) -> dubbing.SubmitDubRequest:
    """A dub and the frames wanted now."""
    return dubbing.SubmitDubRequest(
        spec=spec_message(request.spec), frames=media.FrameRange(first=request.first, end=request.end)
    )


def request_of(message: dubbing.SubmitDubRequest | dubbing.EstimateDubRequest) -> DubRequest:
    """Inverse of `request_message`; all frames when no range is given."""
    spec = spec_of(message.spec)
    if message.HasField("frames"):
        return DubRequest(spec, message.frames.first, message.frames.end)
    return DubRequest(spec)


def estimate_message(estimate: Estimate) -> dubbing.EstimateDubResponse:
    """What a dub would take."""
    ranges = [media.FrameRange(first=first, end=end) for first, end in estimate.generated]
    return dubbing.EstimateDubResponse(generated=ranges, generated_frames=estimate.count, unread=estimate.unread)


def preview_messages(preview: Preview) -> Iterator[dubbing.PreviewFrameResponse]:
    """One frame, in parts."""
    for begin in range(0, len(preview.png), MAX_PART_BYTES):
        part = preview.png[begin : begin + MAX_PART_BYTES]
        yield dubbing.PreviewFrameResponse(png=part, approximate=preview.approximate)


def weights_message(info: WeightsInfo) -> dubbing.Weights:
    """Weights on offer."""
    pose_map = pose_map_message(info.pose_map) if info.pose_map else None
    return dubbing.Weights(
        weights_id=info.id, name=info.name, kind=_KINDS[info.kind], preset=info.preset, pose_map=pose_map
    )


def pose_map_message(pose_map: PoseMap) -> dubbing.PoseMap:
    """Head angles and pose codes of weights, matrices row by row."""
    return dubbing.PoseMap(
        to_code=chain(*pose_map.to_code),
        frontal=pose_map.frontal,
        to_angles=chain(*pose_map.to_angles),
        zero=pose_map.zero,
        residual=pose_map.residual,
    )


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
        weights=dubbing.Weights(weights_id=weights_id, name=name, kind=_KINDS[kind], preset=preset),
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


def found_face_message(face: FoundFace, size: tuple[int, int], thumbnail: bytes) -> media.Face:
    """A found face, from pixels to fractions of the picture's (width, height), with its JPEG."""
    width, height = size
    left, top, right, bottom = face.box

    def point(xy: tuple[float, float]) -> media.Point:
        return media.Point(x=xy[0] / width, y=xy[1] / height)

    return media.Face(
        left=left / width,
        top=top / height,
        right=right / width,
        bottom=bottom / height,
        score=face.score,
        left_eye=point(face.left_eye),
        right_eye=point(face.right_eye),
        mouth=point(face.mouth),
        thumbnail=thumbnail,
        yaw=face.yaw,
    )


def weights_of(message: dubbing.Weights) -> tuple[str, str, str, str]:
    """Id, name, kind and preset of weights."""
    kinds = {number: kind for kind, number in _KINDS.items()}
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
