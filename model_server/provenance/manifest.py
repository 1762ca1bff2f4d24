"""A record as a C2PA manifest (C2PA 2.1, sections 9 to 11 and 18): actions, ingredients, and the record itself."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from model_server.provenance.record import SOFTWARE, Record, Source, plain_text

LABEL = "org.posedub.dubs"
"""Of the assertion that holds the whole record: hashes of sources that are not at hand are kept nowhere else."""


def manifest(record: Record, title: str, media_type: str, named: Iterable[Source]) -> dict[str, Any]:
    """The manifest of a file.

    Args:
        title: the file's name.
        media_type: "video/mp4", for example.
        named: sources that are ingredients by their names alone; others are to be added with their files.
    """
    return {
        "claim_generator_info": [{"name": SOFTWARE, "version": record.version}],
        "title": plain_text(title),
        "format": media_type,
        "ingredients": [*(ingredient(source, record) for source in named), *_weights(record)],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": _actions(record)}},
            {"label": LABEL, "data": record.to_json()},
        ],
    }


def ingredient(source: Source, record: Record) -> dict[str, Any]:
    """One source among the manifest's ingredients."""
    relationship = "parentOf" if source == parent(record) else "componentOf"
    return {"title": source.name or source.role, "relationship": relationship, "label": _label(source)}


def parent(record: Record) -> Source | None:
    """The recording that a file shows all of, with a dub in it; None where a file is something new."""
    (dub, *others) = record.dubs
    if others or record.composed or not dub.composed:
        return None
    return next((source for source in dub.sources if source.role == "footage"), None)


def media_type(path: Path) -> str:
    """By a file's name; "" for one that says nothing."""
    return mimetypes.guess_type(path.name)[0] or ""


def _actions(record: Record) -> list[dict[str, Any]]:
    """What was done, in order; the first must say where the file comes from."""
    agent = {"softwareAgent": {"name": SOFTWARE, "version": record.version}}
    kind = {"digitalSourceType": record.digital_source_type}
    opened = parent(record)
    if opened:
        begun = {"action": "c2pa.opened", "parameters": {"ingredientIds": [_label(opened)]}} | agent
        return [begun, {"action": "c2pa.edited"} | kind | agent]
    placed = [{"action": "c2pa.placed", "parameters": {"ingredientIds": [_label(source)]}} for source in record.sources]
    return [{"action": "c2pa.created"} | kind | agent, *placed]


def _weights(record: Record) -> list[dict[str, Any]]:
    names = {dub.weights.get("id", ""): dub.weights.get("name", "") for dub in record.dubs}
    return [
        {"title": name, "relationship": "inputTo", "label": f"weights-{digest[:12]}"} for digest, name in names.items()
    ]


def _label(source: Source) -> str:
    """Unique among the sources of a record, which names each file once."""
    return f"source-{source.sha256[:16]}"
