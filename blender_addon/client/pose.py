"""Reading the pose of a movie or picture, as the work of one background thread."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import chain

from ..core.errors import AddonError
from ..core.events import Event, JobProgress, PoseFailed, PoseRead
from ..core.files import sha256_of
from ..core.plan import PoseRequest
from .cancel import Cancelled, CancelToken
from .connection import Connection, Endpoint

log = logging.getLogger(__name__)


class PoseJob:
    """The pose codes of one file, read by the server.

    Args:
        emit: receives events, in the job's thread.
    """

    def __init__(self, endpoint: Endpoint, request: PoseRequest, emit: Callable[[Event], object]) -> None:
        self._endpoint = endpoint
        self._request = request
        self._emit = emit
        self._cancel = CancelToken()

    def cancel(self) -> None:
        """Give up, without a further event."""
        self._cancel.set()

    detach = cancel

    def run(self) -> None:
        """The thread's body: ends with PoseRead or PoseFailed, unless cancelled."""
        try:
            self._emit(self._read())
        except Cancelled:
            return
        except AddonError as error:
            self._emit(PoseFailed(self._request.uid, str(error)))
        except Exception as error:  # noqa: BLE001 - boundary of the thread
            log.exception("pose %s", self._request.uid)
            self._emit(PoseFailed(self._request.uid, f"The pose could not be read: {error!r}. See Blender's console."))

    def _read(self) -> PoseRead:
        request = self._request
        self._progress("connecting", 0, 0)
        asset, _size = sha256_of(request.file, self._cancel.check)
        with Connection(self._endpoint, self._cancel) as connection:
            connection.info()
            connection.upload(request.file, asset, lambda done, total: self._progress("uploading", done, total))
            self._progress("pose", 0, 0)
            blocks = list(connection.pose(asset, request.face, request.times, request.weights_id))
        rows = tuple(chain.from_iterable(block.rows for block in blocks))
        if len(rows) != len(request.times):
            raise AddonError(f"The server sent {len(rows)} of {len(request.times)} pose codes.", "Try again.")
        return PoseRead(request.uid, rows, tuple(chain.from_iterable(block.held for block in blocks)))

    def _progress(self, phase: str, done: int, total: int) -> None:
        self._emit(JobProgress(self._request.uid, phase, done, total))
