"""Plain values to protobuf messages and back; nothing else knows the generated stubs.

The stubs, and with them protobuf, are imported at the first use: Blender loads
the add-on before it is known whether anybody dubs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, cast

from ..core import schema
from ..core.engines import POSE_SIZE, EngineTraits, PoseControl, Sizes
from ..core.events import DubEstimated, JobProgress, JobWarning, ServerInfo
from ..core.faces import Face, FaceChoice, FacesFound
from ..core.output import Output
from ..core.plan import DubPlan, PortraitSource, PoseRequest, PoseSource, SpeechPoseRequest
from ..core.pose_map import ANGLES, PoseMap
from ..core.version import VERSION
from ..core.weights import WeightsInfo, WeightsKind

DubState = Literal["unspecified", "queued", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class RemoteDub:
    """A job as the server describes it; first <= k < end are its frames, `created` is seconds since the epoch.

    `generated` of the `committed` frames had to be made for it.
    """

    job_id: str
    state: DubState
    first: int
    end: int
    committed: int
    error: str
    created: float
    weights: WeightsInfo
    queue_position: int
    generated: int = 0


@dataclass(frozen=True)
class Accepted:
    """The server holds the job."""

    dub: RemoteDub


@dataclass(frozen=True)
class Frame:
    """One frame by dub index, as a PNG file's bytes; `continues` when the next event holds more of them."""

    index: int
    png: bytes
    continues: bool = False


@dataclass(frozen=True)
class Done:
    """The job ended; how is in `dub.state`."""

    dub: RemoteDub


WatchEvent = Accepted | JobProgress | Frame | JobWarning | Done


@dataclass(frozen=True)
class PoseBlock:
    """Pose codes of the times from `first` on; `held` are ranges of times that hold a neighbour's code.

    `lids` say for each how far the eyes are closed, 0 to 1; none where the weights do not heed it.
    """

    first: int
    rows: tuple[tuple[float, ...], ...]
    held: tuple[tuple[int, int], ...]
    lids: tuple[float, ...] = ()


def service() -> Any:
    """Descriptor of the dubbing service."""
    return _stubs().DESCRIPTOR.services_by_name["DubbingService"]


def _stubs() -> Any:
    from .stubs import dubbing_pb2

    return dubbing_pb2


def _media() -> Any:
    from .stubs import media_pb2

    return media_pb2


def info_request() -> Any:
    return _stubs().GetServerInfoRequest(client_version=VERSION)


def server_info(message: Any) -> ServerInfo:
    limits = message.limits
    return ServerInfo(
        version=message.version,
        protocol=message.protocol,
        device=message.device,
        weights=tuple(_weights(item, engine.name) for engine in message.engines for item in engine.weights),
        engines=tuple((engine.name, _traits(engine.traits)) for engine in message.engines if engine.HasField("traits")),
        max_asset_bytes=limits.max_asset_bytes,
        max_frames=limits.max_frames,
        max_chunk_bytes=limits.max_chunk_bytes,
    )


def _traits(message: Any) -> EngineTraits:
    controls = (PoseControl(one.name, one.unit, one.low, one.high, one.neutral) for one in message.pose_controls)
    return EngineTraits(
        message.title,
        message.portrait,
        tuple(message.pose_sources),
        tuple(controls),
        tuple(message.parameters),
        message.portrait_optional,
        bool(message.in_place),
    )


def _weights(message: Any, engine: str = "") -> WeightsInfo:
    kind = _enum_name("WeightsKind", message.kind)
    known = kind in ("untrained", "trained", "imported")
    return WeightsInfo(
        message.weights_id,
        message.name,
        cast(WeightsKind, kind if known else "unknown"),
        message.preset,
        _pose_map(message.pose_map) if message.HasField("pose_map") else None,
        engine,
        Sizes(message.sizes.low, message.sizes.high, message.sizes.step) if message.HasField("sizes") else None,
        _traits(message.traits) if message.HasField("traits") else None,
    )


def _pose_map(message: Any) -> PoseMap | None:
    """None for a map of codes of other sizes: their numbers are angles themselves."""
    if (len(message.to_code), len(message.to_angles)) != (ANGLES * POSE_SIZE, POSE_SIZE * ANGLES):
        return None
    return PoseMap(
        _rows(message.to_code, POSE_SIZE),
        tuple(message.frontal),
        _rows(message.to_angles, ANGLES),
        tuple(message.zero),
        tuple(message.residual),
    )


