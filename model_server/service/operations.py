"""What watches over a server asks by HTTP: metrics, whether it lives, whether it takes dubs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from model_server.errors import ErrorKind, PoseDubError
from model_server.jobs.execution.making import Making
from model_server.jobs.execution.tally import Tally
from model_server.jobs.store import Store
from model_server.service.address import ServerAddress
from model_server.service.listening import why_not
from model_server.surroundings import explained

LACKING = "Metrics need prometheus-client; install it: pip install 'posedub[studio]'."
PAGES = "There is /metrics, /healthz and /readyz."
STOPPING = "The server is stopping."


class Operations:
    """An HTTP server with /metrics, /healthz (the process answers) and /readyz (it takes dubs).

    Args:
        place: where it listens.
        stopping: set when the server wants to leave.
        making: who makes frames, None for this process.

    Raises:
        PoseDubError: prometheus-client is not installed, or the place is taken.
    """

    def __init__(
        self,
        place: ServerAddress,
        store: Store,
        tally: Tally,
        device: str,
        stopping: threading.Event,
        making: Making | None = None,
    ) -> None:
        self._store, self._stopping, self._making = store, stopping, making
        self._pages: dict[str, Callable[..., Any]] = {
            "/metrics": _metrics(store, tally, device, making),
            "/healthz": lambda environ, start: _text(start, ""),
            "/readyz": lambda environ, start: _text(start, self.problem()),
        }
        try:
            self._server = make_server(place.host, place.port, self._answer, _Server, _SilentHandler)
        except OSError as error:
            raise PoseDubError(why_not(place).replace("--port", "--metrics"), ErrorKind.UNAVAILABLE) from error
        self.host, self.port = place.host, int(self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, name="operations", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def problem(self) -> str:
        """Why no dub should be sent here now, "" if it may."""
        if self._stopping.is_set():
            return STOPPING
        try:
            self._store.counts()
            self._store.blobs.require_space(0)
        except Exception as error:  # noqa: BLE001 - RPC boundary: whatever it is, it is no reason to die
            return str(explained(error) or f"The store does not answer ({error}).")
        return self._making.problem() if self._making else ""

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        page = self._pages.get(environ.get("PATH_INFO", ""))
        return (
            page(environ, start) if page else _text(start, "There is /metrics, /healthz and /readyz.", "404 Not Found")
        )


def _metrics(store: Store, tally: Tally, device: str, making: Making | None) -> Callable[..., Any]:
    try:
        from prometheus_client import make_wsgi_app

        from model_server.service.metrics import registry
    except ImportError as error:
        raise PoseDubError(LACKING, ErrorKind.UNSUPPORTED) from error
    return make_wsgi_app(registry(store, tally, device, making))


def _text(start: Callable[..., Any], problem: str, status: str = "503 Service Unavailable") -> list[bytes]:
    start(status if problem else "200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{problem or 'ok'}\n".encode()]


class _Server(ThreadingMixIn, WSGIServer):
    """A slow reader keeps nobody waiting; two servers never share a port, and a restarted one finds its own free."""

    daemon_threads = True
    allow_reuse_address = os.name != "nt"  # there it would let two servers share it


class _SilentHandler(WSGIRequestHandler):
    """Probes come every few seconds; a log of them would hide the rest."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""
