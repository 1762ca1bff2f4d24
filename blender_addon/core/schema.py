"""The parameters of a dub: the one table that properties, plans, presets, panels and messages are made from.

A new one is a field here; where the server heeds it, its request, its message and the engine's use of it follow.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias

from .faces import CropMode

Value: TypeAlias = bool | int | float | str
Precision = Literal["auto", "fp32", "bf16"]
OutputMode = Literal["crop", "overlay", "full_frame"]
FaceSource = Literal["auto", "in_place", "portrait"]
PoseReading = Literal["auto", "encoder", "angles", "movement"]
Blinking = Literal["auto", "on", "off"]
PoseChoice = Literal["strip", "fixed", "frontal", "keyframes", "speech"]

SIZE, MAX_SIZE = 224, 512
FEATHER = 0.2
DIGITS = 6
"""Decimals that are meant of a number that Blender keeps in 32 bits."""


@dataclass(frozen=True)
class Choice:
    """One of a parameter's values: its title and its text."""

    value: Value
    title: str
    text: str


@dataclass(frozen=True)
class Parameter:
    """What the editor may choose for a dub.

    Attributes:
        name: of the property, of the plan's field, and of the request's where the server heeds it.
        title, text: as the editor reads them.
        low, high: range; None for no bound.
        soft_high: where a slider ends that has no bound; None for none.
        share: whether it is a part of a whole, in [0, 1].
        choices: all allowed values; () for any in the range.
        kept: whether presets keep it.
        optional: whether engines may do without it.
        fixed: whether frames made anew keep the take's value: in it all frames of a take are alike.
    """

    name: str
    default: Value
    title: str
    text: str
    low: float | None = None
    high: float | None = None
    soft_high: float | None = None
    share: bool = False
    choices: tuple[Choice, ...] = ()
    kept: bool = True
    optional: bool = False
    fixed: bool = False

    def read(self, stored: Any) -> Value:
        """The value of what Blender stores: numbers as they were meant, choices of numbers out of their names."""
        value = type(self.default)(stored)
        return round(value, DIGITS) if isinstance(value, float) else value

    def stored(self, value: Value) -> Value:
        """What Blender stores of a value; inverse of `read`."""
        return str(value) if self.choices else value

    def store(self, owner: object, value: Value) -> None:
        """Set it on what Blender keeps; a choice that is not listed stays as it is there."""
        if not self.choices or any(choice.value == value for choice in self.choices):
            setattr(owner, self.name, self.stored(value))

    def problem(self, value: float) -> str:
        """Why a number cannot be used, a sentence that says what to do; "" when it can."""
        if self.low is None or self.high is None or self.low <= value <= self.high:
            return ""
        name, span = self.title.lower(), f"{self.low:g} to {self.high:g}"
        return f"The {name} {value:g} is outside {span}; set it back to {self.default:g}."


def _parameter(default: Value, title: str, text: str, **more: Any) -> Any:
    return field(default=default, metadata={"title": title, "text": text} | more)


def _choices(*rows: tuple[Value, str, str]) -> tuple[Choice, ...]:
    return tuple(Choice(*row) for row in rows)


