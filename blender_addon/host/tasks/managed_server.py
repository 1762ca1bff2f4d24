"""The model server that the add-on manages on this machine, as the preferences describe it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from ...client.connection import Endpoint
from ...client.server_process import LocalServer, ServerState, find_posedub
from ...core.errors import AddonError
from ...core.installation import Condition, Installation
from ...core.settings import ServerSettings
from ...core.version import VERSION
from .. import preferences

LOG_FILE = "server.log"
HOW_TO_INSTALL = "Install the model server, and set its command posedub in the add-on's preferences."
STOP_LIMIT = 15.0
"""Seconds that a server may take to end before its files are deleted."""


class ManagedServer:
    """At most one local server; replaced when the preferences change."""

    def __init__(self) -> None:
        self._server: LocalServer | None = None
        self._settings: ServerSettings | None = None
        self._seen = ServerState.STOPPED
        self._stopping = False

    @property
    def state(self) -> ServerState:
        """Where it stands."""
        return self._server.state if self._server else ServerState.STOPPED

    @property
    def starting(self) -> bool:
        """Whether it is about to run or to fail."""
        return self.state is ServerState.STARTING

    @property
    def changing(self) -> bool:
        """Whether its state is going to change, or has changed unseen."""
        return self.starting or self.state is not self._seen

    @property
    def owned(self) -> bool:
        """Whether the add-on started it, rather than found it running."""
        return bool(self._server and self._server.owned)

    @property
    def advice(self) -> str:
        """Why it does not run, a sentence; "" when nothing is wrong."""
        return self._server.advice if self._server else ""

    def start(self, settings: ServerSettings) -> None:
        """Start it, or find it running, in the background; raises AddonError when it is not installed.

        One that was found rather than started is looked for again: nobody tells when it ends.
        """
        if self._settings == settings and (self.starting or self.owned and self.state is ServerState.RUNNING):
            return
        if self._server:
            self._server.stop()
        self._server, self._settings = self._made(settings), settings
        self._server.start()

    def take_over(self, settings: ServerSettings) -> None:
        """A job lost its server. One that another Blender managed is looked for again, and started here if it is gone.

        Raises AddonError when it is not installed. One that this add-on started, or that was stopped, stays as it is.
        """
        if self._settings == settings and self.state is ServerState.RUNNING and not self.owned:
            self.start(settings)

    def _made(self, settings: ServerSettings) -> LocalServer:
        command, data = _command(settings), Path(settings.data_dir)
        options = ["--actor", settings.actor] if settings.actor else []
        return LocalServer(command, data, data / LOG_FILE, settings.target, options)

    def stop(self) -> None:
        """Stop it if the add-on started it."""
        if self._server:
            self._server.stop()

    def stop_for_setup(self) -> Callable[[], None]:
        """The same, before its files change; returns what waits for its end."""
        server = self._server
        stopped = self.state is ServerState.STOPPED  # its process may still be ending
        if server is None or not (server.owned or stopped):
            return lambda: None
        server.stop()
        return partial(_await_end, server)

    def step(self) -> bool:
        """Whether its state changed since the last call."""
        changed, self._seen = self.state is not self._seen, self.state
        return changed

    def require(self, endpoint: Endpoint) -> None:
        """Raise AddonError when jobs for this endpoint wait for a server that failed to start."""
        mine = self._settings is not None and self._settings.target == endpoint.address
        if mine and self.state is ServerState.FAILED:
            raise AddonError(self.advice)

    def log_tail(self) -> str:
        """The last lines it wrote; "" when it never ran."""
        return self._server.log_tail() if self._server else ""


def _command(settings: ServerSettings) -> list[str]:
    """What starts the server: the preferences' command, else the one set up here, else one that is found.

    Never looked for beside the .blend file: opening someone's project must not run their programs. Raises AddonError.
    """
    place = Installation(Path(preferences.setup_settings().root))
    if not settings.executable and (condition := place.condition(VERSION)) is not Condition.ABSENT:
        if condition is Condition.READY:
            return place.command() or []
        if installed := place.installed():
            raise AddonError(
                f"The server that is set up here is of version {installed.version}, the add-on of {VERSION}."
                if condition is Condition.OUTDATED
                else "The server that was set up here is damaged.",
                "Press Update Server." if condition is Condition.OUTDATED else "Press Repair Server.",
            )
    command = find_posedub(settings.executable)
    if command is None and settings.executable:
        raise AddonError("The command posedub is not found.", HOW_TO_INSTALL)
    if command is None:
        raise AddonError("The model server is not set up on this computer.", "Press Set Up Server.")
    return command


def _await_end(server: LocalServer) -> None:
    server.wait(STOP_LIMIT)
