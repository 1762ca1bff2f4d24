"""The editor's mouse and keyboard inside Blender.

Events come from Blender's own simulation (`--enable-event-simulate`), so they
take the same way as an editor's. All methods are generators: at each `yield`
Blender works off its events and draws.
"""

import time

import bpy

LIMIT = 600
"""Seconds after which something that does not happen fails the run."""


DIGITS = ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")
KEYS = {"-": "MINUS", ".": "PERIOD"} | {str(digit): name for digit, name in enumerate(DIGITS)}


class Stuck(Exception):
    """One sentence: what did not happen."""


def until(happened, sentence, seconds=LIMIT):
    """Wait until `happened()`; raises Stuck with the sentence."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise Stuck(f"{sentence} (after {seconds} s).")
        yield


class Hands:
    """Mouse and keyboard on Blender's first window; positions are its pixels, from the bottom left."""

    def __init__(self):
        self.at = (0, 0)

    @property
    def window(self):
        return bpy.context.window_manager.windows[0]

    def _event(self, kind, value, **modifiers):
        x, y = self.at
        self.window.event_simulate(type=kind, value=value, x=x, y=y, **modifiers)

    def move(self, x, y):
        """Move the mouse."""
        self.at = (int(x), int(y))
        self._event("MOUSEMOVE", "NOTHING")
        yield

    def click(self, x, y, **modifiers):
        """Press and release the left button."""
        yield from self.move(x, y)
        yield from self.key("LEFTMOUSE", **modifiers)
        yield

    def drag(self, start, end):
        """Move with the left button held."""
        yield from self.move(*start)
        self._event("LEFTMOUSE", "PRESS")
        yield
        for share in (0.3, 0.6, 1.0):
            yield from self.move(*(one + (other - one) * share for one, other in zip(start, end, strict=True)))
        self._event("LEFTMOUSE", "RELEASE")
        yield

    def key(self, kind, **modifiers):
        """Press and release a key, or turn the wheel."""
        self._event(kind, "PRESS", **modifiers)
        yield
        if not kind.startswith("WHEEL"):
            self._event(kind, "RELEASE", **modifiers)
        yield

    def write(self, text):
        """Type letters and digits."""
        for letter in text:
            kind = KEYS.get(letter, letter.upper())
            self._event(kind, "PRESS", unicode=letter)
            yield
            self._event(kind, "RELEASE")
            yield


def area(kind, view="SEQUENCER"):
    """The area of an editor; of the sequencers the one with this view."""
    for one in bpy.context.window_manager.windows[0].screen.areas:
        if one.type == kind and getattr(one.spaces.active, "view_type", view) == view:
            return one
    raise Stuck(f"No {kind} is open.")


def region(one, kind="WINDOW"):
    """A region of an area."""
    return next(found for found in one.regions if found.type == kind)


def point(one, x, y):
    """Window position of a point in an area's own coordinates, such as (frame, channel)."""
    window = region(one)
    left, bottom = window.view2d.view_to_region(x, y, clip=False)
    return window.x + left, window.y + bottom
