"""The list of dubs in a PostgreSQL database, which several servers share; the same statements as SQLite's."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from model_server.errors import ErrorKind, PoseDubError, first_line
from model_server.jobs.database import SCHEMA, Work

LACKING = "A store in PostgreSQL needs psycopg; install it: pip install 'posedub[studio]'."
# Of each server: PostgreSQL allows all of its clients 100, unless it is told otherwise, and jobs wait for them briefly.
CONNECTIONS = 16
# Any number: servers that start together make the tables one after the other.
_SCHEMA_LOCK = 7_055_177


class PostgresDatabase:
    """A database that any thread of any server may use; the same calls as `Database`.

    Commits survive a crash as the database is configured (`synchronous_commit`, by default on).

    Args:
        url: postgresql://user@host/name, or what else libpq reads; passwords are best left to ~/.pgpass.

    Raises:
        PoseDubError: psycopg is not installed, or the database does not answer.
    """

    lock_row = "FOR UPDATE SKIP LOCKED"
    """What a claim adds to its choice, so that two at the same time choose two jobs."""

    def __init__(self, url: str) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise PoseDubError(LACKING, ErrorKind.UNSUPPORTED) from error
        self._psycopg, self._url = psycopg, url
        self._places = threading.Semaphore(CONNECTIONS)
        self._idle: deque[Any] = deque()
        with self.write() as sql:
            sql.execute("SELECT pg_advisory_xact_lock(?)", (_SCHEMA_LOCK,))
            for statement in _translated(SCHEMA.read_text()).split(";\n"):
                sql.execute(statement)

    @contextmanager
    def write(self) -> Iterator[PostgresWriting]:
        """One transaction: all of it is kept, or nothing."""
        with self._said(), self._connection() as connection, connection.transaction():
            yield PostgresWriting(connection)

    def together(self, work: Work) -> bool:
        """A short write; PostgreSQL itself lets transactions that end together wait for the disk once."""
        with self.write() as sql:
            return work(sql)

    def rows(self, query: str, *values: object) -> list[Any]:
        """All rows of a read."""
        with self._said(), self._connection() as connection:
            return connection.execute(_translated(query), values).fetchall()

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        """One that nobody uses, a new one where there is none."""
        with self._places:
            held = self._idle.pop() if self._idle else self._connected()
            try:
                yield held
            finally:
                if not (held.closed or held.broken):
                    self._idle.append(held)

    def _connected(self) -> Any:
        from psycopg.rows import dict_row

        return self._psycopg.connect(self._url, autocommit=True, row_factory=dict_row)

    @contextmanager
    def _said(self) -> Iterator[None]:
        """A database that does not answer is named."""
        try:
            yield
        except self._psycopg.OperationalError as error:
            self._idle.clear()  # the others broke, too
            raise PoseDubError(
                f"The database of the store does not answer ({first_line(error)}); it will be asked again.",
                ErrorKind.UNAVAILABLE,
            ) from error


class PostgresWriting:
    """A transaction, spoken to as a connection of sqlite3."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Sequence[object] = ()) -> Any:
        """Run a statement; the cursor it gives."""
        return self._connection.execute(_translated(statement), values or None)

    def executemany(self, statement: str, values: Iterable[Sequence[object]]) -> None:
        """Run a statement for each row of values."""
        with self._connection.cursor() as cursor:
            cursor.executemany(_translated(statement), list(values))


def _translated(statement: str) -> str:
    """SQLite's words for what PostgreSQL calls otherwise."""
    return statement.replace("?", "%s").replace(") WITHOUT ROWID", ")")
