"""The add-on enabled twice, from two repositories: one copy works, the others wait until it is disabled.

Blender knows classes by their names: a second copy that registered its own would take away the first one's.
"""

from __future__ import annotations

import logging
import sys
import zlib

import bpy

from .preferences import ADDON

log = logging.getLogger(__name__)
PROOF = "POSEDUB_PT_dub"
"""A class that the copy at work has registered."""
_waiting: list[type[bpy.types.AddonPreferences]] = []


def at_work() -> str:
    """The other copy that works, as its module's name; "" when this one may."""
    proof = getattr(getattr(bpy.types, PROOF, None), "__module__", "")
    return next((name for name in _others() if proof.startswith(f"{name}.")), "")


def waiting() -> list[str]:
    """The other copies that are enabled and wait."""
    return [name for name in _others() if getattr(sys.modules.get(f"{name}.host"), "waits", bool)()]


def waits() -> bool:
    """Whether this copy waits."""
    return bool(_waiting)


def sentence(other: str) -> str:
    """What an editor should know while two copies are enabled."""
    return f"PoseDub is enabled twice: the copy from {_repository(other)} works. Disable one of the two."


def wait(other: str) -> None:
    """Do nothing but say so in the preferences, until the other copy is disabled."""
    text = sentence(other)
    log.warning(text)

    def draw(self: bpy.types.AddonPreferences, _context: bpy.types.Context) -> None:
        self.layout.label(text=text, icon="ERROR")

    name = f"PoseDubWaiting{zlib.crc32(ADDON.encode()):08x}"
    _waiting.append(type(name, (bpy.types.AddonPreferences,), {"bl_idname": ADDON, "draw": draw}))
    bpy.utils.register_class(_waiting[-1])


def stop_waiting() -> None:
    """Withdraw what `wait` has made."""
    while _waiting:
        bpy.utils.unregister_class(_waiting.pop())


def hand_over() -> None:
    """Have a copy that waits take the place of this one, which was disabled."""
    for name in waiting()[:1]:
        sys.modules[f"{name}.host"].take_over()


def _others() -> list[str]:
    """All other copies that are enabled."""
    modules = [addon.module for addon in bpy.context.preferences.addons if addon.module != ADDON]
    same = (name for name in modules if name.rpartition(".")[2] == ADDON.rpartition(".")[2])
    return [name for name in same if getattr(sys.modules.get(name), "__addon_enabled__", False)]


def _repository(name: str) -> str:
    parts = name.split(".")
    return f'the repository "{parts[1]}"' if len(parts) == 3 else "the add-ons folder"
