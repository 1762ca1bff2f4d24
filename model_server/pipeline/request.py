"""The one request that carries a whole dub, as plain frozen data.

Paths appear nowhere: media are named by the SHA-256 of their content, so equal
requests have equal JSON wherever they were made.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal

from model_server.engines.base import PoseReadingChoice, PoseSource, PrecisionChoice
from model_server.errors import PoseDubError
from model_server.features import CROP_SIDE
from model_server.pipeline.parameters import Parameter, parameter, parameters

MAX_FRAMES = 2_000_000
# Width and height of pictures when none are asked for.
SIZE = CROP_SIDE
SLOWEST, FASTEST = 1, 240

CropMode = Literal["auto", "aligned"]
Precision = PrecisionChoice
OutputMode = Literal["crop", "overlay", "full_frame"]
FaceSource = Literal["auto", "in_place", "portrait"]
Blinking = Literal["auto", "on", "off"]
Viewer = Literal["player", "blender"]
"""Whose way of showing files counts. Blender turns movies by quarters but mirrors none, takes all pixels for squares
and leaves the EXIF orientation of photos aside; players do all that files ask for."""
ROLES = {"portrait": "the portrait", "speech": "the sound", "pose": "the pose source", "footage": "the footage"}


@dataclass(frozen=True)
class FaceSelection:
    """Which face is meant, and how it becomes a 224x224 crop.

    Attributes:
        crop: "auto" finds and aligns the face, "aligned" takes the picture as it is.
        at: point in fractions of width and height; the nearest face is taken,
            the largest when None.
        time: seconds into a movie of the picture that `at` is a point of; the first one used that shows a face
            when None.
    """

    crop: CropMode = "auto"
    at: tuple[float, float] | None = None
    time: Fraction | None = None


@dataclass(frozen=True)
class Portrait:
    """Identity source: a picture, or a movie's frame at `time` seconds."""

    asset: str
    face: FaceSelection = FaceSelection()
    time: Fraction = Fraction(0)


@dataclass(frozen=True)
class Speech:
    """Sound whose second `start` belongs to the beginning of frame 0.

    Attributes:
        track: number of the file's sound track, from 1 on; 0 has one chosen: the default one, or if that one is silent
            or the file names none, the first one in which anything is heard.
    """

    asset: str
    start: Fraction = Fraction(0)
    track: int = 0


@dataclass(frozen=True)
class PoseVideo:
    """Pose from a movie, sampled at `start + speed * k / fps` seconds for frame k."""

    asset: str
    face: FaceSelection = FaceSelection()
    start: Fraction = Fraction(0)
    speed: Fraction = Fraction(1)


@dataclass(frozen=True)
class PoseFixed:
    """The portrait's own pose for every frame."""


@dataclass(frozen=True)
class PoseFrontal:
    """All pose controls neutral, a frontal head, for every frame."""


@dataclass(frozen=True)
class PoseCodes:
    """Explicit pose codes: for each frame of the whole dub a row with a number for each pose control of the engine."""

    rows: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class PoseSpeech:
    """The head moves as the engine makes of the speech."""


Pose = PoseVideo | PoseFixed | PoseFrontal | PoseCodes | PoseSpeech
POSE_SOURCES: dict[type, PoseSource] = {
    PoseVideo: "video", PoseFixed: "fixed", PoseFrontal: "frontal", PoseCodes: "codes", PoseSpeech: "speech"
}  # fmt: skip


@dataclass(frozen=True)
class FootageSource:
    """Pictures that the face is dubbed into, sampled at `start + speed * k / fps` seconds for frame k."""

    asset: str
    face: FaceSelection = FaceSelection()
    start: Fraction = Fraction(0)
    speed: Fraction = Fraction(1)


