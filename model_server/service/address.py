"""Addresses of model servers, as people write them."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache

from model_server.errors import PoseDubError

PORT = 50761
HOW = "write it as HOST:PORT, for example 127.0.0.1:50761 or [::1]:50761."
_ENCRYPTED = {"": False, "http": False, "grpc": False, "https": True, "grpcs": True}
_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")


@dataclass(frozen=True)
class ServerAddress:
    """Where a server is.

    Attributes:
        host: a name, or an IP address without brackets.
        port: 1 to 65535.
        encrypted: whether the address itself asks for TLS, as https:// does.
    """

    host: str
    port: int = PORT
    encrypted: bool = False

    @property
    def target(self) -> str:
        """host:port, as a channel wants it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether it is this machine, so that no traffic leaves it."""
        try:
            ip = ipaddress.ip_address(self.host)
        except ValueError:
            return self.host == "localhost"
        return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


@lru_cache
def parse(text: str) -> ServerAddress:
    """Read "host", "host:port", "[::1]:port", "::1" or a URL of these.

    Raises:
        PoseDubError: it is none of these; says how to write it.
    """
    scheme, separator, rest = text.strip().rpartition("://")
    host, port = _split(rest.removesuffix("/"))
    host = host.replace("%25", "%") if separator else host
    known = scheme.lower() in _ENCRYPTED and bool(scheme) == bool(separator)
    if not known or not _is_host(host := _plain(host)) or not _is_port(port):
        raise PoseDubError(f'The server address "{text}" cannot be read; {HOW}')
    return ServerAddress(host, int(port or PORT), _ENCRYPTED[scheme.lower()])


def parse_host(text: str) -> str:
    """The host in an address to serve on, as `parse` reads it; PoseDubError when there is a port, too."""
    address = parse(text)
    if names_port(text):
        raise PoseDubError(f'The host "{text}" holds a port; write --host {address.host} --port {address.port}.')
    return address.host


def names_port(text: str) -> bool:
    """Whether an address that `parse` reads says its port."""
    return bool(_split(text.strip().rpartition("://")[2].removesuffix("/"))[1])


def _split(text: str) -> tuple[str, str]:
    """Host and port; an IPv6 address with a port needs its brackets."""
    bracketed = re.fullmatch(r"\[(.*)\](?::(\d*))?", text)
    if bracketed and _is_ipv6(bracketed[1]):
        return bracketed[1], bracketed[2] or ""
    if _is_ipv6(text):
        return text, ""
    host, _, port = text.partition(":")
    return host, port


def _plain(name: str) -> str:
    """A name in lower case and ASCII; "" when it has no such form."""
    try:
        return name.lower().removesuffix(".").encode("idna").decode() if not _is_ipv6(name) else name
    except UnicodeError:
        return ""


def _is_host(text: str) -> bool:
    return _is_ipv6(text) or bool(_NAME.fullmatch(text))


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6 and ":" not in text.partition("%")[2]
    except ValueError:
        return False


def _is_port(text: str) -> bool:
    return not text or (bool(re.fullmatch("[0-9]{1,5}", text)) and 0 < int(text) < 65536)
