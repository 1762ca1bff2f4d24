"""Addresses of servers in any form that people write them in, on both sides of the wire."""

from __future__ import annotations

import pytest

from blender_addon.core import address as addon
from blender_addon.core.errors import AddonError
from model_server.errors import PoseDubError
from model_server.service import address as server

GOOD = [
    ("127.0.0.1:50761", "127.0.0.1:50761", True),
    ("127.0.0.1", "127.0.0.1:50761", True),
    ("localhost", "localhost:50761", True),
    (" LocalHost:81 ", "localhost:81", True),
    ("localhost/", "localhost:50761", True),
    ("http://127.0.0.1:5000/", "127.0.0.1:5000", True),
    ("grpc://localhost", "localhost:50761", True),
    ("::1", "[::1]:50761", True),
    ("[::1]", "[::1]:50761", True),
    ("[::1]:81", "[::1]:81", True),
    ("http://[::1]:81/", "[::1]:81", True),
    ("::ffff:127.0.0.1", "[::ffff:127.0.0.1]:50761", True),
    ("fe80::1%eth0", "[fe80::1%eth0]:50761", False),
    ("[fe80::1%eth0]:81", "[fe80::1%eth0]:81", False),
    ("http://[fe80::1%25eth0]:81", "[fe80::1%eth0]:81", False),
    ("gpu_3.studio.example.", "gpu_3.studio.example:50761", False),
    ("schön.example:81", "xn--schn-7qa.example:81", False),
    ("10.0.0.5", "10.0.0.5:50761", False),
    ("::", "[::]:50761", False),
]
BAD = [
    "", " ", ":50761", "host:0", "host:65536", "host:port", "host:99999999999999999999", "host:\u0665", "::1:50761",
    "fe80::1%eth0:81", "[::1", "::1]", "[localhost]:81", "ftp://host", "http:/host", "http://", "://host", "host/dubs",
    "me@host", "two words", "unix:/run/dub", "1:2:3", "x" * 64 + ".example",
]  # fmt: skip


@pytest.mark.parametrize(("text", "target", "loopback"), GOOD)
def test_usual_forms_are_understood(text: str, target: str, loopback: bool) -> None:
    for side in (addon, server):
        place = side.parse(text)
        assert (place.target, place.loopback, place.encrypted) == (target, loopback, False)


@pytest.mark.parametrize("text", BAD)
def test_others_get_a_sentence_that_says_how_to_write_them(text: str) -> None:
    with pytest.raises(AddonError) as on_one_side:
        addon.parse(text)
    with pytest.raises(PoseDubError) as on_the_other:
        server.parse(text)
    for caught in (on_one_side, on_the_other):
        assert f'"{text}"' in str(caught.value) and "127.0.0.1:50761 or [::1]:50761." in str(caught.value)


def test_https_asks_for_encryption() -> None:
    for side in (addon, server):
        assert side.parse("https://dub.example").encrypted and side.parse("GRPCS://dub.example:1").encrypted


def test_a_host_to_serve_on_has_no_port() -> None:
    assert server.parse_host("[::1]") == server.parse_host("::1") == "::1"
    with pytest.raises(PoseDubError, match="--host ::1 --port 81"):
        server.parse_host("[::1]:81")