@dataclass(frozen=True)
class Output:
    """What a frame of the dub is.

    Attributes:
        mode: "crop" is the square network view; "overlay" a picture of the footage's size that is transparent but for
            the face; "full_frame" the footage with the face in it.
        footage: what the face is dubbed into; None for "crop".
        feather: width of the face's soft edge in distances between the eyes, in [0, 1].
        mouth_only: 0 takes the whole face from the dub, 1 the mouth region only; in [0, 1], one value for all frames
            or one for each.
        keep_where_absent: whether a face that is turned away or cut off stays as it is; one that is not found always
            does.
        face_source: "portrait" bends the portrait to each frame, "in_place" draws the lower face into the frame itself;
            "auto" does so where the weights can and the portrait is the footage's own face.
        presence_mark: whether what networks drew has an invisible pattern, for pictures that lose what is written in
            their files.
    """

    mode: OutputMode = "crop"
    footage: FootageSource | None = None
    feather: float = parameter(0.2, 0, 1, "the face's soft edge", unit="eye distances")
    mouth_only: tuple[float, ...] = parameter(
        0.0, 0, 1, "0: the whole face from the dub, 1: the mouth", each_frame=True, label="mouth-only"
    )
    keep_where_absent: bool = parameter(
        True, False, True, "whether faces that are turned away or cut off stay as they are"
    )
    face_source: FaceSource = "auto"
    presence_mark: bool = parameter(
        False, False, True, "whether an invisible pattern says that networks drew here (`posedub verify` finds it)"
    )

    def mouth_only_at(self, index: int) -> float:
        """The value for a frame of the dub."""
        return self.mouth_only[index] if len(self.mouth_only) > 1 else self.mouth_only[0]

    def of(self, frames: range) -> Output:
        """The output of a part of the dub."""
        amounts = self.mouth_only
        return replace(self, mouth_only=amounts[frames.start : frames.stop]) if len(amounts) > 1 else self

    def problems(self, frame_count: int) -> list[tuple[bool, str]]:
        """Each possible fault of an output of a dub with that many frames: whether it is there, and its sentence."""
        given = self.footage is not None
        free = self.footage is None or self.footage.face.crop == "auto"
        return [
            (self.mode != "crop" and not given, f"The output {self.mode} names no footage; choose what to dub into."),
            (self.mode == "crop" and given, "The output crop takes no footage; set it to overlay or full frame."),
            (
                self.mode == "crop" and self.face_source == "in_place",
                "Drawing in place needs footage; set the output to overlay or full frame.",
            ),
            (not free, "The footage's faces are to be found in whole pictures; set its crop to auto."),
            *_out_of_range(self),
            (
                len(self.mouth_only) not in (1, frame_count),
                f"The mouth-only amount has {len(self.mouth_only)} values; give one, or {frame_count} for the frames.",
            ),
        ]


@dataclass(frozen=True)
class DubSpec:
    """Everything that decides the frames of a dub.

    Attributes:
        portrait: None for engines whose weights know whom they draw.
        fps: frames per second.
        frame_count: frames of the whole dub, > 0.
        mouth_strength, seed, steps, pose_gain, shared_noise, size: see their texts; sizes are those of the weights.
        engine: name of the engine, "" for that of the weights.
        weights: id of the weights, "" for the default.
        output: what a frame is; the network's picture, or footage with the face in it.
        viewer: whose way of showing files counts, and what an overlay fits.
        pose_reading: where the pose codes of a movie come from, "auto" for what is better with the weights.
        blink: see its text; one value for all frames or one for each.
        blinking: whether lids also close by themselves, every 2 to 4 seconds by the seed; "auto" has them do so where
            neither footage nor a pose movie nor `blink` moves the eyes.
    """

    portrait: Portrait | None
    speech: Speech
    pose: Pose
    fps: Fraction
    frame_count: int
    mouth_strength: float = parameter(1.2, 0, 3, "how far the mouth opens; 1.2 as published, 0 closes it")
    seed: int = parameter(0, 0, 2**64 - 1, "of the generator's noise, and of head movement that speech does not tell")
    steps: int = parameter(1, 1, 100, "in which a picture is rendered; 1 is the fast decoder made of the others")
    pose_gain: float = parameter(1.0, 0, 1.5, "of head movement made of the speech; 0 holds the head still")
    shared_noise: bool = parameter(
        True, False, True, "whether all frames start from the same noise; without it they flicker"
    )
    precision: Precision = "auto"
    engine: str = ""
    weights: str = ""
    size: int = parameter(
        SIZE, 16, 4096, "width and height of the network's pictures", unit="pixels", label="picture size"
    )
    output: Output = Output()
    viewer: Viewer = "player"
    pose_reading: PoseReadingChoice = "auto"
    blink: tuple[float, ...] = parameter(
        0.0, 0, 1, "how far the lids are closed at least; 0 leaves them to pose source and blinking", each_frame=True
    )
    blinking: Blinking = "auto"

    @property
    def blinks(self) -> bool:
        """Whether lids close by themselves."""
        alone = self.output.footage is None and not isinstance(self.pose, PoseVideo) and not any(self.blink)
        return self.blinking == "on" or (self.blinking == "auto" and alone)

    def validate(self) -> None:
        """Raise PoseDubError, with one sentence, for the first value out of range."""
        check_rate(self.fps)
        for wrong, sentence in self._problems():
            if wrong:
                raise PoseDubError(sentence)

    def _problems(self) -> list[tuple[bool, str]]:
        fits = not isinstance(self.pose, PoseCodes) or len(self.pose.rows) == self.frame_count
        return [
            (self.frame_count < 1, "The dub has no frames; give it sound that is longer than nothing."),
            (self.frame_count > MAX_FRAMES, f"The dub has more than {MAX_FRAMES} frames; split it."),
            *_out_of_range(self),
            (self.speech.track < 0, f"There is no sound track {self.speech.track}; count from 1, or give 0 for any."),
            (not fits, f"The pose codes do not fit the {self.frame_count} frames of the dub; give one row for each."),
            (not _finite(self.pose), "The pose codes hold what is no finite number; bake the pose again."),
            (
                len(self.blink) not in (1, self.frame_count),
                f"The blink has {len(self.blink)} values; give one, or {self.frame_count} for the frames.",
            ),
            *self.output.problems(self.frame_count),
        ]

    def assets(self) -> tuple[str, ...]:
        """Content ids of all media the dub needs."""
        return tuple(asset for asset, _ in self.asset_kinds())

    def asset_kinds(self) -> tuple[tuple[str, str], ...]:
        """The media with what they are: "portrait", "speech", "pose" or "footage"."""
        pose = ((self.pose.asset, "pose"),) if isinstance(self.pose, PoseVideo) else ()
        footage = ((self.output.footage.asset, "footage"),) if self.output.footage else ()
        portrait = ((self.portrait.asset, "portrait"),) if self.portrait else ()
        return (*portrait, (self.speech.asset, "speech"), *pose, *footage)

    def asset_roles(self) -> tuple[tuple[str, str], ...]:
        """The media with what they are for, in the words of a sentence; footage is not called what else it is, too."""
        return tuple({asset: ROLES[kind] for asset, kind in self.asset_kinds()}.items())


