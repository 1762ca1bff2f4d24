"""Looking at a dub before it is made: what it would take, and how one of its frames looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ...core import sequences
from ...core.events import DubEstimated, Event, FramePreviewed, PreviewFailed
from ...core.files import Digests
from ...core.plan import DubPlan
from ..connection import Connection, Endpoint
from .base import Query


class PlanQuery(Query):
    """Asks about a plan.

    Args:
        digests: of the files read before.
    """

    def __init__(self, endpoint: Endpoint, plan: DubPlan, digests: Digests, emit: Callable[[Event], object]) -> None:
        super().__init__(endpoint, plan.uid, emit, PreviewFailed)
        self._plan, self._digests = plan, digests

    def _ask(self) -> Event:
        check, sources = self._cancel.check, self._plan.sources()
        assets = {role: self._digests.sha256(sequences.ensure(file, check), check) for role, file in sources}
        with Connection(self._endpoint, self._cancel) as connection:
            offered = connection.info().offered(self._plan.weights_id)
            return self._answer(connection, replace(self._plan, pose=self._plan.pose.turned(offered)), assets)

    def _answer(self, connection: Connection, plan: DubPlan, assets: dict[str, str]) -> Event:
        """Ask about the plan, of whose files the SHA-256 are given by role."""
        raise NotImplementedError


class EstimateQuery(PlanQuery):
    """What a plan would take; ends with DubEstimated or PreviewFailed."""

    def _answer(self, connection: Connection, plan: DubPlan, assets: dict[str, str]) -> DubEstimated:
        return connection.estimate(plan, assets)


class PreviewQuery(PlanQuery):
    """One frame of a plan; ends with FramePreviewed or PreviewFailed."""

    def __init__(
        self, endpoint: Endpoint, plan: DubPlan, index: int, digests: Digests, emit: Callable[[Event], object]
    ) -> None:
        super().__init__(endpoint, plan, digests, emit)
        self._index = index

    def _answer(self, connection: Connection, plan: DubPlan, assets: dict[str, str]) -> FramePreviewed:
        for role, file in plan.sources():
            connection.upload(file, assets[role])
        return FramePreviewed(plan.uid, *connection.preview(plan, assets, self._index))
