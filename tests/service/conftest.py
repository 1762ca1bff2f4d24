"""A real server process for each module, and a connection to it for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from model_server.service.remote import Address, RemoteServer
from tests.gate import Gate
from tests.servers import ServerProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, gate: Gate) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("server") / "data", gate=gate) as process:
        yield process


@pytest.fixture
def remote(server: ServerProcess) -> Iterator[RemoteServer]:
    with RemoteServer(Address(server.address)) as connection:
        yield connection