@dataclass(frozen=True)
class DubRequest:
    """A dub and the frames `first <= k < end` of it that are wanted now."""

    spec: DubSpec
    first: int = 0
    end: int = field(default=-1)

    def __post_init__(self) -> None:
        if self.end == -1:
            object.__setattr__(self, "end", self.spec.frame_count)

    def validate(self) -> None:
        """Raise PoseDubError for a bad spec or a range outside the dub."""
        self.spec.validate()
        if not 0 <= self.first < self.end <= self.spec.frame_count:
            raise PoseDubError(
                f"The range {self.first}:{self.end} is not inside the dub's frames 0:{self.spec.frame_count}."
            )

    def to_json(self) -> str:
        """Canonical JSON: equal requests give equal text."""
        return json.dumps(asdict(self) | {"pose_kind": type(self.spec.pose).__name__}, sort_keys=True, default=str)

    @staticmethod
    def from_json(text: str) -> DubRequest:
        """Inverse of `to_json`."""
        return _request_from(json.loads(text))

    def digest(self) -> str:
        """SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def own_face(spec: DubSpec) -> bool:
    """Whether the portrait shows the footage's own face, or there is footage and no other portrait."""
    into, portrait = spec.output.footage, spec.portrait
    if into is None or portrait is None:
        return into is not None
    return portrait.face.crop == "auto" and (portrait.asset, portrait.face.at) == (into.asset, into.face.at)


def check_rate(fps: Fraction) -> None:
    """Raise PoseDubError for frames per second that no dub can have."""
    if not SLOWEST <= fps <= FASTEST:
        raise PoseDubError(f"The frame rate {fps} is outside {SLOWEST} to {FASTEST}; choose one within.")


def dub_parameters() -> tuple[Parameter, ...]:
    """All that an editor may set of a dub."""
    return (*parameters(DubSpec), *parameters(Output))


def parameters_of(spec: DubSpec) -> dict[str, float]:
    """Values of the parameters that engines may heed, by name."""
    return {one.name: getattr(spec, one.name) for one in parameters(DubSpec) if not one.each_frame}


def _out_of_range(given: DubSpec | Output) -> list[tuple[bool, str]]:
    """As `Output.problems`, of the parameters."""
    return [one.problem(getattr(given, one.name)) for one in parameters(type(given))]


def _finite(pose: Pose) -> bool:
    return not isinstance(pose, PoseCodes) or all(math.isfinite(value) for row in pose.rows for value in row)


def _request_from(data: dict[str, Any]) -> DubRequest:
    spec = data["spec"]
    made = DubSpec(
        **spec
        | {
            "portrait": spec["portrait"] and _with_face(Portrait, spec["portrait"], "time"),
            "speech": Speech(**spec["speech"] | {"start": Fraction(spec["speech"]["start"])}),
            "pose": _pose_from(data["pose_kind"], spec["pose"]),
            "fps": Fraction(spec["fps"]),
            "output": _output_from(spec.get("output")),
            "blink": tuple(spec.get("blink", (0.0,))),
        }
    )
    return DubRequest(made, data["first"], data["end"])


def _pose_from(kind: str, data: dict[str, Any]) -> Pose:
    if kind == "PoseVideo":
        return _with_face(PoseVideo, data, "start", "speed")
    if kind == "PoseCodes":
        return PoseCodes(tuple(map(tuple, data["rows"])))
    if kind == "PoseSpeech":
        return PoseSpeech()
    return PoseFixed() if kind == "PoseFixed" else PoseFrontal()


def _output_from(data: dict[str, Any] | None) -> Output:
    """An output; requests stored by earlier versions have none."""
    if data is None:
        return Output()
    footage = data["footage"] and _with_face(FootageSource, data["footage"], "start", "speed")
    return Output(**data | {"footage": footage, "mouth_only": tuple(data["mouth_only"])})


def _with_face(cls: Any, data: dict[str, Any], *times: str) -> Any:
    at, time = data["face"]["at"], data["face"].get("time")
    face = FaceSelection(
        data["face"]["crop"], None if at is None else tuple(at), None if time is None else Fraction(time)
    )
    return cls(**data | {"face": face} | {name: Fraction(data[name]) for name in times})
