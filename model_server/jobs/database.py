"""SQLite connections: one per thread, write-ahead log, nothing lost on a crash."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCHEMA = Path(__file__).with_name("schema.sql")


class Database:
    """A SQLite file that any thread may use.

    WAL lets readers go on while one writer commits; `synchronous=FULL` makes a
    commit survive a power cut.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self.connection().executescript(SCHEMA.read_text())

    def connection(self) -> sqlite3.Connection:
        """This thread's connection, in autocommit mode."""
        if not hasattr(self._local, "connection"):
            made = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            made.row_factory = sqlite3.Row
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
                made.execute(f"PRAGMA {pragma}")
            self._local.connection = made
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
