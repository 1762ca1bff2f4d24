"""Pictures of footage in the order a dub shows them: on, back and held, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from model_server.pipeline.media.containers import never

# A longer gap is jumped over instead of being decoded.
_JUMP = 250
# Going back, pictures are decoded some ahead of time and held, as many as fit into this.
_HELD_BYTES = 96 * 2**20


class Kept(Protocol):
    """A picture in memory."""

    @property
    def nbytes(self) -> int: ...


P = TypeVar("P", bound=Kept)
P_co = TypeVar("P_co", bound=Kept, covariant=True)


class Frames(Protocol[P_co]):
    """Where pictures come from; `Footage`, and what has other pictures of it."""

    def iter_frames(
        self, indices: Iterable[int], cancelled: Callable[[], bool] = never
    ) -> Generator[tuple[int, P_co]]: ...


@dataclass
class _Position:
    """The frame that was asked for last."""

    index: int = -1


def _indices_to_play(position: _Position) -> Iterator[int]:
    """Without end: whatever index was asked for last when the pass wants the next one."""
    while True:
        yield position.index


class Playback(Generic[P]):
    """Random access that is as fast as playing on, and bounded in memory when playing back.

    Playing on is one pass through the footage that stays open between calls. The pass takes the next index only when
    the next picture is wanted, so it can be told where to go while it runs. The pass knows the position and not the
    playback: whoever drops the playback thereby ends the process that decodes.
    """

    def __init__(self, footage: Frames[P], cancelled: Callable[[], bool] = never) -> None:
        self._footage = footage
        self._cancelled = cancelled
        self._position = _Position()
        self._playing: Iterator[tuple[int, P]] | None = None
        self._held: dict[int, P] = {}

    def picture(self, index: int) -> P:
        """Frame `index`; not to be changed."""
        if index not in self._held:
            if index < self._position.index:
                self._hold_before(index)
            else:
                self._play_to(index)
        self._position.index = index
        return self._held[index]

    def _play_to(self, index: int) -> None:
        if self._playing is None or index - self._position.index > _JUMP:
            self._playing = self._footage.iter_frames(_indices_to_play(self._position), self._cancelled)
        self._position.index = index
        _, picture = next(self._playing)
        self._held = {index: picture}

    def _hold_before(self, index: int) -> None:
        size = next(iter(self._held.values())).nbytes
        first = max(index + 1 - max(_HELD_BYTES // size, 1), 0)
        self._held, self._playing = {}, None
        self._held = dict(self._footage.iter_frames(range(first, index + 1), self._cancelled))
