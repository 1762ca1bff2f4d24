"""What a session runs in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable

from ...core.errors import AddonError
from ...core.events import Event, JobProgress
from ..boundary import boundary
from ..cancel import CancelToken
from ..connection import Endpoint


class Task:
    """One thing asked of the server of an endpoint.

    Args:
        uid: names it within the add-on; its events carry it.
        emit: receives events, in the task's thread.

    Attributes:
        over: it has said its last word and only hangs up.
    """

    FAULT = "The server could not be asked"
    """What did not work when nobody foresaw the error."""

    def __init__(self, endpoint: Endpoint, uid: str, emit: Callable[[Event], object]) -> None:
        self._endpoint, self._uid, self._emit = endpoint, uid, emit
        self._cancel = CancelToken()
        self.over = False

    def cancel(self) -> None:
        """Give up."""
        self._cancel.set()

    def detach(self) -> None:
        """Stop here only, without a further event."""
        self._cancel.set()

    def run(self) -> None:
        """The thread's body."""
        with boundary(f"{type(self).__name__} {self._uid}", self.FAULT, self._failed, self._cancelled):
            self._work()

    def _work(self) -> None:
        raise NotImplementedError

    def _failed(self, error: AddonError) -> None:
        raise NotImplementedError

    def _cancelled(self) -> None:
        """The work was given up."""

    def _progress(self, phase: str, done: int = 0, total: int = 0) -> None:
        self._emit(JobProgress(self._uid, phase, done, total))


class Query(Task):
    """A task that ends with one event, an answer or a failure; with none once it is given up.

    Args:
        failed: makes the event of a failure, from a uid and a sentence.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        uid: str,
        emit: Callable[[Event], object],
        failed: Callable[[str, str], Event],
    ) -> None:
        super().__init__(endpoint, uid, emit)
        self._failure = failed

    def _ask(self) -> Event:
        raise NotImplementedError

    def _work(self) -> None:
        self._tell(self._ask())

    def _failed(self, error: AddonError) -> None:
        self._tell(self._failure(self._uid, str(error)))

    def _tell(self, event: Event) -> None:
        if not self._cancel.is_set:
            self._emit(event)
