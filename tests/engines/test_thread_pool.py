"""Threads that work side by side, each on one processor."""

from __future__ import annotations

import threading

import pytest
import torch

from model_server.engines.runtime.thread_pool import ThreadPool, crew_for
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


def test_without_a_crew_the_caller_works() -> None:
    alone = ThreadPool(0)
    assert alone.map(lambda _: threading.current_thread(), [0]) == [threading.current_thread()]
    assert alone.run(threading.current_thread) == threading.current_thread() and alone.size == 1


def test_a_crew_of_one_has_one_processor_too() -> None:
    """Or its sums would have other last bits than those of larger crews."""
    assert (
        ThreadPool(1).map(lambda _: torch.get_num_threads(), [0]) == [1] == [ThreadPool(1).run(torch.get_num_threads)]
    )


def test_crews_that_begin_at_the_same_time_have_a_thread_for_each_processor() -> None:
    before, sizes = torch.get_num_threads(), list[int]()
    together = threading.Barrier(8, timeout=HANGS)

    def begin() -> None:
        for _ in range(20):
            together.wait()
            sizes.append(crew_for("cpu").size)

    threads = [threading.Thread(target=begin) for _ in range(together.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sizes == [before] * 160 and torch.get_num_threads() == before


def test_a_members_problem_is_the_callers() -> None:
    def fail(n: int) -> None:
        raise KeyError(n)

    with pytest.raises(KeyError, match="0"):
        ThreadPool(2).map(fail, range(2))


def test_a_crew_that_cannot_begin_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start
    begun: list[threading.Thread] = []

    def second_of_it_fails(thread: threading.Thread) -> None:
        if len(begun) == 2:  # who begins the crew, and its first member
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", second_of_it_fails)
    with pytest.raises(RuntimeError, match="new thread"):
        ThreadPool(2)
    begun[1].join(HANGS)
    assert not begun[1].is_alive()
