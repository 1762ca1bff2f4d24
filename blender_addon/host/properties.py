# mypy: disable-error-code="valid-type"
"""What a scene remembers for its next dub, and a strip of its pose; kept in the .blend file.

No postponed annotations here: Blender reads them as values.
"""

from typing import Any

import bpy

from ..core import schema
from ..core.engines import POSE_SIZE
from ..core.schema import AMOUNT, Parameter
from .bl.sequencer import StripRef
from .sources import footage, pose_keys

FACTOR = {"min": 0.0, "max": 1.0, "subtype": "FACTOR"}
ROLES = ("portrait", "audio", "pose", "footage")


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


def _property(parameter: Parameter) -> Any:
    """A parameter as Blender keeps it."""
    about: dict[str, Any] = {"name": parameter.title, "description": parameter.text}
    about["default"] = parameter.stored(parameter.default)
    if parameter.choices:
        items = [(str(choice.value), choice.title, choice.text) for choice in parameter.choices]
        return bpy.props.EnumProperty(items=items, **about)
    limits = {"min": parameter.low, "max": parameter.high, "soft_max": parameter.soft_high}
    about |= {name: limit for name, limit in limits.items() if limit is not None}
    if isinstance(parameter.default, bool):
        return bpy.props.BoolProperty(**about)
    if isinstance(parameter.default, int):
        return bpy.props.IntProperty(**about)
    return bpy.props.FloatProperty(**about | ({"subtype": "FACTOR"} if parameter.share else {}))


class PoseDubSettings(bpy.types.PropertyGroup):
    """Sources and parameters of the scene's next dub."""

    # Not written one by one: Blender makes properties of all that is annotated.
    __annotations__ = {
        **{role: bpy.props.PointerProperty(type=PoseDubSource) for role in ROLES},
        **{name: _property(parameter) for name, parameter in schema.PARAMETERS.items()},
        "weights": bpy.props.StringProperty(
            name="Engine", description="Id of the server's weights that draw; its default ones when empty"
        ),
    }

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
    footage.BLINK: bpy.props.FloatProperty(
        name="Blink", description="How far the eyes are closed at least: 0 open, 1 closed", **FACTOR
    ),
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
