"""Frames dealt out to workers: each is made once, also where workers die, join late, or are slow."""

from __future__ import annotations

import queue
import threading
from itertools import pairwise

from model_server.jobs.execution.ray_workers.ranges import DEATHS, SMALLEST, Dub, Piece, Ranges


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
    assert sizes[0] > 4 * SMALLEST and all(later <= earlier for earlier, later in pairwise(sizes[:-2]))


def test_an_idle_worker_takes_the_half_that_a_slow_one_has_not_begun() -> None:
    ranges, made = Ranges(lambda: 1), list[int]()
    ranges.add(Dub("work", lambda value: None), [(0, 40)])
    slow = ranges.take(0)
    assert ranges.made(slow, slow.next)
    while (piece := ranges.take(0)) and piece.end != 40:
        finish(ranges, piece, made)
    finish(ranges, piece, made)
    stolen = ranges.take(0)
    assert stolen is not None and slow.next < stolen.next == slow.end
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
