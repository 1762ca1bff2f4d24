"""A bench run as a Markdown table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from model_server.bench.figures import Row, Spread

FORMAT = "posedub-bench-1"
HEAD = ("Figure", "Unit", "Fast", "Reference", "Times faster")
NOTES = (
    "Cells are medians with (minimum to maximum) of the repeats. Times faster is the ratio of the medians, with the "
    "range of the ratios of repeats that ran one after the other.",
    "Reference: the published inference written down directly. Float32, contiguous, grouped modulated convolutions, "
    "identity and pose encoder for every frame, the generator twice, frame by frame, nothing remembered, default PNG.",
    "Fast: the pipeline and engine of the server. Its stages are measured one by one; end to end they overlap.",
)


@dataclass(frozen=True)
class Report:
    """Rows in order of measurement, and the setting they belong to."""

    setting: Mapping[str, str]
    rows: Sequence[Row]

    def row(self, group: str, name: str, unit: str | None = None) -> Row:
        """The row of that name; KeyError when it was not measured."""
        for row in self.rows:
            if (row.group, row.name) == (group, name) and unit in (None, row.unit):
                return row
        raise KeyError(f"{group}: {name}")

    def to_json(self) -> str:
        """All measured values in order, with the ratios made of them."""
        rows = [_row_json(row) for row in self.rows]
        return json.dumps({"format": FORMAT, "setting": dict(self.setting), "rows": rows}, indent=1) + "\n"

    @staticmethod
    def from_json(text: str) -> Report:
        """Inverse of `to_json`."""
        data = json.loads(text)
        return Report(data["setting"], tuple(map(_row_from, data["rows"])))

    def to_markdown(self) -> str:
        """The setting, and one table for each group."""
        lines = ["# Speed", "", *(f"- {name}: {text}" for name, text in self.setting.items()), ""]
        for group, rows in groupby(self.rows, key=lambda row: row.group):
            lines += [f"## {group}", "", *_table(list(rows)), ""]
        return "\n".join([*lines, *NOTES]) + "\n"


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "group": row.group,
        "name": row.name,
        "unit": row.unit,
        "fast": _spread_json(row.fast),
        "reference": _spread_json(row.reference),
        "speedup": row.speedup,
        "speedups": _spread_json(row.speedups),
    }


def _spread_json(spread: Spread | None) -> dict[str, Any] | None:
    if spread is None:
        return None
    return {"minimum": spread.minimum, "median": spread.median, "maximum": spread.maximum, "values": spread.values}


def _row_from(data: dict[str, Any]) -> Row:
    fast, reference = (data[side] and Spread(tuple(data[side]["values"])) for side in ("fast", "reference"))
    return Row(data["group"], data["name"], data["unit"], fast, reference)


def _table(rows: Sequence[Row]) -> Iterator[str]:
    cells = [HEAD, *((row.name, row.unit, _cell(row.fast), _cell(row.reference), _faster(row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for number, line in enumerate(cells):
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        if number == 0:
            yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"


def _faster(row: Row) -> str:
    """The ratio of medians, then the range of the paired ones."""
    if row.speedup is None or row.speedups is None:
        return ""
    return f"{_number(row.speedup)}{_range(row.speedups)}"


def _cell(spread: Spread | None) -> str:
    return "" if spread is None else f"{_number(spread.median)}{_range(spread)}"


def _range(spread: Spread) -> str:
    return f" ({_number(spread.minimum)} to {_number(spread.maximum)})" if len(spread.values) > 1 else ""


def _number(value: float) -> str:
    """Three digits, more where they stand before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
