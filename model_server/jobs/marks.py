"""A job as its marks say it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from model_server.jobs.model import Job
from model_server.pipeline.request import DubSpec, PoseVideo
from model_server.provenance.record import DubRecord, Source


def dub_record(job: Job, files: Mapping[str, Path] | None = None, consent: str = "") -> DubRecord:
    """What a job's files say of how they were made.

    Args:
        files: the sources that lie here, by their ids.
        consent: what was stated about the person who is shown.
    """
    spec, at_hand = job.request.spec, files or {}
    weights = dict(zip(("id", "name", "kind", "preset"), job.weights, strict=True))
    sources = tuple(_source(role, asset, at_hand.get(asset)) for role, asset in _assets(spec))
    return DubRecord(job.id, weights, sources, composed=spec.output.footage is not None, consent=consent)


def _assets(spec: DubSpec) -> Iterator[tuple[str, str]]:
    """Roles and ids of all that a dub is made from."""
    if spec.output.footage:
        yield "footage", spec.output.footage.asset
    if spec.portrait:
        yield "portrait", spec.portrait.asset
    yield "speech", spec.speech.asset
    if isinstance(spec.pose, PoseVideo):
        yield "pose", spec.pose.asset


def _source(role: str, asset: str, path: Path | None) -> Source:
    return Source(role, asset, path.name if path else "", path)
