"""SECURITY.md promises nothing without a test that is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_TEST = re.compile(r"`((?:tests/[\w/.]+)?(?:::\w+)?)`")


def promises() -> list[list[str]]:
    """Rows of the table of promises: promise, where it is kept, tests."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    section = text.split("## What is promised")[1].split("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows if row[0].strip() != "promise"]


def named_tests(cell: str) -> list[tuple[Path, str]]:
    """Files and functions; "::name" is one of the file before."""
    found, file = [], ""
    for name in _TEST.findall(cell):
        before, _, function = name.partition("::")
        file = before or file
        found.append((ROOT / file, function))
    return found


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_each_promise_names_a_test_that_is_there() -> None:
    rows = promises()
    assert len(rows) > 10
    for promise, *_, cell in rows:
        tests = named_tests(cell)
        assert tests, promise
        for path, function in tests:
            assert path.exists(), (promise, path)
            if function:
                assert function in functions(path), (promise, function)


def test_each_promise_names_where_it_is_kept() -> None:
    for promise, where, _ in promises():
        for name in re.findall(r"`([^`]+)`", where):
            assert (ROOT / "model_server" / name).exists(), (promise, name)
