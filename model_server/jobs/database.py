"""SQLite connections: one per thread, write-ahead log, nothing lost on a crash."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCHEMA = Path(__file__).with_name("schema.sql")
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
log = logging.getLogger(__name__)


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
        if hasattr(self._local, "connection"):
            self._local.connection.close()
            del self._local.connection
        aside = f"{self.path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}"
        for ending in ("", "-wal", "-shm"):
            file = self.path.with_name(self.path.name + ending)
            if file.exists():
                file.replace(self.path.with_name(aside + ending))
        log.warning("The list of dubs in %s was damaged; it was put aside as %s and a new one begun.", self.path, aside)

    def connection(self) -> sqlite3.Connection:
        """This thread's connection, in autocommit mode."""
        if not hasattr(self._local, "connection"):
            made = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            made.row_factory = sqlite3.Row
            self._local.connection = made
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
                made.execute(f"PRAGMA {pragma}")
        return self._local.connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One write transaction: all of it is kept, or nothing."""
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
