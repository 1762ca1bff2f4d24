"""The request of a dub to protocol messages and back."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from model_server.engines.base import PoseReadingChoice
from model_server.errors import PoseDubError
from model_server.pipeline.parameters import Parameter, parameters
from model_server.pipeline.request import (
    Blinking,
    DubRequest,
    DubSpec,
    FaceSource,
    FootageSource,
    Output,
    OutputMode,
    Portrait,
    Pose,
    PoseCodes,
    PoseFixed,
    PoseFrontal,
    PoseSpeech,
    PoseVideo,
    Precision,
    Speech,
)
from model_server.pipeline.speech_pose import SpeechPoseRequest
from model_server.service.messages import dubbing, media
from model_server.service.wire.values import (
    VIEWER_VALUES,
    choice,
    face_message,
    face_selection,
    fraction,
    rational,
    short,
    viewer_of,
)

_PRECISION_VALUES: dict[Precision, dubbing.Precision] = {
    "auto": dubbing.PRECISION_AUTO,
    "fp32": dubbing.PRECISION_FP32,
    "bf16": dubbing.PRECISION_BF16,
}
READING_VALUES: dict[PoseReadingChoice, dubbing.PoseReading] = {
    "auto": dubbing.POSE_READING_AUTO,
    "encoder": dubbing.POSE_READING_ENCODER,
    "angles": dubbing.POSE_READING_ANGLES,
    "movement": dubbing.POSE_READING_MOVEMENT,
}
_BLINKING_VALUES: dict[Blinking, dubbing.Blinking] = {
    "auto": dubbing.BLINKING_AUTO,
    "on": dubbing.BLINKING_ON,
    "off": dubbing.BLINKING_OFF,
}
_SOURCE_VALUES: dict[FaceSource, dubbing.FaceSource] = {
    "auto": dubbing.FACE_SOURCE_AUTO,
    "in_place": dubbing.FACE_SOURCE_IN_PLACE,
    "portrait": dubbing.FACE_SOURCE_PORTRAIT,
}
_MODE_VALUES: dict[OutputMode, dubbing.OutputMode] = {
    "crop": dubbing.OUTPUT_MODE_CROP,
    "overlay": dubbing.OUTPUT_MODE_OVERLAY,
    "full_frame": dubbing.OUTPUT_MODE_FULL_FRAME,
}


def spec_message(spec: DubSpec) -> dubbing.DubSpec:
    """A dub's description for the wire."""
    return dubbing.DubSpec(
        engine=spec.engine,
        weights_id=spec.weights,
        portrait=_portrait_message(spec.portrait) if spec.portrait else None,
        speech=media.Speech(asset_id=spec.speech.asset, start=rational(spec.speech.start), track=spec.speech.track),
        pose=_pose_message(spec.pose),
        frame_rate=rational(spec.fps),
        frame_count=spec.frame_count,
        precision=_PRECISION_VALUES[spec.precision],
        output=_output_message(spec.output),
        viewer=VIEWER_VALUES[spec.viewer],
        pose_reading=READING_VALUES[spec.pose_reading],
        blinking=_BLINKING_VALUES[spec.blinking],
        **_parameter_fields(spec),
    )


def _portrait_message(portrait: Portrait) -> media.Portrait:
    return media.Portrait(asset_id=portrait.asset, face=face_message(portrait.face), time=rational(portrait.time))


def _parameter_fields(given: DubSpec | Output) -> dict[str, Any]:
    """Values of the parameters, which have the same names on the wire."""
    return {one.name: getattr(given, one.name) for one in parameters(type(given))}


def _parameters_in(message: Any, cls: type) -> dict[str, Any]:
    """Inverse of `_parameter_fields`; defaults where a field was left out."""
    return {one.name: _parameter_in(message, one) for one in parameters(cls)}


def _parameter_in(message: Any, one: Parameter) -> Any:
    value = getattr(message, one.name)
    if one.each_frame:
        return tuple(map(short, value)) or (one.default,)
    if message.DESCRIPTOR.fields_by_name[one.name].has_presence:
        absent = not message.HasField(one.name)
    else:
        absent = value == 0 and one.low > 0
    if absent:
        return one.default
    return short(value) if one.kind is float else value


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
        face_source=_SOURCE_VALUES[output.face_source],
        **_parameter_fields(output),
    )


def _output_of(message: dubbing.Output) -> Output:
    footage = None
    if message.HasField("footage"):
        given = message.footage
        footage = FootageSource(
            given.asset_id, face_selection(given.face), fraction(given.start), fraction(given.speed, Fraction(1))
        )
    mode = choice(_MODE_VALUES, message.mode, "output mode")
    face_source = choice(_SOURCE_VALUES, message.face_source, "face source")
    return Output(mode, footage, face_source=face_source, **_parameters_in(message, Output))


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
    if isinstance(pose, PoseSpeech):
        return media.Pose(speech=media.PoseSpeech())
    return media.Pose(frontal=media.PoseFrontal())


def spec_of(message: dubbing.DubSpec) -> DubSpec:
    """Inverse of `spec_message`."""
    return DubSpec(
        portrait=_portrait_of(message.portrait) if message.HasField("portrait") else None,
        speech=_speech_of(message.speech),
        pose=_pose_of(message.pose, message.frame_count),
        fps=fraction(message.frame_rate),
        frame_count=message.frame_count,
        precision=choice(_PRECISION_VALUES, message.precision, "precision"),
        engine=message.engine,
        weights=message.weights_id,
        output=_output_of(message.output),
        viewer=viewer_of(message.viewer),
        pose_reading=reading_of(message.pose_reading),
        blinking=choice(_BLINKING_VALUES, message.blinking, "blinking"),
        **_parameters_in(message, DubSpec),
    )


def reading_of(value: dubbing.PoseReading) -> PoseReadingChoice:
    """Where pose codes come from; PoseDubError for what a newer client asks."""
    return choice(READING_VALUES, value, "pose reading")


def speech_pose_of(message: dubbing.PoseFromSpeechRequest) -> SpeechPoseRequest:
    """What pose is asked for which sound."""
    return SpeechPoseRequest(
        _speech_of(message.speech),
        fraction(message.frame_rate),
        message.frame_count,
        message.weights_id,
        message.seed,
    )


def _speech_of(message: media.Speech) -> Speech:
    return Speech(message.asset_id, fraction(message.start), message.track)


def _portrait_of(message: media.Portrait) -> Portrait:
    return Portrait(message.asset_id, face_selection(message.face), fraction(message.time))


def _pose_of(message: media.Pose, frame_count: int) -> Pose:
    source = message.WhichOneof("source")
    if source == "video":
        video = message.video
        return PoseVideo(
            video.asset_id, face_selection(video.face), fraction(video.start), fraction(video.speed, Fraction(1))
        )
    if source == "codes":
        return PoseCodes(_rows(message.codes.values, frame_count))
    if source == "fixed":
        return PoseFixed()
    if source == "frontal":
        return PoseFrontal()
    if source == "speech":
        return PoseSpeech()
    raise PoseDubError("The dub names no pose source; choose a movie, fixed, frontal or pose codes.")


def _rows(values: Sequence[float], count: int) -> tuple[tuple[float, ...], ...]:
    """`count` rows of equal length."""
    size = len(values) // max(count, 1)
    if size == 0 or len(values) != size * count:
        raise PoseDubError(f"The {len(values)} pose codes do not fit the {count} frames of the dub; bake them again.")
    return tuple(tuple(values[start : start + size]) for start in range(0, len(values), size))


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
