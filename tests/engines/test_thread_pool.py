"""Threads that work side by side, each on one processor."""

from __future__ import annotations

import threading

import pytest
import torch

from model_server.engines.runtime.thread_pool import ThreadPool
from tests.limits import HANGS


def test_results_come_in_the_order_of_the_items() -> None:
    crew = ThreadPool(3)
    assert crew.map(lambda n: n * n, range(50)) == [n * n for n in range(50)]


def test_members_work_at_the_same_time_and_have_one_processor_each() -> None:
    together = threading.Barrier(2, timeout=HANGS)

    def meet(_: int) -> int:
        together.wait()
        return torch.get_num_threads()

    before = torch.get_num_threads()
    assert ThreadPool(2).map(meet, range(2)) == [1, 1]
    assert torch.get_num_threads() == before
    with_own = []
    thread = threading.Thread(target=lambda: with_own.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert with_own == [before]


def test_a_crew_of_one_is_the_caller() -> None:
    assert ThreadPool(1).map(lambda _: threading.current_thread(), [0]) == [threading.current_thread()]


def test_a_members_problem_is_the_callers() -> None:
    def fail(n: int) -> None:
        raise KeyError(n)

    with pytest.raises(KeyError, match="0"):
        ThreadPool(2).map(fail, range(2))


def test_a_crew_that_cannot_begin_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start
    begun: list[threading.Thread] = []

    def second_fails(thread: threading.Thread) -> None:
        if begun:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", second_fails)
    with pytest.raises(RuntimeError, match="new thread"):
        ThreadPool(2)
    begun[0].join(HANGS)
    assert not begun[0].is_alive()
