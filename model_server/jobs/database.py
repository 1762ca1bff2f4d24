"""SQLite connections: one per thread, write-ahead log, nothing lost on a crash."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA = Path(__file__).with_name("schema.sql")
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
log = logging.getLogger(__name__)
Work = Callable[[Any], bool]
"""Writes with a connection; returns False, having written nothing, where it may not."""


@dataclass(eq=False)
class _Share:
    """One caller's part of a transaction.

    Attributes:
        allowed: what `work` returned, None before it is on the disk.
    """

    work: Work
    allowed: bool | None = None


class _Own:
    """A thread's connection, closed with the thread: left to itself it lies in a circle, and so do its file handles
    until garbage is collected."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def __del__(self) -> None:
        self.connection.close()


class Database:
    """A SQLite file that any thread may use.

    WAL lets readers go on while one writer commits; `synchronous=FULL` makes a
    commit survive a power cut. A damaged file is put aside, and a new one begun.
    """

    lock_row = ""
    """A writer is alone here; see `PostgresDatabase`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        # One writer at a time anyway; threads that wait here are not sent to sleep for fixed times, as SQLite does it.
        self._turn = threading.Lock()
        self._waiting: deque[_Share] = deque()
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF not in _DAMAGED:
                raise
            self._put_aside()
            self._open()

    def _open(self) -> None:
        """Create what is missing; raises sqlite3.DatabaseError, also for damage that shows only later."""
        self.connection().executescript(SCHEMA.read_text())
        (result,) = self.connection().execute("PRAGMA quick_check(1)").fetchone()
        if result != "ok":
            error = sqlite3.DatabaseError(result)
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error

    def _put_aside(self) -> None:
        if hasattr(self._local, "own"):
            self._local.own.connection.close()
            del self._local.own
        aside = f"{self.path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}"
        for ending in ("", "-wal", "-shm"):
            file = self.path.with_name(self.path.name + ending)
            if file.exists():
                file.replace(self.path.with_name(aside + ending))
        log.warning("The list of dubs in %s was damaged; it was put aside as %s and a new one begun.", self.path, aside)

    def connection(self) -> sqlite3.Connection:
        """This thread's connection, in autocommit mode."""
        if not hasattr(self._local, "own"):
            # Whoever lets go of it last may be another thread.
            made = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
            made.row_factory = sqlite3.Row
            self._local.own = _Own(made)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
                made.execute(f"PRAGMA {pragma}")
        return self._local.own.connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One write transaction: all of it is kept, or nothing."""
        with self._turn, self._transaction() as connection:
            yield connection

    def together(self, work: Work) -> bool:
        """A short write, in one transaction with all that wait meanwhile, so that they wait for the disk once.

        Returns:
            What `work` does; once it is on the disk.
        """
        mine = _Share(work)
        self._waiting.append(mine)
        with self._turn:
            if mine.allowed is None:
                self._write_with_others(mine)
        return bool(mine.allowed)

    def _write_with_others(self, mine: _Share) -> None:
        shares = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            self._write_all(shares)
        except sqlite3.Error:  # perhaps another one's fault
            self._waiting.extend(share for share in shares if share is not mine)
            self._write_all([mine])

    def _write_all(self, shares: list[_Share]) -> None:
        with self._transaction() as connection:
            allowed = [share.work(connection) for share in shares]
        for share, value in zip(shares, allowed, strict=True):
            share.allowed = value

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self.connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """All rows of a read."""
        return self.connection().execute(query, values).fetchall()
