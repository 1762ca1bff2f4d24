"""A real PostgreSQL server for tests, from the system's packages, in a temporary folder, reached by a socket only."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.limits import HANGS

_NUMBERS = count()


def programs() -> Path:
    """Folder of initdb and pg_ctl; skips where there is none."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'posedub[studio]'")
    found = shutil.which("initdb") or next(map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))), None)
    if os.name == "nt" or found is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    return Path(found).parent


@contextmanager
def running() -> Iterator[Path]:
    """A server; the folder of its socket."""
    folder = Path(tempfile.mkdtemp(prefix="pdpg"))
    where, user = programs(), []
    if os.getuid() == 0:  # it refuses to be run by root
        shutil.chown(folder, "postgres")
        user = ["runuser", "-u", "postgres", "--"]

    def call(program: str, *words: str) -> None:
        log = (folder.parent / f"{folder.name}.log").open("ab")
        with log:
            subprocess.run(
                [*user, str(where / program), *words], check=True, stdout=log, stderr=log, timeout=HANGS, cwd="/"
            )

    data = str(folder / "data")
    try:
        call("initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C")
        options = f"-c listen_addresses='' -k {folder} -c fsync=off"
        call("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield folder
        finally:
            call("pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        (folder.parent / f"{folder.name}.log").unlink(missing_ok=True)


def new_database(socket: Path) -> str:
    """URL of an empty database of its own."""
    import psycopg

    name, host = f"posedub{next(_NUMBERS)}", quote(str(socket), safe="")
    with psycopg.connect(f"postgresql://postgres@/postgres?host={host}", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"postgresql://postgres@/{name}?host={host}"
