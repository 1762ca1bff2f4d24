"""A dub as the add-on plans it: which files, which faces, which frames.

A plan names files on this machine; the server learns only their content. Times
are seconds and rates frames per second, both exact fractions. Dub frame 0 is
the first frame of the sound strip.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

from . import schema, sequences
from .engines import PlanLimits, PoseKind
from .errors import AddonError
from .faces import FaceChoice
from .output import Output
from .pose_map import Row
from .schema import DubParameters, PoseReading
from .weights import WeightsInfo

UNSUPPORTED = "FAILED_PRECONDITION"
"""Code of a problem that trying again does not solve."""
_EARLIER = {"pose_reading": "encoder", "blinking": "off"}
"""How plans were meant that do not say it: before there was a choice."""
MAX_CODE_ROWS = 80_000
"""Rows of pose codes that fit one 4 MiB gRPC message: 48 bytes each."""


@dataclass(frozen=True)
class PortraitSource:
    """Identity: a picture, or a movie's frame at `time` seconds."""

    file: Path
    time: Fraction = Fraction(0)
    face: FaceChoice = FaceChoice()


@dataclass(frozen=True)
class SpeechSource:
    """A wav file holding exactly the audible part; its second `start` is the beginning of dub frame 0."""

    file: Path
    start: Fraction = Fraction(0)


@dataclass(frozen=True)
class PoseSource:
    """Where the head pose comes from.

    Attributes:
        kind: "video" samples `file`, "fixed" keeps the portrait's pose, "frontal"
            looks into the camera, "codes" takes `codes`, "speech" is what the engine
            makes of the speech.
        file: movie or picture, for "video".
        start, speed: second of the movie for dub frame k is start + speed * k / fps.
        codes: one row of the engine's pose controls for each frame of the whole dub, for "codes".
        angles: degrees of yaw, pitch and roll by which each row is turned; () for none.
    """

    kind: PoseKind = "fixed"
    file: Path | None = None
    face: FaceChoice = FaceChoice()
    start: Fraction = Fraction(0)
    speed: Fraction = Fraction(1)
    codes: tuple[Row, ...] = ()
    angles: tuple[Row, ...] = ()

    def turned(self, weights: WeightsInfo | None) -> PoseSource:
        """The same with the angles turned into codes; raises AddonError when the weights do not say how."""
        if not self.angles:
            return self
        if weights is None or weights.pose_map is None:
            name = weights.name if weights else "asked for"
            raise AddonError(
                f"The weights {name} do not tell head angles.", "Clear the yaw, pitch and roll keys.", UNSUPPORTED
            )
        return replace(self, codes=tuple(map(weights.pose_map.turned, self.codes, self.angles)), angles=())


@dataclass(frozen=True)
class PoseRequest:
    """Pose codes to read from a movie or picture.

    Attributes:
        uid: names the reading within the add-on.
        times: seconds of the movie, one for each row wanted.
        weights_id: "" for the server's default weights.
        pose_reading: as of a dub.
    """

    uid: str
    file: Path
    face: FaceChoice
    times: tuple[Fraction, ...]
    weights_id: str = ""
    pose_reading: PoseReading = "auto"


@dataclass(frozen=True)
class SpeechPoseRequest:
    """Head angles to ask for a sound.

    Attributes:
        uid: names the request within the add-on.
        file: whose beginning belongs to frame 0.
        weights_id: those of the dub, "" for the server's default ones; others of the server may tell.
        seed: of movement that speech does not tell; 0 for none.
    """

    uid: str
    file: Path
    fps: Fraction
    frame_count: int
    weights_id: str = ""
    seed: int = 0


@dataclass(frozen=True)
class KeptFrames:
    """Frames first <= k < end of an older take, which a new one takes over but for those made anew."""

    folder: Path
    first: int
    end: int


