"""The strips that a dub was made from, noted on its own strip: with it selected alone, it can be dubbed again.

Strips are noted by uid where they have one, else by name: a dub changes nothing on its sources.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import bpy

from ..bl import sequencer
from ..bl.sequencer import StripRef

SOURCES = "posedub_sources"
FRAME = "portrait_frame"


def note(portrait_frame: int, strips: Mapping[str, Iterable[bpy.types.Strip]]) -> str:
    """Text that tells the strips of each role, and where the portrait was looked at.

    Args:
        portrait_frame: a timeline frame; it is kept in relation to the portrait's content.
    """
    refs = {role: [[*_ref(strip)] for strip in found] for role, found in strips.items()}
    starts = [sequencer.content_start(strip) for strip in strips.get("portrait", ())]
    return json.dumps(refs | {FRAME: portrait_frame - starts[0] if starts else 0})


def _ref(strip: bpy.types.Strip) -> tuple[str, str]:
    ref = sequencer.reference(strip)
    return ref.uid, ref.name


def read(dub: bpy.types.Strip, role: str) -> list[StripRef]:
    """How to find the strips of a role; none when the dub had none."""
    return [StripRef(*ref) for ref in _noted(dub).get(role, ())]


def portrait_frame(dub: bpy.types.Strip, portrait: bpy.types.Strip) -> int:
    """The timeline frame at which the dub's portrait is looked at, where that lies now."""
    return sequencer.content_start(portrait) + int(_noted(dub).get(FRAME, 0))


def _noted(dub: bpy.types.Strip) -> dict[str, Any]:
    return json.loads(dub.get(SOURCES) or "{}")
