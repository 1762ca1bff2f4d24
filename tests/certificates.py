"""Certificates that tests make: an authority, and what it signs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

DAYS = "2"


class Authority:
    """A certificate authority in a folder; its certificate is `file`."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder, self._key = folder, folder / f"{name}-key.pem"
        self.file = folder / f"{name}.pem"
        _openssl("req", "-x509", *_new_key(self._key), "-days", DAYS, "-subj", f"/CN={name}", "-out", self.file)

    def signed(self, name: str, addresses: Iterable[str] = ("127.0.0.1",)) -> tuple[Path, Path]:
        """A certificate for localhost and these addresses, and its key."""
        cert, key, asked, names = (self._folder / f"{name}{end}" for end in (".pem", "-key.pem", ".csr", ".names"))
        _openssl("req", *_new_key(key), "-subj", "/CN=localhost", "-out", asked)
        names.write_text("subjectAltName=" + ",".join(["DNS:localhost", *(f"IP:{one}" for one in addresses)]))
        _openssl(
            *("x509", "-req", "-in", asked, "-CA", self.file, "-CAkey", self._key, "-CAcreateserial"),
            *("-days", DAYS, "-extfile", names, "-out", cert),
        )
        return cert, key


def _new_key(path: Path) -> tuple[object, ...]:
    return "-newkey", "rsa:2048", "-nodes", "-keyout", path


def _openssl(*words: object) -> None:
    try:
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
