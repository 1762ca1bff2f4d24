"""The one place where background work meets Blender's main thread.

`pump` does everything; a timer calls it while there is work. Timers never fire
in the bpy module or with `blender -b`: scripts and tests call `pump` themselves.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import bpy

from ...core.errors import AddonError
from ...core.jobs import UNFINISHED
from .. import setup_view
from ..bl import sequencer
from . import runtime

log = logging.getLogger(__name__)

PERIOD = 0.1
BUDGET = 0.02
"""Seconds between two ticks, and seconds that one may take."""


def pump(budget: float = BUDGET) -> bool:
    """Do the main thread's share of the work for at most about `budget` seconds; whether more will come."""
    if runtime.current().step(time.monotonic() + budget):
        redraw()
    return runtime.current().busy


def redraw() -> None:
    """Redraw what tells of jobs: sidebars and status bar. Blender redraws the timelines of strips that change."""
    sequencer.redraw_sidebars()
    sequencer.redraw_status_bars()


def run_until(done: Callable[[], bool]) -> None:
    """Pump until `done`; for operators that block. Raises AddonError when that would never be."""
    pause = threading.Event()
    while not done():
        pump(PERIOD)
        if fault := runtime.current().fault:
            raise AddonError(fault)
        pause.wait(BUDGET)


def wait_for_job(uid: str) -> None:
    """Pump until a job has ended and is shown; raises AddonError with the sentence of a job that failed."""
    state = runtime.current()
    run_until(lambda: not state.active(uid))
    record = state.book.get(uid)
    if record and (record.error or record.state in UNFINISHED):
        raise AddonError(record.error or f"{record.plan.name} was interrupted.")


def wait_until_left(uid: str) -> None:
    """Pump until a job that was sent is its server's; raises AddonError where that did not take it."""
    state = runtime.current()
    run_until(lambda: not state.active(uid))
    record = state.book.get(uid)
    if record and record.error:
        raise AddonError(record.error)


def wake() -> None:
    """Have the timer run until the work is done."""
    if not bpy.app.background and not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, persistent=True)


def _tick() -> float | None:
    try:
        more = pump()
    except Exception:  # noqa: BLE001 - boundary: an exception would end the timer and with it all jobs
        log.exception("pump")
        more = True
    return PERIOD if more else None


def look_at_setup() -> None:
    """Bring up to date what is shown of the server on this computer."""
    setup = runtime.current().setup
    setup.look()
    if setup.busy:
        wake()


def register() -> None:
    """Nothing runs before the first job, or before something is drawn."""
    setup_view.look[:] = [look_at_setup]


def unregister() -> None:
    """Stop the timer, and end the runtime."""
    setup_view.look.clear()
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    runtime.close()