def _rows(values: Iterable[float], size: int) -> tuple[tuple[float, ...], ...]:
    flat = tuple(values)
    return tuple(flat[start : start + size] for start in range(0, len(flat), size))


def _enum_name(enum: str, number: int) -> str:
    """Lower-case value name without the enum's prefix; "unspecified" for numbers of a newer server."""
    values = _stubs().DESCRIPTOR.enum_types_by_name[enum].values
    prefix = len(values[0].name) - len("UNSPECIFIED")
    names = {value.number: value.name[prefix:].lower() for value in values}
    return names.get(number, "unspecified")


def asset_request(asset: str) -> Any:
    return _stubs().GetAssetRequest(asset_id=asset)


def upload_requests(asset: str, offset: int, total: int, chunks: Iterable[bytes]) -> Iterator[Any]:
    """Messages of one upload; at least one, even when there is nothing left to send."""
    make = _stubs().UploadAssetRequest
    head: dict[str, Any] = {"asset_id": asset, "offset": offset, "total_bytes": total}
    for chunk in chunks:
        yield make(chunk=chunk, **head)
        head = {}
    if head:
        yield make(**head)


def submit_request(plan: DubPlan, assets: Mapping[str, str]) -> Any:
    """The plan's request; `assets` gives the SHA-256 of each role's file."""
    return _stubs().SubmitDubRequest(spec=_spec(plan, assets), frames=_range(plan))


def _range(plan: DubPlan) -> Any:
    return _media().FrameRange(first=plan.first, end=plan.end)


def _spec(plan: DubPlan, assets: Mapping[str, str]) -> Any:
    stubs, media = _stubs(), _media()
    return stubs.DubSpec(
        weights_id=plan.weights_id,
        portrait=_portrait(plan.portrait, assets) if plan.portrait else None,
        speech=media.Speech(asset_id=assets["speech"], start=_rational(plan.speech.start)),
        pose=_pose(plan.pose, assets.get("pose", "")),
        frame_rate=_rational(plan.fps),
        frame_count=plan.frame_count,
        output=_output(plan.output, assets.get("footage", "")),
        viewer=media.VIEWER_BLENDER,
        blink=plan.blink,
        **_parameters(plan),
    )


def _portrait(portrait: PortraitSource, assets: Mapping[str, str]) -> Any:
    return _media().Portrait(asset_id=assets["portrait"], face=_face(portrait.face), time=_rational(portrait.time))


def _parameters(plan: DubPlan) -> dict[str, Any]:
    """The fields of a dub's specification that are named as the networks' parameters are."""
    kinds = {field.name: field.enum_type for field in _stubs().DubSpec.DESCRIPTOR.fields}
    return {name: _enum_value(kinds[name], value) for name, value in schema.chosen(plan).items()}


def _enum_value(enum: Any, value: Any) -> Any:
    """The number of a name, without the enum's prefix; other values, of no enum, as they are."""
    if enum is None:
        return value
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    return enum.values_by_name[f"{prefix}{value.upper()}"].number


def estimate_request(plan: DubPlan, assets: Mapping[str, str]) -> Any:
    return _stubs().EstimateDubRequest(spec=_spec(plan, assets), frames=_range(plan))


def estimated(uid: str, message: Any) -> DubEstimated:
    generated = tuple((span.first, span.end) for span in message.generated)
    return DubEstimated(uid, generated, tuple(message.unread))


def preview_request(plan: DubPlan, assets: Mapping[str, str], index: int) -> Any:
    return _stubs().PreviewFrameRequest(spec=_spec(plan, assets), index=index)


def _rational(value: Fraction) -> Any:
    return _media().Rational(numerator=value.numerator, denominator=value.denominator)


def _face(choice: FaceChoice) -> Any:
    media = _media()
    at = None if choice.at is None else media.Point(x=choice.at[0], y=choice.at[1])
    time = None if choice.time is None else _rational(choice.time)
    return media.FaceSelection(crop=media.CropMode.Value(f"CROP_MODE_{choice.crop.upper()}"), at=at, time=time)


def _output(output: Output, asset: str) -> Any:
    stubs, footage = _stubs(), None
    if output.footage:
        given = output.footage
        footage = _media().Footage(
            asset_id=asset, face=_face(given.face), start=_rational(given.start), speed=_rational(given.speed)
        )
    return stubs.Output(
        mode=stubs.OutputMode.Value(f"OUTPUT_MODE_{output.mode.upper()}"),
        footage=footage,
        feather=output.feather,
        mouth_only=output.mouth_only,
        keep_where_absent=output.keep_where_absent,
        presence_mark=output.presence_mark,
        face_source=stubs.FaceSource.Value(f"FACE_SOURCE_{output.face_source.upper()}"),
    )


