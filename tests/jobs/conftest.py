"""The store in its forms: the list of dubs in SQLite or in PostgreSQL, the files in a folder or at a URL of fsspec."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from model_server.jobs import remote_blobs
from model_server.jobs.store import Store
from tests.postgres import new_database

FORMS = ("SQLite", "PostgreSQL", "SQLite and file://", "PostgreSQL and memory://")


@pytest.fixture(params=FORMS)
def open_store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Store]:
    """Opens one store, as each server that shares it does; where files lie at a URL, each with copies of its own."""
    url = new_database(request.getfixturevalue("postgres")) if request.param.startswith("PostgreSQL") else ""
    _, _, kind = request.param.partition(" and ")
    if not kind:
        return lambda: Store(tmp_path, url)
    monkeypatch.setattr(remote_blobs, "MARK_SECONDS", 0.0)  # tests move clocks
    blobs = f"{kind}{tmp_path}/blobs_elsewhere"
    folders = (tmp_path / f"server{number}" for number in count())
    return lambda: Store(next(folders) if url else tmp_path, url, blobs)


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    """An empty one."""
    return open_store()


def spoil(store: Store, sha: str, content: bytes | None) -> None:
    """Another content, or none, lies where one lay, and nobody has a copy."""
    blobs = store.blobs
    blobs.path(sha).unlink(missing_ok=True)
    if isinstance(blobs, remote_blobs.RemoteBlobs):
        blobs._fs.rm_file(blobs._place(sha))
        if content is not None:
            blobs._fs.pipe_file(blobs._place(sha), content)
    elif content is not None:
        blobs.path(sha).write_bytes(content)
