"""Sets up the model server on this computer, in the background."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import bpy

from ...client import gpu_probe
from ...client.installer import Carried, Installer, Order, Removal, carried
from ...client.server_process import find_posedub
from ...core.errors import AddonError
from ...core.installation import Condition, Installation, read_lock
from ...core.progress import ProgressMeter
from ...core.settings import SetupSettings
from ...core.torch_builds import Choice, choose, machine_of, platform_name
from ...core.version import VERSION
from .. import preferences
from ..setup_view import shown

log = logging.getLogger(__name__)

PARTS = Path(__file__).parents[2] / "server"
PLATFORM = platform_name(platform.system(), platform.machine())
LOOK_AGAIN = 2.0
"""Seconds for which what was seen on the disk is believed."""
MEGABYTE = 10**6
NOT_ONLINE = (
    "Blender may not go online: switch on Preferences > System > Network > Allow Online Access, "
    "or name a folder of wheels in the add-on's preferences."
)


def installation(settings: SetupSettings) -> Installation:
    """Where the server is installed."""
    return Installation(Path(settings.root))


def parts() -> Carried:
    """What this copy of the add-on carries for its server. Raises AddonError."""
    return carried(PARTS)


class ServerSetup:
    """At most one installation or removal at a time.

    Args:
        executor: asks the graphics drivers.
        stop_server: stops the managed server; returns what waits until it has stopped.
        ready: called when a server has been set up.
    """

    def __init__(
        self, executor: Executor, stop_server: Callable[[], Callable[[], None]], ready: Callable[[], None]
    ) -> None:
        self._executor, self._stop_server, self._ready = executor, stop_server, ready
        self._work: Installer | Removal | None = None
        self._probe: Future[dict[str, Any]] | None = None
        self._meter = ProgressMeter()
        self._looked, self._broken_off = 0.0, False
        shown.text = shown.error = ""

    @property
    def broken_off(self) -> bool:
        """Whether the last attempt was cancelled."""
        return self._broken_off

    @property
    def busy(self) -> bool:
        """Whether anything goes on."""
        return self._work is not None or (self._probe is not None and shown.choice is None)

    @property
    def working(self) -> bool:
        """Whether the server is being set up or removed."""
        return self._work is not None

    def look(self) -> None:
        """Bring what is shown up to date; cheap, for panels."""
        if time.monotonic() - self._looked < LOOK_AGAIN:
            return
        settings = preferences.setup_settings()
        place = installation(settings)
        shown.condition, shown.installed, shown.addon = place.condition(VERSION), place.installed(), VERSION
        shown.offline = not (bpy.app.online_access or settings.wheels)
        shown.found = bool(find_posedub(preferences.settings().executable))
        if shown.condition is not Condition.READY:
            self._ask_drivers()
            self._measure(settings)
        self._looked = time.monotonic()

    def outdated(self) -> None:
        """Look anew next time."""
        self._looked = 0.0

    def _ask_drivers(self) -> None:
        if self._probe is None:
            self._probe = self._executor.submit(gpu_probe.probe)

    def _measure(self, settings: SetupSettings) -> None:
        shown.size = None
        build = settings.build or (shown.choice.build if shown.choice else "")
        if build and PARTS.is_dir():
            try:
                lock = read_lock(PARTS / "locks" / f"{PLATFORM}-{build}.txt")
                shown.size = lock.download * MEGABYTE, lock.disk * MEGABYTE
            except AddonError as error:
                log.warning("%s", error)

    def choice(self) -> Choice:
        """The build for this machine; waits for its drivers."""
        self._ask_drivers()
        assert self._probe is not None
        if shown.choice is None:
            shown.choice = choose(machine_of(PLATFORM, self._probe.result()))
        return shown.choice

    def problem(self) -> str:
        """Why nothing can be installed now, a sentence; "" when it can."""
        if self.working:
            return "The server is being set up or removed."
        if not PARTS.is_dir():
            return "This copy of the add-on carries no server: install the zip that build_addon.py writes."
        online = bpy.app.online_access or preferences.setup_settings().wheels
        return "" if online else NOT_ONLINE

    def begin(self, anew: bool) -> None:
        """Install the add-on's server, beside one that is there; raises AddonError."""
        settings = preferences.setup_settings()
        order = Order(
            VERSION,
            PLATFORM,
            settings.build or self.choice().build,
            Path(settings.wheels) if settings.wheels else None,
            settings.proxy,
            Path(bpy.utils.resource_path("LOCAL")) / "python",
            anew,
        )
        self._start(Installer(installation(settings), parts(), order, self._stop_server()))

    def remove(self) -> None:
        """Delete the server; its jobs and their frames stay."""
        self._start(Removal(installation(preferences.setup_settings()), self._stop_server()))

    def _start(self, work: Installer | Removal) -> None:
        shown.error, self._work, self._meter = "", work, ProgressMeter()
        work.start()
        self._tell()

    def cancel(self) -> None:
        """Break off what goes on."""
        if self._work:
            self._work.cancel()

    def step(self) -> bool:
        """Take over how far it is; whether anything changed."""
        probed = self._probe is not None and self._probe.done() and shown.choice is None
        if probed:
            self.choice()
            self.outdated()
        before = shown.text
        if self._work:
            self._tell()
        return probed or shown.text != before

    def _tell(self) -> None:
        work = self._work
        assert work
        if not work.finished:
            shown.share = work.progress.share
            shown.text = work.progress.text(self._meter, time.monotonic())
            return
        self._work, shown.text, shown.share = None, "", 0.0
        shown.error, self._broken_off = str(work.error or ""), work.broken_off
        self.outdated()
        self.look()
        if isinstance(work, Installer) and not work.error and shown.condition is Condition.READY:
            self._ready()

    def error(self) -> str:
        """Why the last attempt failed, a sentence; "" when it did not."""
        return shown.error

    def log(self) -> str:
        """What the last installation wrote; "" when there was none."""
        return installation(preferences.setup_settings()).log()

    def close(self) -> None:
        """The end of the add-on."""
        self.cancel()
