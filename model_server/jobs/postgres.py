"""The list of dubs in a PostgreSQL database, which several servers share; the same statements as SQLite's."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from model_server.errors import ErrorKind, PoseDubError
from model_server.jobs.database import SCHEMA, Work

LACKING = "A store in PostgreSQL needs psycopg; install it: pip install 'posedub[studio]'."
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
        self._local = threading.local()
        with self.write() as sql:
            sql.execute("SELECT pg_advisory_xact_lock(?)", (_SCHEMA_LOCK,))
            for statement in _translated(SCHEMA.read_text()).split(";\n"):
                sql.execute(statement)

    @contextmanager
    def write(self) -> Iterator[PostgresWriting]:
        """One transaction: all of it is kept, or nothing."""
        with self._said(), self._connection().transaction():
            yield PostgresWriting(self._connection())

    def together(self, work: Work) -> bool:
        """A short write; PostgreSQL itself lets transactions that end together wait for the disk once."""
        with self.write() as sql:
            return work(sql)

    def rows(self, query: str, *values: object) -> list[Any]:
        """All rows of a read."""
        with self._said():
            return self._connection().execute(_translated(query), values).fetchall()

    def _connection(self) -> Any:
        """This thread's connection, a new one where the last one broke."""
        held = getattr(self._local, "connection", None)
        if held is None or held.closed or held.broken:
            from psycopg.rows import dict_row

            self._local.connection = self._psycopg.connect(self._url, autocommit=True, row_factory=dict_row)
        return self._local.connection

    @contextmanager
    def _said(self) -> Iterator[None]:
        """A database that does not answer is named."""
        try:
            yield
        except self._psycopg.OperationalError as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise PoseDubError(
                f"The database of the store does not answer ({reason}); it will be asked again.", ErrorKind.UNAVAILABLE
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
