"""Looking at a dub before it is made, as the work of one background thread."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from ..core import sequences
from ..core.errors import AddonError, unexpected
from ..core.events import DubEstimated, Event, FramePreviewed, GlanceFailed
from ..core.files import Digests
from ..core.plan import DubPlan
from .cancel import Cancelled, CancelToken
from .connection import Connection, Endpoint

log = logging.getLogger(__name__)


class GlanceJob:
    """What a plan would take, or how one of its frames looks.

    Args:
        index: of the frame to look at; None asks what the plan would take.
        digests: of the files read before.
        emit: receives one event, in the job's thread; none once it is cancelled.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        plan: DubPlan,
        index: int | None,
        digests: Digests,
        emit: Callable[[Event], object],
    ) -> None:
        self._endpoint = endpoint
        self._plan = plan
        self._index = index
        self._digests = digests
        self._emit = emit
        self._cancel = CancelToken()

    def cancel(self) -> None:
        """Give up, without an event."""
        self._cancel.set()

    detach = cancel

    def run(self) -> None:
        """The thread's body: ends with DubEstimated, FramePreviewed or GlanceFailed, unless cancelled."""
        try:
            answer: Event = self._ask()
        except Cancelled:
            return
        except AddonError as error:
            answer = GlanceFailed(self._plan.uid, str(error))
        except Exception as error:  # noqa: BLE001 - boundary of the thread
            log.exception("glance %s", self._plan.uid)
            answer = GlanceFailed(self._plan.uid, str(unexpected("The server could not be asked", error)))
        if not self._cancel.is_set:
            self._emit(answer)

    def _ask(self) -> DubEstimated | FramePreviewed:
        check, sources = self._cancel.check, self._plan.sources()
        assets = {role: self._digests.sha256(sequences.ensure(file, check), check) for role, file in sources}
        with Connection(self._endpoint, self._cancel) as connection:
            offered = connection.info().offered(self._plan.weights_id)
            plan = replace(self._plan, pose=self._plan.pose.turned(offered))
            if self._index is None:
                return connection.estimate(plan, assets)
            for role, file in plan.sources():
                connection.upload(file, assets[role])
            return FramePreviewed(plan.uid, *connection.preview(plan, assets, self._index))
