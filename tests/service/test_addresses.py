"""Servers are reached at the address given, whatever the environment says about proxies."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from blender_addon.client.connection import Connection, Endpoint
from blender_addon.core.errors import AddonError
from model_server.errors import PoseDubError
from model_server.service.address import ServerAddress
from model_server.service.auth import Security, authority
from model_server.service.listening import why_not
from model_server.service.remote import Address, RemoteServer
from tests.servers import ServerProcess, free_port

PROXIES = ("http_proxy", "https_proxy", "grpc_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy")


def ipv6() -> bool:
    try:
        free_port("::1")
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not ipv6(), reason="no IPv6 here")


def protocols(address: str) -> tuple[int, int]:
    """What the command and the add-on learn from the server at an address."""
    with RemoteServer(Address(address)) as remote, Connection(Endpoint(address)) as connection:
        return remote.info().protocol, connection.info().protocol


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment as in many offices; nobody answers at its proxy."""
    for name in PROXIES:
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)


@pytest.mark.usefixtures("proxied")
def test_proxies_do_not_come_between(server: ServerProcess) -> None:
    assert protocols(server.address) == (1, 1)
    assert protocols(f"localhost:{server.port}") == (1, 1)


def test_a_named_server_is_not_asked_through_a_proxy(proxied: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name leads nowhere, which is found out here and not at a proxy."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.setblocking(False)
        for name in PROXIES:
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        with pytest.raises(PoseDubError, match=r"nowhere\.invalid does not answer.* HOST:PORT"):
            RemoteServer(Address("nowhere.invalid"))
        with Connection(Endpoint("nowhere.invalid")) as connection, pytest.raises(AddonError, match="No model server"):
            connection.info()
        with pytest.raises(BlockingIOError):
            proxy.accept()


def test_addresses_as_people_write_them(server: ServerProcess) -> None:
    for address in (f"http://localhost:{server.port}/", f" 127.0.0.1:{server.port}", f"grpc://LOCALHOST:{server.port}"):
        assert protocols(address) == (1, 1)


@needs_ipv6
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_serving_on_ipv6(tmp_path: Path, host: str) -> None:
    process = ServerProcess(tmp_path / "data", host="::1")
    process.options[-1] = host
    with process as server:
        assert protocols(f"[::1]:{server.port}") == (1, 1)
        assert f"serves on [::1]:{server.port}" in server.log.read_text()


def test_why_it_cannot_be_served_at_an_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert why_not(ServerAddress("127.0.0.1", port)).startswith(f"Port {port} of 127.0.0.1 is taken;")
    assert "192.0.2.1 is no address of this computer" in why_not(ServerAddress("192.0.2.1", port))
    assert "nowhere.invalid is not known" in why_not(ServerAddress("nowhere.invalid", port))


@pytest.mark.parametrize("content", [b"two\nlines", b"sch\xc3\xb6n", b"\x00\xff"])
def test_tokens_are_plain_words(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(PoseDubError, match="holds more than one plain word"):
        Security.read(tmp_path / "token", None, None)
    with pytest.raises(AddonError, match="token holds characters"):
        Connection(Endpoint(token=content.decode(errors="replace")))


def test_keys_and_certificates_are_looked_at_first(tmp_path: Path) -> None:
    """gRPC would only say that it cannot serve, or that nobody answers."""
    (tmp_path / "cert.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(PoseDubError, match="are no certificate and its key in PEM"):
        Security.read(None, tmp_path / "cert.pem", tmp_path / "cert.pem")
    with pytest.raises(PoseDubError, match="holds no certificate in PEM"):
        authority(tmp_path / "cert.pem")
