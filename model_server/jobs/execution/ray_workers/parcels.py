"""What travels between the front and its workers: plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from model_server.pipeline.request import DubRequest, Precision


@dataclass(frozen=True)
class Task:
    """A dub to be worked at.

    Attributes:
        token: names this call, for `stop`.
        job: names this run of a dub, whatever range of it; for `stop`, too.
        text: the request as JSON.
        weights: id.
        precision: of all workers, measured by one of them where nobody has said it.
        setup: as of `jobs.marks.job_id`.
        media: for each asset its path at the front, and the object that holds it where that path means nothing.
        seeds: what was found in the sources before, by key.
    """

    token: str
    job: str
    text: str
    weights: str
    precision: Precision
    setup: str
    media: Mapping[str, tuple[str, Any]]
    seeds: Mapping[str, bytes]

    @cached_property
    def request(self) -> DubRequest:
        """The dub, and which frames of it."""
        return DubRequest.from_json(self.text)


@dataclass(frozen=True)
class Progressed:
    """`done` of `total` steps of a phase are made."""

    phase: str
    done: int
    total: int


@dataclass(frozen=True)
class Told:
    """Frames `first <= k < end` deserve a look."""

    first: int
    end: int
    kind: str
    message: str


@dataclass(frozen=True)
class Kept:
    """What was found in the sources, by key; for other workers and later dubs."""

    contents: dict[str, bytes]


@dataclass(frozen=True)
class Missing:
    """Parts of a source that others may read, see `pipeline.faces.parts`."""

    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Keys:
    """Frames by index, with their keys."""

    frames: list[tuple[int, str]]


@dataclass(frozen=True)
class Made:
    """A frame."""

    index: int
    key: str
    png: bytes


@dataclass(frozen=True)
class Fault:
    """Why it cannot be done: a sentence with the value of its `ErrorKind`, or with None what nobody expected."""

    message: str
    kind: str | None


def packed(contents: Mapping[str, bytes]) -> bytes:
    """Contents by key as one blob: a line of JSON with their lengths, then they."""
    lengths = json.dumps({key: len(content) for key, content in contents.items()})
    return lengths.encode() + b"\n" + b"".join(contents.values())


def unpacked(blob: bytes) -> dict[str, bytes]:
    """Inverse of `packed`."""
    head, _, rest = blob.partition(b"\n")
    contents, at = {}, 0
    for key, length in json.loads(head).items():
        contents[key] = rest[at : at + length]
        at += length
    return contents
