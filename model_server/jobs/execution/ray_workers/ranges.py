"""Frames that are still to be made, dealt out to whoever is idle; nothing here knows workers or Ray.

Each worker gets its share of what is left, and who finds nothing left takes half of what another one has not begun: all
end at the same time. A dub that comes when nobody is idle has the longest piece cut short. What a dead worker leaves
goes back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

# Pieces are multiples of what networks draw at once: a call for fewer frames costs as much.
AT_ONCE = 8
# Frames after which a worker may be wanted by another dub; a piece that is cut short keeps so many.
LARGEST = 256
CUT_TO = 2 * AT_ONCE
# What a worker has to have before it for half of that to be taken: its frame at hand and two more.
SHARED = 3
# A dub whose pieces kill that many workers in a row, none of them making a frame, is given up.
DEATHS = 3


@dataclass(eq=False)
class Piece:
    """Frames `next <= k < end` of a dub that one worker makes.

    Attributes:
        cut: told of an end that has come nearer.
    """

    dub: Dub
    next: int
    end: int
    token: str
    cut: Callable[[int], None] = lambda end: None


@dataclass(eq=False)
class Dub:
    """What is left of one dub.

    Attributes:
        hear: called with each value of a worker.
        work: what workers are given.
        left: ranges (first, end), nobody at work on them.
        turn: number of the piece of it that was begun last.
        deaths: workers that died at it since its last frame.
        over: whether nobody waits for it any more.
    """

    work: Any
    hear: Callable[[Any], None]
    left: list[tuple[int, int]] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    turn: int = -1
    deaths: int = 0
    over: bool = False


class Ranges:
    """The dubs at work, and who has which frames of them.

    Args:
        workers: how many there are now.
    """

    def __init__(self, workers: Callable[[], int]) -> None:
        self._workers = workers
        self._dubs: list[Dub] = []
        self._changed = threading.Condition()
        self._numbers = count()
        self._idle = 0
        self.closed = False

    def add(self, dub: Dub, ranges: Iterable[tuple[int, int]]) -> None:
        """Frames to be made."""
        with self._changed:
            dub.left.extend(ranges)
            self._dubs.append(dub)
            if not self._idle:
                self._cut_longest()
            self._changed.notify_all()

    def drop(self, dub: Dub) -> list[Piece]:
        """A dub is over; returns the pieces that workers still have."""
        with self._changed:
            dub.over = True
            self._dubs.remove(dub)
            return list(dub.pieces)

    def close(self) -> None:
        """Nobody gets anything any more."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def take(self, seconds: float) -> Piece | None:
        """The next piece for an idle worker, None when there was none for so long."""
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self.closed or self._available(), seconds)
            self._idle -= 1
            if self.closed:
                return None
            return self._dealt() or self._stolen()

    def made(self, piece: Piece, index: int) -> bool:
        """A frame of a piece came; whether it is wanted from there."""
        with self._changed:
            piece.dub.deaths = 0
            piece.next = index + 1
            return index < piece.end and not piece.dub.over

    def done(self, piece: Piece, died: bool = False) -> bool:
        """A worker has ended with a piece; what it did not make goes back. Whether the dub may go on."""
        with self._changed:
            dub = piece.dub
            dub.pieces.remove(piece)
            dub.deaths += died
            if piece.next < piece.end:
                dub.left.insert(0, (piece.next, piece.end))
            self._changed.notify_all()
            return dub.deaths < DEATHS

    def _available(self) -> bool:
        return any(dub.left for dub in self._dubs) or self._victim() is not None

    def _dealt(self) -> Piece | None:
        """Of the dub that the fewest workers are at, of several the one that has waited longest: none starves."""
        waiting = [dub for dub in self._dubs if dub.left]
        if not waiting:
            return None
        dub = min(waiting, key=lambda one: (len(one.pieces), one.turn))
        first, end = dub.left.pop(0)
        frames = sum(last - begin for one in self._dubs for begin, last in one.left) + end - first
        size = min(_whole(-(-frames // max(self._workers(), 1))), LARGEST)
        if end - first > size + AT_ONCE:
            dub.left.insert(0, (first + size, end))
            end = first + size
        return self._begun(dub, first, end)

    def _cut_longest(self) -> None:
        """Have a worker come back soon."""
        victim = self._victim()
        if victim and victim.end - victim.next > 2 * CUT_TO:
            middle = victim.next + CUT_TO
            victim.dub.left.insert(0, (middle, victim.end))
            self._shorten(victim, middle)

    def _stolen(self) -> Piece | None:
        """The later half of the piece with the most frames to come."""
        victim = self._victim()
        if victim is None:
            return None
        half = (victim.end - victim.next + 1) // 2
        middle = victim.next + (_whole(half) if half > AT_ONCE else half)
        end = victim.end
        self._shorten(victim, middle)
        return self._begun(victim.dub, middle, end)

    def _shorten(self, piece: Piece, end: int) -> None:
        piece.end = end
        piece.cut(end)

    def _victim(self) -> Piece | None:
        pieces = [piece for dub in self._dubs for piece in dub.pieces if piece.end - piece.next >= SHARED]
        return max(pieces, key=lambda piece: piece.end - piece.next, default=None)

    def _begun(self, dub: Dub, first: int, end: int) -> Piece:
        dub.turn = next(self._numbers)
        piece = Piece(dub, first, end, str(dub.turn))
        dub.pieces.append(piece)
        return piece


def _whole(frames: int) -> int:
    """As many frames or a few more."""
    return -(-frames // AT_ONCE) * AT_ONCE
