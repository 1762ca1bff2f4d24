"""A question to the server beside a dub, as the work of one background thread."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from ..core import sequences
from ..core.errors import AddonError, unexpected
from ..core.events import Event, JobProgress
from ..core.files import sha256_of
from .cancel import Cancelled, CancelToken
from .connection import Connection, Endpoint

log = logging.getLogger(__name__)


class Question:
    """Uploads a file and asks about it.

    Args:
        uid: names the question within the add-on; its progress carries it.
        emit: receives events, in the question's thread.
        answer: asks about the uploaded file, by its SHA-256.
        failed: makes the event of a question that failed, from a uid and a sentence.
        phase: of the progress while the server works.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        uid: str,
        file: Path,
        emit: Callable[[Event], object],
        answer: Callable[[Connection, str], Event],
        failed: Callable[[str, str], Event],
        phase: str,
    ) -> None:
        self._endpoint, self._uid, self._file = endpoint, uid, file
        self._emit, self._answer, self._failed = emit, answer, failed
        self._phase = phase
        self._cancel = CancelToken()

    def cancel(self) -> None:
        """Give up, without a further event."""
        self._cancel.set()

    detach = cancel

    def run(self) -> None:
        """The thread's body: ends with the answer's or the failure's event, unless cancelled."""
        try:
            self._emit(self._ask())
        except Cancelled:
            return
        except AddonError as error:
            self._emit(self._failed(self._uid, str(error)))
        except Exception as error:  # noqa: BLE001 - boundary of the thread
            log.exception("question %s", self._uid)
            self._emit(self._failed(self._uid, str(unexpected(f"The {self._phase} could not be read", error))))

    def _ask(self) -> Event:
        self._progress("connecting", 0, 0)
        asset, _size = sha256_of(sequences.ensure(self._file, self._cancel.check), self._cancel.check)
        with Connection(self._endpoint, self._cancel) as connection:
            connection.info()
            connection.upload(self._file, asset, lambda done, total: self._progress("uploading", done, total))
            self._progress(self._phase, 0, 0)
            return self._answer(connection, asset)

    def _progress(self, phase: str, done: int, total: int) -> None:
        self._emit(JobProgress(self._uid, phase, done, total))
