"""Callers pass a gate one at a time and in their order, those in a hurry first."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from model_server.engines.runtime.priority_lock import PriorityLock, hurried
from model_server.pipeline.prefetch import prefetch
from tests.limits import HANGS


class Queue:
    """Callers that wait at a gate which is held meanwhile."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.gate = PriorityLock()
        self.passed: list[str] = []
        self._pool = pool
        self._callers = 0

    def call(self, name: str, in_hurry: bool = False) -> None:
        """Have a thread wait at the gate; returns when it does."""
        self._pool.submit(self._hurried if in_hurry else self._pass, name)
        self._callers += 1
        with self.gate._condition:
            arrived = lambda: len(self.gate._waiting) + len(self.gate._in_hurry) == self._callers  # noqa: E731
            while not arrived():
                self.gate._condition.wait(0.01)

    def _hurried(self, name: str) -> None:
        with hurried():
            self._pass(name)

    def _pass(self, name: str) -> None:
        with self.gate:
            self.passed.append(name)


def test_callers_pass_in_their_order_and_those_in_a_hurry_first() -> None:
    with ThreadPoolExecutor(8) as pool:
        queue = Queue(pool)
        with queue.gate:
            for name in ("job", "other job", "third job"):
                queue.call(name)
            for name in ("preview", "other preview"):
                queue.call(name, in_hurry=True)
            assert queue.passed == []
    assert queue.passed == ["preview", "other preview", "job", "other job", "third job"]


def test_a_long_turn_lets_those_in_a_hurry_through_and_goes_on() -> None:
    with ThreadPoolExecutor(8) as pool:
        queue = Queue(pool)
        with queue.gate:
            queue.gate.give_way()
            queue.call("job")
            queue.gate.give_way()
            queue.call("preview", in_hurry=True)
            queue.passed.append("first step")
            queue.gate.give_way()
            queue.passed.append("second step")
    assert queue.passed == ["first step", "preview", "second step", "job"]


def test_one_at_a_time() -> None:
    gate, inside, most = PriorityLock(), [0], [0]

    def work(_: int) -> None:
        for _ in range(200):
            with gate:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert most == [1]


def test_an_error_opens_the_gate_again() -> None:
    gate = PriorityLock()
    try:
        with gate:
            raise ValueError
    except ValueError:
        pass
    freed = threading.Event()

    def enter() -> None:
        with gate:
            freed.set()

    threading.Thread(target=enter, daemon=True).start()
    assert freed.wait(HANGS)


def test_who_is_in_a_hurry_is_so_in_threads_that_work_ahead() -> None:
    with ThreadPoolExecutor(4) as pool:
        queue = Queue(pool)

        def frames():
            queue._pass("prefetch")
            yield 1

        def preview() -> None:
            with hurried():
                list(prefetch(frames(), 1))

        with queue.gate:
            queue.call("job")
            pool.submit(preview)
            with queue.gate._condition:
                while not queue.gate._in_hurry:
                    queue.gate._condition.wait(0.01)
    assert queue.passed == ["prefetch", "job"]
