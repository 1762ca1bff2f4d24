"""Frames dealt out to workers: each is made once, also where workers die, join late, or are slow."""

from __future__ import annotations

import heapq
import queue
import threading
from itertools import pairwise

import pytest

from model_server.jobs.execution.ray_workers.ranges import AT_ONCE, CUT_TO, DEATHS, Dub, Piece, Ranges
from model_server.jobs.execution.threads import FARMED


def finish(ranges: Ranges, piece: Piece, made: list[int]) -> None:
    """Make a piece as its worker would, until the frames are not wanted from it any more."""
    for index in range(piece.next, piece.end):
        if ranges.made(piece, index):
            made.append(index)
    ranges.done(piece)


def test_pieces_become_smaller_and_every_frame_is_made_once() -> None:
    ranges, made = Ranges(lambda: 4), list[int]()
    dub = Dub("work", lambda value: None)
    ranges.add(dub, [(0, 500), (700, 702)])
    sizes = []
    while piece := ranges.take(0):
        sizes.append(piece.end - piece.next)
        finish(ranges, piece, made)
    assert sorted(made) == [*range(500), 700, 701]
    assert sizes[0] == 128 and all(later <= earlier for earlier, later in pairwise(sizes[:-2]))
    assert not any(size % AT_ONCE for size in sizes[:-2])


def test_an_idle_worker_takes_the_half_that_a_slow_one_has_not_begun() -> None:
    ranges, made = Ranges(lambda: 1), list[int]()
    ranges.add(Dub("work", lambda value: None), [(0, 40)])
    slow, told = ranges.take(0), list[int]()
    slow.cut = told.append
    assert ranges.made(slow, slow.next)
    while (piece := ranges.take(0)) and piece.end != 40:
        finish(ranges, piece, made)
    finish(ranges, piece, made)
    stolen = ranges.take(0)
    assert stolen is not None and slow.next < stolen.next == slow.end == told[-1]
    assert not ranges.made(slow, stolen.next)  # what it makes beyond is not wanted


def test_what_a_dead_worker_leaves_goes_back_and_a_dub_that_kills_them_is_given_up() -> None:
    ranges = Ranges(lambda: 1)
    dub = Dub("work", lambda value: None)
    ranges.add(dub, [(0, 6)])
    first = ranges.take(0)
    ranges.made(first, 0)
    assert ranges.done(first, died=True)
    for death in range(2, DEATHS + 1):
        again = ranges.take(0)
        assert (again.next, again.end) == (1, 6)
        assert ranges.done(again, died=True) == (death < DEATHS)


def test_no_dub_starves_beside_a_long_one() -> None:
    ranges = Ranges(lambda: 4)
    ranges.add(Dub("long", lambda value: None), [(0, 10000)])
    begun = [ranges.take(0) for _ in range(3)]
    ranges.add(Dub("short", lambda value: None), [(0, 8)])
    assert ranges.take(0).dub.work == "short" and all(piece.dub.work == "long" for piece in begun)


def test_a_dub_that_comes_when_nobody_is_idle_has_a_long_piece_cut_short() -> None:
    ranges, made, told = Ranges(lambda: 1), list[int](), list[int]()
    ranges.add(Dub("long", lambda value: None), [(0, 200)])
    piece = ranges.take(0)
    assert (piece.next, piece.end) == (0, 200)
    piece.cut = told.append
    ranges.add(Dub("short", lambda value: None), [(0, 8)])
    assert told == [CUT_TO]
    finish(ranges, piece, made)
    assert made == list(range(CUT_TO))
    assert ranges.take(0).dub.work == "short"


def test_threads_that_join_and_leave_make_everything_once() -> None:
    ranges, came = Ranges(lambda: 3), queue.Queue()
    ranges.add(Dub("work", came.put), [(0, 900)])

    def work(lifetime: int) -> None:
        while lifetime and (piece := ranges.take(0.2)):
            for index in range(piece.next, piece.end):
                if not lifetime:
                    break
                if ranges.made(piece, index):
                    piece.dub.hear(index)
                lifetime -= 1
            ranges.done(piece, died=not lifetime)

    threads = [threading.Thread(target=work, args=(lifetime,)) for lifetime in (50, 130, 10**6, 10**6)]
    for thread in threads:
        thread.start()
    indices = [came.get(timeout=10) for _ in range(900)]
    for thread in threads:
        thread.join()
    assert sorted(indices) == list(range(900)) and came.empty()


def simulated(workers: int, frames: list[int], at_once: int, slow: int = 0) -> tuple[float, list[float]]:
    """Makespan of dubs on workers that take 1 for a frame, the first `slow` of them 3; and when each dub ended.

    Time is counted, not waited for.
    """
    ranges, ended = Ranges(lambda: workers), dict[int, float]()
    waiting, left = list(enumerate(frames)), dict(enumerate(frames))
    dubs: dict[int, Dub] = {}
    due: list[tuple[float, int, Piece, int]] = []
    idle, now = list(range(workers)), 0.0

    def admit() -> None:
        while waiting and len(dubs) < at_once:
            number, count = waiting.pop(0)
            dubs[number] = Dub(number, lambda value: None)
            ranges.add(dubs[number], [(0, count)])

    def begin() -> None:
        while idle and (piece := ranges.take(0)):
            worker = idle.pop(0)
            heapq.heappush(due, (now + (3 if worker < slow else 1), worker, piece, piece.next))

    admit()
    begin()
    while due:
        now, worker, piece, index = heapq.heappop(due)
        if ranges.made(piece, index):
            number = piece.dub.work
            left[number] -= 1
            if not left[number]:
                ended[number] = now
                ranges.drop(dubs.pop(number))
        if index + 1 < piece.end:
            heapq.heappush(due, (now + (3 if worker < slow else 1), worker, piece, index + 1))
        else:
            ranges.done(piece)
            idle.append(worker)
        admit()
        begin()
    return now, [ended[number] for number in range(len(frames))]


@pytest.mark.parametrize("slow", [0, 8])
def test_a_rack_of_64_is_used_almost_whole_and_no_dub_starves(slow: int) -> None:
    frames = [30 + 7 * (number % 23) for number in range(200)]
    seconds, ended = simulated(64, frames, FARMED, slow)
    ideal = sum(frames) / (64 - slow + slow / 3)
    assert ideal / seconds >= 0.95
    # Each one ends before as many frames were made as it and all before it have, and twice those of the dubs beside it.
    for number, end in enumerate(ended):
        ahead = sum(frames[: number + 1]) + 2 * sum(frames[number + 1 : number + FARMED])
        assert end <= ahead / (64 - slow) + 3 * frames[number]


def test_two_workers_take_half_the_time_of_one_and_a_short_dub_is_not_kept_by_a_long_one() -> None:
    (one, _), (two, _) = (simulated(workers, [100], 4) for workers in (1, 2))
    assert one == 100 and two <= 51
    _, (long, short) = simulated(2, [1000, 10], 4)
    assert short <= 40 < long
