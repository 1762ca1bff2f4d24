"""An evaluation as JSON and as Markdown, every figure with its definition."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from model_server.evaluation.comparison import Comparison
from model_server.evaluation.evaluate import BASELINES, Outcome
from model_server.evaluation.metrics import METRICS, Metric
from model_server.evaluation.pose_sources import NOTES

# The columns of the paper's tables 1 and 3, with what stands in for them where an official file is missing.
ABLATION = (
    "ssim",
    "cpbd",
    "lmd_mouth",
    "lmd_pose",
    "lips",
    "leak_partial",
    "yaw_r",
    "identity_found",
    "sync_found",
    "lse_c",
)


def as_json(outcome: Outcome, notes: Mapping[str, str]) -> dict[str, Any]:
    """Definitions, and for each method its figures over all takes and of each take; null where one does not apply."""
    return {
        "format": "posedub-evaluation-1",
        "notes": dict(notes),
        "pose_sources": {name: NOTES[kind] for name, kind in outcome.pose_sources.items()},
        "definitions": {m.key: {"title": m.title, "better": m.better, "is": m.definition} for m in METRICS.values()},
        "methods": {name: _method(takes) for name, takes in outcome.comparisons.items()},
        "skipped": outcome.skipped,
        "seconds": {name: round(seconds, 1) for name, seconds in outcome.seconds.items()},
    }


def as_markdown(outcome: Outcome, notes: Mapping[str, str]) -> str:
    """A table of all figures with their definitions, and one with a row per method."""
    methods = list(outcome.comparisons)
    count = max(len(takes) for takes in outcome.comparisons.values())
    lines = ["# Evaluation", "", f"{count} clips, {len(outcome.skipped)} skipped."]
    lines += [f"- {name}: {text}" for name, text in _remarks(outcome, notes).items()]
    lines += ["", "## Figures", "", _row(["Figure", *methods, "Better", "Definition"]), _rule(len(methods) + 3)]
    for figure in METRICS.values():
        values = [_text(figure.measure(outcome.comparisons[name])) for name in methods]
        if any(value != "–" for value in values):
            lines.append(_row([figure.title, *values, figure.better, figure.definition]))
    chosen = [METRICS[key] for key in ABLATION]
    lines += ["", "## By method", "", _row(["Method", *(figure.title for figure in chosen)]), _rule(len(chosen) + 1)]
    lines += [_row([name, *(_text(f.measure(takes)) for f in chosen)]) for name, takes in outcome.comparisons.items()]
    if outcome.skipped:
        lines += ["", "## Skipped", "", *(f"- {name}: {why}" for name, why in outcome.skipped.items())]
    return "\n".join(lines) + "\n"


def _remarks(outcome: Outcome, notes: Mapping[str, str]) -> dict[str, str]:
    kinds = sorted(set(outcome.pose_sources.values()))
    sources = {f"pose source of {_count(outcome, kind)} clips": NOTES[kind] for kind in kinds}
    return {**notes, **sources, **BASELINES}


def _count(outcome: Outcome, kind: str) -> int:
    return sum(other == kind for other in outcome.pose_sources.values())


def _method(takes: Sequence[Comparison]) -> dict[str, Any]:
    return {"figures": _figures(takes), "takes": {take.take: _figures([take]) for take in takes}}


def _figures(takes: Sequence[Comparison]) -> dict[str, float | None]:
    return {figure.key: _number(figure, takes) for figure in METRICS.values()}


def _number(figure: Metric, takes: Sequence[Comparison]) -> float | None:
    value = figure.measure(takes)
    return round(value, 5) if math.isfinite(value) else None


def _text(value: float) -> str:
    return f"{round(value, 4) + 0:.3g}" if math.isfinite(value) else "–"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _rule(columns: int) -> str:
    return "|" + " --- |" * columns
