"""A job's name, and what marks say of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from model_server.engines.base import WeightsInfo
from model_server.jobs.model import Job
from model_server.pipeline.render import Mark
from model_server.pipeline.request import DubRequest
from model_server.provenance.record import DubRecord, Source, plain_text
from model_server.provenance.xmp import frame_mark, marking


def job_id(request: DubRequest, setup: str) -> str:
    """Name of the job that makes a request; the same request in the same setup is the same job.

    Args:
        setup: names what changes pictures besides the request: software, weights, device, precision.
    """
    return hashlib.sha256(f"{request.digest()} {setup}".encode()).hexdigest()[:20]


def frame_marking(request: DubRequest, weights: WeightsInfo, setup: str) -> Mark:
    """Marks the files of a dub's frames.

    They name the job of the whole dub, so that a frame's file is the same, whatever range it was asked for in.
    """
    whole = job_id(DubRequest(request.spec), setup)
    names = {"id": weights.id, "name": weights.name}
    return marking(frame_mark(DubRecord(whole, names, (), composed=request.spec.output.footage is not None)))


def dub_record(job: Job, files: Mapping[str, Path] | None = None, consent: str = "") -> DubRecord:
    """What a job's files say of how they were made.

    Args:
        files: the sources that lie here, by their ids.
        consent: what was stated about the person who is shown.
    """
    spec, at_hand = job.request.spec, files or {}
    weights = dict(zip(("id", "name", "kind", "preset"), job.weights, strict=True))
    sources = tuple(_source(role, asset, at_hand.get(asset)) for asset, role in spec.asset_kinds())
    return DubRecord(job.id, weights, sources, composed=spec.output.footage is not None, consent=consent)


def _source(role: str, asset: str, path: Path | None) -> Source:
    return Source(role, asset, plain_text(path.name) if path else "", path)
