# mypy: disable-error-code="valid-type"
"""What a scene remembers for its next dub, and a strip of its pose; kept in the .blend file.

No postponed annotations here: Blender reads them as values.
"""

from typing import Any

import bpy

from ..core.plan import POSE_SIZE
from ..core.settings import DubSettings
from .bl.sequencer import StripRef
from .sources import footage, pose_keys

DEFAULTS = DubSettings()

CROPS = (
    ("auto", "Find Face", "Find the face, align it and crop it"),
    ("aligned", "Already Cropped", "Take the picture as it is: a VoxCeleb2-like 224 x 224 face crop"),
)
POSES = (
    ("strip", "From Strip", "The head moves as in a movie strip, or stays as in an image strip"),
    ("fixed", "Portrait's Own", "The head keeps the pose of the portrait"),
    ("frontal", "Frontal", "The head looks straight ahead"),
    ("keyframes", "Keyframes", "The head moves as the pose keyframes of the sound's last dub strip say"),
)
OUTPUTS = (
    ("crop", "Crop", "The face as a square picture"),
    ("overlay", "Overlay", "A strip to lie on the footage: transparent but for the face"),
    ("full_frame", "Full Frame", "The footage with the face in it; all other pixels are the footage's"),
)
PRECISIONS = (
    ("auto", "Automatic", "What the server's device does best"),
    ("fp32", "32 Bit", "Full precision"),
    ("bf16", "16 Bit", "Faster on most accelerators, slightly rougher"),
)

SIZES = (
    ("224", "224 x 224", "As the networks see the face; all weights draw it"),
    *((str(size), f"{size} x {size}", "From the portrait's own pixels; with lite weights") for size in (320, 448, 512)),
)


AMOUNT = "How much of the face stays as in the footage: 0 dubs the whole face, 1 the mouth only"
FACTOR = {"min": 0.0, "max": 1.0, "subtype": "FACTOR"}


class PoseDubSource(bpy.types.PropertyGroup):
    """A strip that the editor assigned as a source."""

    uid: bpy.props.StringProperty()
    name: bpy.props.StringProperty()

    @property
    def ref(self) -> StripRef | None:
        """How to find the strip; None when none is assigned."""
        return StripRef(self.uid, self.name) if self.name else None

    def assign(self, ref: StripRef) -> None:
        """Remember a strip; one without uid and name clears the source."""
        self.uid, self.name = ref.uid, ref.name


class PoseDubSettings(bpy.types.PropertyGroup):
    """Sources and parameters of the scene's next dub."""

    portrait: bpy.props.PointerProperty(type=PoseDubSource)
    audio: bpy.props.PointerProperty(type=PoseDubSource)
    pose: bpy.props.PointerProperty(type=PoseDubSource)
    footage: bpy.props.PointerProperty(type=PoseDubSource)
    audio_track: bpy.props.IntProperty(
        name="Sound Track",
        default=DEFAULTS.audio_track,
        min=0,
        soft_max=8,
        description="Of the sound strip's file, the track that drives the mouth; 0 is what Blender plays",
    )
    output: bpy.props.EnumProperty(
        name="Output", items=OUTPUTS, default=DEFAULTS.output, description="What the frames of the dub are"
    )
    mouth_only: bpy.props.FloatProperty(
        name="Mouth Only", default=DEFAULTS.mouth_only, description=f"{AMOUNT}; keys of a dub strip go first", **FACTOR
    )
    feather: bpy.props.FloatProperty(
        name="Feather",
        default=DEFAULTS.feather,
        description="Width of the face's soft edge, in distances between the eyes",
        **FACTOR,
    )
    keep_where_absent: bpy.props.BoolProperty(
        name="Keep Where Absent",
        default=True,
        description="Leave a face that is turned away or cut off as it is in the footage",
    )
    pose_kind: bpy.props.EnumProperty(name="Pose", items=POSES, description="Where the head movement comes from")
    portrait_crop: bpy.props.EnumProperty(
        name="Portrait Crop", items=CROPS, default=DEFAULTS.crop, description="How the portrait becomes a face crop"
    )
    pose_crop: bpy.props.EnumProperty(
        name="Pose Crop", items=CROPS, default=DEFAULTS.crop, description="How the pose source becomes face crops"
    )
    mouth_strength: bpy.props.FloatProperty(
        name="Mouth Strength",
        default=DEFAULTS.mouth_strength,
        min=0.0,
        max=3.0,
        description="How strongly the speech moves the mouth; 0 keeps it closed",
    )
    seed: bpy.props.IntProperty(
        name="Seed",
        default=DEFAULTS.seed,
        min=0,
        description="Of the generator's noise; the same seed gives the same dub",
    )
    size: bpy.props.EnumProperty(
        name="Picture Size", items=SIZES, default=str(DEFAULTS.size), description="Width and height of the frames"
    )
    precision: bpy.props.EnumProperty(
        name="Precision", items=PRECISIONS, default=DEFAULTS.precision, description="Arithmetic of the networks"
    )

    def source(self, role: str) -> PoseDubSource:
        """The assigned source of a role: "portrait", "audio", "pose" or "footage"."""
        return getattr(self, role)


# Blender's own angles are kept in radians; keys and files have degrees, so the unit stands in the name.
def _degrees(name: str, description: str) -> Any:
    limits = {"soft_min": -45.0, "soft_max": 45.0, "step": 100, "precision": 1}
    return bpy.props.FloatProperty(name=f"{name} (°)", description=f"{description}, degrees", **limits)


CODE = {"size": POSE_SIZE, "soft_min": -3.0, "soft_max": 3.0, "step": 1, "precision": 3}
# On the strip itself: Blender animates no property groups of strips.
STRIP_PROPERTIES = {
    pose_keys.FIRST: bpy.props.FloatVectorProperty(name="Pose Code", description="The head's pose", **CODE),
    pose_keys.SECOND: bpy.props.FloatVectorProperty(name="Second Pose Code", description="To blend with", **CODE),
    pose_keys.BLEND: bpy.props.FloatProperty(
        name="Blend", min=0.0, max=1.0, subtype="FACTOR", description="From the first pose to the second"
    ),
    "posedub_yaw": _degrees("Yaw", "Turn the head to the viewer's right"),
    "posedub_pitch": _degrees("Pitch", "Raise the head"),
    "posedub_roll": _degrees("Roll", "Tilt the head clockwise, as seen"),
    footage.MOUTH_ONLY: bpy.props.FloatProperty(name="Mouth Only", description=f"{AMOUNT}, frame by frame", **FACTOR),
}
CLASSES = (PoseDubSource, PoseDubSettings)


def register() -> None:
    """Add the settings to every scene, and the pose to every strip."""
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.posedub = bpy.props.PointerProperty(type=PoseDubSettings)
    for name, value in STRIP_PROPERTIES.items():
        setattr(bpy.types.Strip, name, value)


def unregister() -> None:
    """Remove them; their values stay in the file."""
    for name in STRIP_PROPERTIES:
        delattr(bpy.types.Strip, name)
    del bpy.types.Scene.posedub
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