CROPS = _choices(
    ("auto", "Find Face", "Find the face, align it and crop it"),
    ("aligned", "Already Cropped", "Take the picture as it is: a VoxCeleb2-like 224 x 224 face crop"),
)
POSES = _choices(
    ("strip", "From Strip", "The head moves as in a movie strip, or stays as in an image strip"),
    ("fixed", "Portrait's Own", "The head keeps the pose of the portrait"),
    ("frontal", "Frontal", "The head looks straight ahead"),
    ("keyframes", "Keyframes", "The head moves as the pose keyframes of the sound's last dub strip say"),
    ("speech", "From Speech", "The head moves as the engine makes of the speech"),
)
OUTPUTS = _choices(
    ("crop", "Crop", "The face as a square picture"),
    ("overlay", "Overlay", "A strip to lie on the footage: transparent but for the face"),
    ("full_frame", "Full Frame", "The footage with the face in it; all other pixels are the footage's"),
)
FACE_SOURCES = _choices(
    ("auto", "Automatic", "In place where the weights can and the portrait is the footage's own face"),
    ("in_place", "In Place", "Only the lower face is drawn into each frame of the footage"),
    ("portrait", "Portrait", "The portrait is bent to each frame of the footage"),
)
PRECISIONS = _choices(
    ("auto", "Automatic", "What the server's device does best"),
    ("fp32", "32 Bit", "Full precision"),
    ("bf16", "16 Bit", "Faster on most accelerators, slightly rougher"),
)
READINGS = _choices(
    ("auto", "Automatic", "What was measured to be better with the weights"),
    ("encoder", "Encoder", "The networks read the head in each frame"),
    ("angles", "Face Angles", "The angles of the face, exact on real footage"),
    ("movement", "Face Movement", "The movement of the face's angles, from the networks' first reading on"),
)
BLINKS = _choices(
    ("auto", "Automatic", "Where neither footage, a pose strip nor keys move the eyes"),
    ("on", "On", "The eyes close every 2 to 4 seconds"),
    ("off", "Off", "The eyes close where keys or a pose strip say so"),
)
SIZES = _choices(
    (SIZE, "224 x 224", "As the networks see the face; all weights draw it"),
    *((size, f"{size} x {size}", "From the portrait's own pixels; with lite weights") for size in (320, 448, MAX_SIZE)),
)
STEPS = _choices(
    (1, "1 Step", "The fast decoder, which was made of the others"),
    (4, "4 Steps", "Faster"),
    (10, "10 Steps", "Between speed and detail"),
    (20, "20 Steps", "As the fast decoder was taught"),
    (100, "100 Steps", "As published; slow"),
)
AMOUNT = "How much of the face stays as in the footage: 0 dubs the whole face, 1 the mouth only"


@dataclass(frozen=True, kw_only=True)
class DubParameters:
    """What the networks are given besides sources and pose, for all frames alike.

    Attributes:
        mouth_strength: gain of the speech content in [0, 3]; published 1.2.
        size: width and height of the network's pictures in pixels, even, in [224, 512].
        seed: of the generator's noise and an actor's movement, in [0, 2^64).
        steps: in which a frame is rendered.
        pose_gain: of head movement made of the speech, in [0, 1.5].
        shared_noise: whether all frames start from the same noise.
        pose_reading: how the pose codes of a pose strip are made.
        blinking: whether lids close by themselves, by the seed.
    """

    mouth_strength: float = _parameter(
        1.2,
        "Mouth Strength",
        "How strongly the speech moves the mouth; 0 keeps it closed",
        low=0.0,
        high=3.0,
        optional=True,
    )
    size: int = _parameter(SIZE, "Picture Size", "Width and height of the frames", choices=SIZES, fixed=True)
    seed: int = _parameter(
        0, "Seed", "Of noise, and of an actor's movement; the same seed gives the same dub", low=0, optional=True
    )
    steps: int = _parameter(1, "Steps", "In which a frame is rendered", choices=STEPS, optional=True)
    pose_gain: float = _parameter(
        1.0,
        "Head Movement",
        "How much of the movement that the engine makes of the speech; 0 holds the head still",
        low=0.0,
        high=1.5,
        optional=True,
    )
    shared_noise: bool = _parameter(
        True, "Shared Noise", "Start all frames from the same noise; without it they flicker", optional=True
    )
    pose_reading: PoseReading = _parameter(
        "auto", "Pose Reading", "How a strip's head movement is read", choices=READINGS, optional=True, fixed=True
    )
    blinking: Blinking = _parameter(
        "auto", "Blinking", "Whether the eyes close by themselves", choices=BLINKS, optional=True
    )
    precision: Precision = _parameter("auto", "Precision", "Arithmetic of the networks", choices=PRECISIONS)


