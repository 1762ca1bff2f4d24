"""A job as its marks say it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from model_server.jobs.model import Job
from model_server.provenance.record import DubRecord, Source


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
    return Source(role, asset, path.name if path else "", path)