@dataclass(frozen=True)
class DubPlan(DubParameters):
    """Everything one dub needs, and where its frames go.

    Attributes:
        uid: names the job within the add-on.
        name: shown to the editor.
        portrait: None where the engine's weights know whom they draw.
        folder: receives `000000.png` ... by dub index, and `manifest.json`.
        fps: frames per second in [1, 240].
        frame_count: frames of the whole dub.
        first, end: frames wanted now, first <= k < end.
        weights_id: "" for the server's default weights.
        output: what a frame is.
        blink: how far the lids are closed at least, 0 to 1; one value for all frames or one for each.
        kept: what the take has besides the frames wanted; None for nothing.
        limits: what the engine takes that it was made for.
        consent: what the editor stated about the person who is shown; "" for nothing.
    """

    uid: str
    name: str
    folder: Path
    portrait: PortraitSource | None
    speech: SpeechSource
    pose: PoseSource
    fps: Fraction
    frame_count: int
    first: int
    end: int
    weights_id: str = ""
    output: Output = Output()
    blink: tuple[float, ...] = (0.0,)
    kept: KeptFrames | None = None
    limits: PlanLimits = PlanLimits()
    consent: str = ""

    @property
    def person(self) -> Path | None:
        """The file that shows whom the dub shows; None where the weights know whom they draw."""
        footage = self.output.footage
        return self.portrait.file if self.portrait else footage.file if footage else None

    @property
    def frames_wanted(self) -> int:
        """Number of frames in first <= k < end."""
        return self.end - self.first

    @property
    def take_first(self) -> int:
        """First frame of the take."""
        return min(self.first, self.kept.first) if self.kept else self.first

    @property
    def take_end(self) -> int:
        """Frame after the take's last one."""
        return max(self.end, self.kept.end) if self.kept else self.end

    def kept_frames(self) -> list[int]:
        """The frames taken over."""
        return [k for k in range(self.take_first, self.take_end) if not self.first <= k < self.end]

    def sources(self) -> tuple[tuple[str, Path], ...]:
        """(role, file) of every file the dub is made from; roles "portrait", "speech", "pose", "footage"."""
        pose = [("pose", self.pose.file)] if self.pose.kind == "video" and self.pose.file else []
        footage = [("footage", self.output.footage.file)] if self.output.footage else []
        portrait = [("portrait", self.portrait.file)] if self.portrait else []
        return (*portrait, ("speech", self.speech.file), *pose, *footage)

    def problems(self) -> list[str]:
        """One sentence, with what to do, for everything that keeps the dub from starting."""
        return [
            *self._range_problems(),
            *self._file_problems(),
            *self._pose_problems(),
            *self.output.problems(self.frame_count),
            *self._blink_problems(),
        ]

    def _blink_problems(self) -> Iterator[str]:
        if not all(0 <= value <= 1 for value in self.blink):
            yield "The blink has values outside 0 to 1; set its keys back."
        if len(self.blink) not in (1, self.frame_count):
            yield f"There are {len(self.blink)} blink values for {self.frame_count} frames; dub the strips again."

    def _range_problems(self) -> Iterator[str]:
        if not 1 <= self.fps <= 240:
            yield f"The frame rate {float(self.fps):g} is outside 1 to 240; set the scene's frame rate."
        if self.frame_count < 1:
            yield "The sound strip covers no frame; extend it on the timeline."
        elif not 0 <= self.first < self.end <= self.frame_count:
            yield f"The frames {self.first} to {self.end} are outside the dub's {self.frame_count}; choose others."
        yield from schema.problems(self)
        if not 0 <= self.seed < 2**64:
            yield f"The seed {self.seed} is outside 0 to 2^64 - 1; choose another."
        if problem := self.limits.sizes.problem(self.size):
            yield problem

    def _file_problems(self) -> Iterator[str]:
        for role, file in self.sources():
            if not (file.is_file() or sequences.is_described(file)):
                yield f"The {role} file {file} is missing; relink or replace its strip."

    def _pose_problems(self) -> Iterator[str]:
        pose = self.pose
        if pose.kind == "video" and pose.file is None:
            yield "No strip is set as pose source; choose one, or set the pose to fixed or frontal."
        if pose.kind == "video" and pose.speed <= 0:
            yield f"The pose movie plays at speed {float(pose.speed):g}; make it faster than zero."
        if pose.kind == "codes":
            yield from self._code_problems()

    def _code_problems(self) -> Iterator[str]:
        rows = self.pose.codes
        if len(rows) != self.frame_count:
            yield f"There are {len(rows)} pose codes for {self.frame_count} frames; bake the pose again."
        elif len(rows) > MAX_CODE_ROWS:
            yield f"A dub with pose codes is limited to {MAX_CODE_ROWS} frames; split the sound strip."
        count = self.limits.controls
        if not all(len(row) == count and all(map(math.isfinite, row)) for row in rows):
            yield f"Each pose code must be {count} finite numbers; bake the pose again."
        if self.pose.angles and not (
            len(self.pose.angles) == len(rows) and all(map(math.isfinite, chain(*self.pose.angles)))
        ):
            yield "The yaw, pitch and roll must be a finite number for each frame; clear their keys."

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; inverse of `from_json`."""
        return _plain(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> DubPlan:
        """Rebuild a plan. Raises KeyError, TypeError or ValueError for other data."""
        parts = {
            "folder": Path(data["folder"]),
            "portrait": _portrait(data["portrait"]),
            "speech": SpeechSource(Path(data["speech"]["file"]), Fraction(data["speech"].get("start", 0))),
            "pose": _pose(data["pose"]),
            "fps": Fraction(data["fps"]),
            "output": Output.from_json(data.get("output")),
            "blink": tuple(data.get("blink", (0.0,))),
            "kept": _kept(data.get("kept")),
            "limits": PlanLimits.from_json(data.get("limits")),
        }
        return DubPlan(**_EARLIER | data | parts)


def _plain(value: Any) -> Any:
    if isinstance(value, (Path, Fraction)):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value


def _portrait(data: dict[str, Any] | None) -> PortraitSource | None:
    if data is None:
        return None
    return PortraitSource(Path(data["file"]), Fraction(data["time"]), FaceChoice.from_json(data["face"]))


def _kept(data: dict[str, Any] | None) -> KeptFrames | None:
    return KeptFrames(**data | {"folder": Path(data["folder"])}) if data else None


def _pose(data: dict[str, Any]) -> PoseSource:
    return PoseSource(
        kind=data["kind"],
        file=Path(data["file"]) if data["file"] else None,
        face=FaceChoice.from_json(data["face"]),
        start=Fraction(data["start"]),
        speed=Fraction(data["speed"]),
        codes=tuple(map(tuple, data["codes"])),
        angles=tuple(map(tuple, data.get("angles", ()))),
    )
