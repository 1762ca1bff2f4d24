"""Values kept by key, for several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from model_server.engines.runtime.value_cache import ValueCache
from tests.limits import HANGS


def test_a_value_is_made_once_while_it_is_used() -> None:
    memory, made = ValueCache(kept=2), []

    def value(key: str) -> str:
        return memory.get(key, lambda: made.append(key) or key.upper())  # type: ignore[func-returns-value]

    assert [value(key) for key in "aabab"] == ["A", "A", "B", "A", "B"]
    assert made == ["a", "b"]
    value("c")  # "a" was used longest ago
    value("b")
    value("a")
    assert made == ["a", "b", "c", "a"]


def test_who_asks_for_the_same_waits_and_who_asks_for_another_does_not() -> None:
    memory, begun, other_is_there, made = ValueCache(), Event(), Event(), []

    def slow() -> int:
        begun.set()
        assert other_is_there.wait(HANGS)
        made.append("slow")
        return 1

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(memory.get, "slow", slow)
        assert begun.wait(HANGS)
        second = pool.submit(memory.get, "slow", slow)
        assert memory.get("other", lambda: 2) == 2
        other_is_there.set()
        assert (first.result(), second.result()) == (1, 1)
    assert made == ["slow"]


def test_a_failure_is_not_kept() -> None:
    memory = ValueCache()
    with pytest.raises(KeyError):
        memory.get("key", lambda: {}["nothing"])
    assert memory.get("key", lambda: 3) == 3


def test_many_threads_at_once() -> None:
    memory, together = ValueCache(kept=3), Barrier(8, timeout=HANGS)

    def ask(number: int) -> list[int]:
        together.wait()
        return [memory.get(key % 5, lambda key=key: key % 5) for key in range(number, number + 100)]

    with ThreadPoolExecutor(8) as pool:
        for number, values in enumerate(pool.map(ask, range(8))):
            assert values == [key % 5 for key in range(number, number + 100)]
