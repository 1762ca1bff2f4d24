"""The add-on's own client at work in a process of its own, as in Blender; `posedub bench` runs this in a checkout.

A plan comes in as JSON; when its frames were saved goes out as JSON, in seconds after the beginning.
"""

from __future__ import annotations

import json
import sys
from time import perf_counter

from blender_addon.client.connection import Endpoint
from blender_addon.client.tasks.dub import DubTask
from blender_addon.core.events import Event, FramesSaved, JobFailed
from blender_addon.core.plan import DubPlan


def main(address: str) -> int:
    """Dub and tell; 1 with the add-on's sentence when it fails."""
    saved: list[float] = []
    failures: list[str] = []
    start = perf_counter()

    def note(event: Event) -> None:
        if isinstance(event, FramesSaved):
            saved.extend([perf_counter() - start] * (event.end - event.first))
        elif isinstance(event, JobFailed):
            failures.append(event.message)

    DubTask(Endpoint(address), DubPlan.from_json(json.load(sys.stdin)), note).run()
    json.dump({"frames": saved, "end": perf_counter() - start}, sys.stdout)
    print(*failures, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
