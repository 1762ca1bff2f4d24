"""Where a background thread ends: whatever goes wrong in it becomes one sentence."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..core.errors import AddonError, unexpected
from .cancel import Cancelled

log = logging.getLogger(__name__)


@contextmanager
def boundary(
    work: str, fault: str, failed: Callable[[AddonError], object], cancelled: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """The body of a thread: no error leaves the block.

    Args:
        work: names it in the log.
        fault: what did not work when nobody foresaw the error, without a full stop.
        failed: receives the error that ended it.
        cancelled: called when it was given up.
    """
    try:
        yield
    except Cancelled:
        cancelled()
    except AddonError as error:
        failed(error)
    except Exception as error:  # noqa: BLE001 - boundary of the thread
        log.exception(work)
        failed(unexpected(fault, error))
