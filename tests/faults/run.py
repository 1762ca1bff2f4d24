"""Runs cases and writes the table of what happened."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from tests.faults import blenders, clients, clocks, disks, kills, media, soak, stores, versions, wire  # noqa: F401 - they register
from tests.faults.lab import CASES, Lab

FAILED = 1
AT_ONCE = 3
LONGEST = ("kill_server", "soak", "killed_under_blender", "media_fuzz", "wire_fuzz", "stalled_blender")
# What it measures would be others' work, too.
ALONE = ("slow_reader",)


def main() -> int:
    """Run one case here, or several each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE")
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of repetitions")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--out", type=Path, help="write the table there, too")
    options = parser.parse_args()
    names = options.cases or list(CASES)
    unknown = [name for name in names if name not in CASES]
    if unknown:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    if options.list:
        print("\n".join(names))
        return 0
    if len(names) == 1:
        return _alone(names[0], options.scale)
    begun = time.monotonic()
    rows = _side_by_side(names, options.scale)
    table = "\n".join(["| case | times | result | s |", "|---|---|---|---|", *(row for row, _ in rows)])
    print(f"\n{table}\n\n{len(rows)} cases in {(time.monotonic() - begun) / 60:.0f} minutes")
    if options.out:
        options.out.write_text(table + "\n", encoding="utf-8")
    return 0 if all(code == 0 for _, code in rows) else FAILED


def _side_by_side(names: list[str], scale: float) -> list[tuple[str, int]]:
    """Rows and exit codes of cases: some at a time, as most wait more than they work, the longest ones first."""
    together = sorted((name for name in names if name not in ALONE), key=lambda name: name not in LONGEST)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        rows = dict(zip(together, pool.map(lambda name: _apart(name, scale), together), strict=True))
    rows |= {name: _apart(name, scale) for name in names if name in ALONE}
    return [rows[name] for name in names]


def _apart(name: str, scale: float) -> tuple[str, int]:
    """A row of the table, and the exit code."""
    command = [sys.executable, "-m", "tests.faults.run", name, "--scale", str(scale)]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE)
    lines = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    row = lines[-1] if lines else f"| {name} | | ended with {done.returncode} | |"
    print(row, flush=True)
    return row, done.returncode


def _alone(name: str, scale: float) -> int:
    case, begun = CASES[name], time.monotonic()
    count = max(1, round(case.count * scale))
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        lab = Lab(Path(folder).resolve())
        os.environ["TMPDIR"] = str(lab.temporary)
        tempfile.tempdir = None
        handles = psutil.Process().num_fds()
        try:
            result = case.run(lab, count)
            lab.close()
            left = lab.left_over()
            more = psutil.Process().num_fds() - handles
            result += f"; left over: {', '.join(left) or 'nothing'}"
            code = FAILED if left or more > HANDLES else 0
            result += f" ({more} handles more than allowed)" if more > HANDLES else ""
        except Exception as error:  # noqa: BLE001 - boundary of a case: its row is written
            print(_logs(lab), file=sys.stderr)
            traceback.print_exc()
            result, code = f"FAILED: {error!s:.200}", FAILED
        finally:
            lab.close()
    print(f"| {name} | {count} | {result.replace(chr(10), ' ')} | {time.monotonic() - begun:.0f} |", flush=True)
    return code


# gRPC's own, which it keeps once it was used.
HANDLES = 12


def _logs(lab: Lab) -> str:
    return "\n".join(f"{one.log}:\n{_tail(one.log)}" for one in lab.servers if one.log.exists())


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-60:])


if __name__ == "__main__":
    sys.exit(main())
