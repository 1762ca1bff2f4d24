"""Items made in a thread before they are asked for."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from model_server.pipeline.prefetch import prefetch
from tests.limits import HANGS


def test_items_come_in_order_and_from_another_thread() -> None:
    def numbers() -> Generator[tuple[int, str]]:
        for number in range(100):
            yield number, threading.current_thread().name

    made = list(prefetch(numbers(), 3))
    assert [number for number, _ in made] == list(range(100))
    assert {name for _, name in made} == {"prefetch_0"}


def test_items_are_made_before_they_are_asked_for_but_not_more_than_agreed() -> None:
    third = threading.Event()
    made = []

    def numbers() -> Generator[int]:
        for number in range(10):
            made.append(number)
            if number == 3:
                third.set()
            yield number

    items = prefetch(numbers(), 2)
    assert next(items) == 0
    assert third.wait(HANGS)  # two wait in the queue, a third in the thread's hand
    assert made == [0, 1, 2, 3]
    assert list(items) == list(range(1, 10))


def test_a_problem_comes_in_its_place() -> None:
    def numbers() -> Generator[int]:
        yield 1
        raise KeyError("the disk")

    items = prefetch(numbers(), 5)
    assert next(items) == 1
    with pytest.raises(KeyError, match="the disk"):
        next(items)


def test_a_caller_that_stops_early_closes_what_made_the_items() -> None:
    closed = threading.Event()

    def numbers() -> Generator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    items = prefetch(numbers(), 2)
    next(items)
    items.close()
    assert closed.is_set()
    assert "prefetch_0" not in {thread.name for thread in threading.enumerate()}
