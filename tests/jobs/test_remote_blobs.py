"""Files of the store at a URL: several servers, each with copies of its own, and what is said where it cannot be."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from pathlib import Path

import pytest

from model_server.errors import ErrorKind, PoseDubError
from model_server.jobs import remote_blobs
from model_server.jobs.remote_blobs import RemoteBlobs


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Below which nothing is yet."""
    return f"{request.param}://{tmp_path}/elsewhere"


def test_what_one_server_is_sent_all_have(url: str, tmp_path: Path) -> None:
    one, other = (RemoteBlobs(tmp_path / name, url) for name in ("one", "other"))
    movie = os.urandom(100_000)
    sha = hashlib.sha256(movie).hexdigest()
    assert not other.has(sha) and not other.use(sha)
    assert one.append(sha, 0, movie[:60_000]) == one.received(sha) == 60_000
    assert one.append(sha, 60_000, movie[60_000:]) == 100_000
    one.finish(sha)
    assert other.use(sha) and other.media(sha).read_bytes() == movie
    frame = other.put(b"a frame")
    assert one.intact(frame) and one.read(frame) == b"a frame" and not one.damaged(frame)
    assert {(found.sha, found.size) for found in one.files()} == {(sha, 100_000), (frame, 7)}
    assert abs(one.used(frame) - time.time()) < 3600 and {found.used for found in one.files()} >= {one.used(frame)}
    one.remove(frame)
    assert not other.intact(frame) and not other.has(frame) and other.used(frame) == 0


def test_copies_that_were_used_long_ago_go(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_blobs, "CACHE_BYTES", 15)
    blobs = RemoteBlobs(tmp_path / "one", url)
    shas = [blobs.put(b"content %d" % number) for number in range(3)]
    for age, sha in zip((5, 9, 7), shas, strict=True):
        os.utime(blobs.path(sha), times=(time.time() - age * 3600,) * 2)
    blobs.tidy()
    assert [blobs.path(sha).exists() for sha in shas] == [True, False, False]
    assert [blobs.read(sha) for sha in shas] == [b"content 0", b"content 1", b"content 2"]


def test_a_place_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = RemoteBlobs(tmp_path / "one", f"memory://{tmp_path}")

    def refuse(place: str, **_: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(blobs._fs, "exists", refuse)
    with pytest.raises(PoseDubError, match=r"memory://.* cannot be reached \(no route\)") as said:
        blobs.has("0" * 64)
    assert said.value.kind is ErrorKind.UNAVAILABLE


def test_what_is_lacking_for_a_url_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PoseDubError, match="cannot lie at nowhere://here"):
        RemoteBlobs(tmp_path / "one", "nowhere://here")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(PoseDubError, match="need fsspec, and for this kind of place"):
        RemoteBlobs(tmp_path / "one", "s3://bucket/folder")
