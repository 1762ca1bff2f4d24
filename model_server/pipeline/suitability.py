"""Whether a dub is one that its engine and weights can make."""

from __future__ import annotations

from model_server.engines.base import Traits, WeightsInfo
from model_server.engines.registry import check_size, family, traits
from model_server.errors import ErrorKind, PoseDubError
from model_server.pipeline.faces.pose_reading import resolved
from model_server.pipeline.request import POSE_SOURCES, DubSpec, PoseCodes, PoseVideo, own_face


def check_suitable(spec: DubSpec, weights: WeightsInfo) -> None:
    """Raise PoseDubError, with one sentence, unless the weights' engine makes such dubs."""
    if spec.engine and spec.engine != weights.engine:
        family(spec.engine)
        raise PoseDubError(
            f"The weights {weights.name} are made for the engine {weights.engine} and not for {spec.engine}; choose "
            "others.",
            ErrorKind.UNSUPPORTED,
        )
    for wrong, sentence in _problems(spec, traits(weights), weights):
        if wrong:
            raise PoseDubError(sentence)
    check_size(spec.size, weights)
    if isinstance(spec.pose, PoseVideo):
        resolved(spec.pose_reading, weights)


def in_place(spec: DubSpec, weights: WeightsInfo) -> bool:
    """Whether a dub's frames are drawn into the footage's own."""
    asked = spec.output.face_source
    if spec.output.footage is None or asked == "portrait":
        return False
    # Whole faces that are drawn for their lower part alone are no better than asked for.
    return asked == "in_place" or (own_face(spec) and traits(weights).in_place == "lower_face")


def _problems(spec: DubSpec, wants: Traits, weights: WeightsInfo) -> list[tuple[bool, str]]:
    inside = in_place(spec, weights)
    title, count, source = wants.title, len(wants.pose_controls), POSE_SOURCES[type(spec.pose)]
    rows = spec.pose.rows if isinstance(spec.pose, PoseCodes) else ()
    takes = ", ".join(wants.pose_sources)
    return [
        (
            inside and not traits(weights).in_place,
            f"The weights {weights.name} cannot draw into footage in place; set the face source to portrait.",
        ),
        (
            wants.portrait and spec.portrait is None and not inside,
            f"{title} draws the person of a portrait; choose one.",
        ),
        (
            not (wants.portrait or wants.portrait_optional) and spec.portrait is not None,
            f"{title} draws one person only; leave the portrait out.",
        ),
        (source not in wants.pose_sources, f"{title} takes no pose source {source}; choose one of {takes}."),
        (
            any(len(row) != count for row in rows),
            f"Each pose code must be {count} finite numbers; bake the pose again.",
        ),
    ]
