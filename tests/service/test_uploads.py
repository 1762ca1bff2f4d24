"""Uploads that do not come on: the client is told, what came stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from model_server.errors import PoseDubError
from model_server.service import servicer
from model_server.service.stubs import dubbing_pb2 as dubbing


async def drip(count: int, size: int) -> AsyncIterator[dubbing.UploadAssetRequest]:
    for _ in range(count):
        yield dubbing.UploadAssetRequest(chunk=bytes(size))
        await asyncio.sleep(0.01)


async def taken(count: int, size: int) -> int:
    upload, messages = servicer._Upload(drip(count, size)), 0
    while await upload.next() is not None:
        messages += 1
    return messages


def test_an_upload_that_drips_is_dropped_and_a_slow_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servicer, "UPLOAD_IDLE_SECONDS", 0.3)
    monkeypatch.setattr(servicer, "UPLOAD_STEP_BYTES", 1000)
    with pytest.raises(PoseDubError, match="stalled for a minute; send on from where it stopped"):
        asyncio.run(taken(1000, 1))
    assert asyncio.run(taken(100, 500)) == 100
