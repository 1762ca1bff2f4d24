"""Engines by the name that their weights files give; each is imported when it is first asked for.

An engine is a folder beside this file with a module `family`, or a module that an installed package names in the entry
points of the group `posedub.engines`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

from model_server.engines.base import Family, Sizes, Traits, WeightsInfo
from model_server.errors import ErrorKind, PoseDubError

GROUP = "posedub.engines"
_HERE = Path(__file__).parent


@cache
def modules() -> dict[str, str]:
    """Dotted name of each engine's `Family` module, by the engine's name; imports none."""
    own = {path.parent.name: f"{__package__}.{path.parent.name}.family" for path in sorted(_HERE.glob("*/family.py"))}
    return {point.name: point.value for point in entry_points(group=GROUP)} | own


def family(name: str) -> Family:
    """The engine of that name; PoseDubError when there is none."""
    if name not in modules():
        raise PoseDubError(
            f"There is no engine {name!r} here, only {', '.join(modules())}; update PoseDub or install what has it.",
            ErrorKind.UNSUPPORTED,
        )
    return cast(Family, import_module(modules()[name]))


def traits(weights: WeightsInfo) -> Traits:
    """What weights want of a dub: what their engine wants, and some engines' weights besides."""
    made = family(weights.engine)
    own = getattr(made, "traits", None)
    return cast(Traits, own(weights)) if own else made.TRAITS


def notes(weights: WeightsInfo) -> Sequence[str]:
    """What some engines' weights say of themselves besides, a line each."""
    own = getattr(family(weights.engine), "notes", None)
    return cast(Sequence[str], own(weights)) if own else ()


def sizes(weights: WeightsInfo) -> Sizes:
    """Pictures that weights draw."""
    return family(weights.engine).sizes(weights)


def check_size(size: int, weights: WeightsInfo) -> None:
    """Raise PoseDubError unless frames of `size` x `size` pixels can be drawn with `weights`."""
    drawn = sizes(weights)
    if size in drawn:
        return
    if drawn.low == drawn.high:
        allowed, advice = f"{drawn.low}x{drawn.low} pictures only", f"{drawn.low}"
    else:
        allowed = f"pictures of {drawn.low} to {drawn.high} pixels in steps of {drawn.step}, not of {size}"
        advice = "one of these"
    raise PoseDubError(
        f"The weights {weights.name} draw {allowed}; set the picture size to {advice} or choose other weights.",
        ErrorKind.UNSUPPORTED,
    )


def untrained() -> WeightsInfo:
    """Built-in untrained weights, of the first engine that has some."""
    for name in modules():
        if made := getattr(family(name), "untrained", None):
            return cast(WeightsInfo, made())
    raise PoseDubError("No engine here has weights of its own; name a weights file.", ErrorKind.NOT_FOUND)
