"""The store in both forms: its list of dubs in SQLite and in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from model_server.jobs.store import Store
from tests.postgres import new_database


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Opens one store, as each server that shares it does."""
    url = new_database(request.getfixturevalue("postgres")) if request.param == "PostgreSQL" else ""
    return lambda: Store(tmp_path, url)


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    """An empty one."""
    return open_store()