def _pose(pose: PoseSource, asset: str) -> Any:
    media = _media()
    if pose.kind == "fixed":
        return media.Pose(fixed=media.PoseFixed())
    if pose.kind == "frontal":
        return media.Pose(frontal=media.PoseFrontal())
    if pose.kind == "speech":
        return media.Pose(speech=media.PoseSpeech())
    if pose.kind == "codes":
        return media.Pose(codes=media.PoseCodes(values=[value for row in pose.codes for value in row]))
    video = media.PoseVideo(
        asset_id=asset, face=_face(pose.face), start=_rational(pose.start), speed=_rational(pose.speed)
    )
    return media.Pose(video=video)


def remote_dub(message: Any) -> RemoteDub:
    return RemoteDub(
        job_id=message.job_id,
        state=cast(DubState, _enum_name("DubState", message.state)),
        first=message.frames.first,
        end=message.frames.end,
        committed=message.committed_frames,
        error=message.error,
        created=message.created,
        weights=_weights(message.weights),
        queue_position=message.queue_position,
        generated=message.generated_frames,
    )


def watch_request(job_id: str, from_index: int) -> Any:
    return _stubs().WatchDubRequest(job_id=job_id, from_index=from_index)


def watch_event(uid: str, message: Any) -> WatchEvent | None:
    """One event of a job; None for a kind that a newer server invented."""
    kind = message.WhichOneof("event")
    event: Any = getattr(message, kind) if kind else None
    if kind == "accepted":
        return Accepted(remote_dub(event.dub))
    if kind == "progress":
        return JobProgress(uid, event.phase, event.done, event.total, event.queue_position)
    if kind == "frame":
        return Frame(event.index, event.png, event.continues)
    if kind == "warning":
        return JobWarning(uid, event.frames.first, event.frames.end, event.kind, event.message)
    return Done(remote_dub(event.dub)) if kind == "done" else None


def joined(events: Iterable[WatchEvent]) -> Iterator[WatchEvent]:
    """The events with frames that come in parts put together."""
    parts: list[bytes] = []
    for event in events:
        if not isinstance(event, Frame):
            yield event
            continue
        parts.append(event.png)
        if not event.continues:
            yield Frame(event.index, b"".join(parts))
            parts.clear()


def cancel_request(job_id: str) -> Any:
    return _stubs().CancelDubRequest(job_id=job_id)


def list_request(limit: int, kept: Sequence[str] = ()) -> Any:
    return _stubs().ListDubsRequest(limit=limit, kept=kept)


def faces_request(asset: str, time: Fraction) -> Any:
    return _stubs().AnalyzeFacesRequest(asset_id=asset, time=_rational(time), viewer=_media().VIEWER_BLENDER)


def faces_found(uid: str, message: Any) -> FacesFound:
    return FacesFound(uid, tuple(map(_found, message.faces)), message.width, message.height)


def _found(face: Any) -> Face:
    left_eye, right_eye, mouth = ((point.x, point.y) for point in (face.left_eye, face.right_eye, face.mouth))
    return Face(
        face.left, face.top, face.right, face.bottom, face.score, left_eye, right_eye, mouth, face.yaw, face.thumbnail
    )


def pose_request(asset: str, request: PoseRequest) -> Any:
    make = _stubs().ExtractPoseRequest
    reading = make.DESCRIPTOR.fields_by_name["pose_reading"].enum_type
    return make(
        asset_id=asset,
        face=_face(request.face),
        times=map(_rational, request.times),
        weights_id=request.weights_id,
        viewer=_media().VIEWER_BLENDER,
        pose_reading=_enum_value(reading, request.pose_reading),
    )


def speech_pose_request(asset: str, request: SpeechPoseRequest) -> Any:
    return _stubs().PoseFromSpeechRequest(
        speech=_media().Speech(asset_id=asset),
        frame_rate=_rational(request.fps),
        frame_count=request.frame_count,
        weights_id=request.weights_id,
        seed=request.seed,
    )


def speech_pose_block(message: Any) -> PoseBlock:
    """One block of yaw, pitch and roll."""
    return PoseBlock(message.first, _rows(message.angles, ANGLES), ())


def pose_block(message: Any, size: int) -> PoseBlock:
    """One block of pose codes of `size` numbers each."""
    held = tuple((span.first, span.end) for span in message.without_face)
    return PoseBlock(message.first, _rows(message.values, size), held, tuple(message.lids))