@dataclass(frozen=True, kw_only=True)
class DubSettings(DubParameters):
    """All that the editor chooses for the next dub of a scene, but for the strips."""

    audio_track: int = _parameter(
        0,
        "Sound Track",
        "Of the sound strip's file, the track that drives the mouth; 0 is what Blender plays",
        low=0,
        soft_high=8,
        kept=False,
    )
    output: OutputMode = _parameter("crop", "Output", "What the frames of the dub are", choices=OUTPUTS)
    mouth_only: float = _parameter(
        0.0, "Mouth Only", f"{AMOUNT}; keys of a dub strip go first", low=0.0, high=1.0, share=True
    )
    blink: float = _parameter(
        0.0,
        "Blink",
        "How far the eyes are closed at least, 0 open to 1; keys of a dub strip go first",
        low=0.0,
        high=1.0,
        share=True,
        optional=True,
    )
    feather: float = _parameter(
        FEATHER,
        "Feather",
        "Width of the face's soft edge, in distances between the eyes",
        low=0.0,
        high=1.0,
        share=True,
    )
    keep_where_absent: bool = _parameter(
        True, "Keep Where Absent", "Leave a face that is turned away or cut off as it is in the footage"
    )
    face_source: FaceSource = _parameter(
        "auto", "Face From", "Whose pixels the face in the footage is made of", choices=FACE_SOURCES
    )
    presence_mark: bool = _parameter(
        False,
        "Invisible Mark",
        "Put a pattern that nobody sees into what networks draw: it says so even where a file's marks are lost",
    )
    pose_kind: PoseChoice = _parameter("strip", "Pose", "Where the head movement comes from", choices=POSES)
    portrait_crop: CropMode = _parameter("auto", "Portrait Crop", "How the portrait becomes a face crop", choices=CROPS)
    pose_crop: CropMode = _parameter("auto", "Pose Crop", "How the pose source becomes face crops", choices=CROPS)

    @staticmethod
    def read(stored: Any) -> DubSettings:
        """The settings that an object with an attribute for each parameter holds, such as a scene's."""
        values: dict[str, Any] = {name: one.read(getattr(stored, name)) for name, one in PARAMETERS.items()}
        return DubSettings(**values)


def _table(owner: type) -> dict[str, Parameter]:
    defaults: dict[str, Any] = {one.name: one.default for one in fields(owner)}
    return {one.name: Parameter(one.name, defaults[one.name], **one.metadata) for one in fields(owner)}


PARAMETERS: Mapping[str, Parameter] = _table(DubSettings)
"""All that the editor chooses, by name."""
NETWORK: Mapping[str, Parameter] = _table(DubParameters)
"""Those of the networks."""
OPTIONAL = tuple(name for name, one in NETWORK.items() if one.optional)
"""Those that not all engines heed."""
USUAL_OPTIONAL = ("mouth_strength", "seed", "pose_reading", "blink", "blinking")
"""Of these, what the engine of servers heeds that do not tell."""
IN_SETTINGS = (
    *("mouth_strength", "size", "steps", "pose_gain"),
    *("portrait_crop", "pose_crop", "pose_reading", "blink", "blinking", "seed", "shared_noise", "precision"),
)
"""In the order in which the panel Settings lists them."""


def chosen(owner: DubParameters) -> dict[str, Any]:
    """The values of the networks' parameters, by name."""
    return {name: getattr(owner, name) for name in NETWORK}


def chosen_anew(owner: DubParameters) -> dict[str, Any]:
    """The same without those in which all frames of a take are alike."""
    return {name: value for name, value in chosen(owner).items() if not NETWORK[name].fixed}


def words(values: DubParameters, heeded: Collection[str]) -> Iterator[str]:
    """What tells one take from another, each in few words, of the optional parameters those that count."""
    if "mouth_strength" in heeded:
        yield f"mouth {values.mouth_strength:g}"
    yield f"{values.size} px"
    if "steps" in heeded:
        yield f"{values.steps} steps" if values.steps > 1 else "1 step"
    if "pose_gain" in heeded and values.pose_gain != 1:
        yield f"head {values.pose_gain:g}"
    if values.seed:
        yield f"seed {values.seed}"


def problems(owner: object) -> Iterator[str]:
    """A sentence for each number of an object that is outside the range of the parameter of that name."""
    for name, one in PARAMETERS.items():
        value = getattr(owner, name, None)
        if isinstance(value, (int, float)) and (problem := one.problem(value)):
            yield problem
