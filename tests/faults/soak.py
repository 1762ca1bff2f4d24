"""Weeks of work in minutes: thousands of small jobs one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil

from model_server.jobs.model import Ended, JobState
from model_server.service.remote import Address, RemoteServer
from tests.faults.lab import Lab, case

GROWTH_MB, HANDLES, AT_ONCE = 30.0, 16, 4
MOST_MIB_A_JOB = 0.03


@case(10_000)
def soak(lab: Lab, count: int) -> str:
    """So many jobs of three frames: memory, handles and processes stay flat, the disk holds what the jobs made."""
    server = lab.server().start()
    process = psutil.Process(server.process.pid)
    with RemoteServer(Address(server.address)) as remote:
        _run(lab, remote, max(20, count // 10))
        before = _measured(process)
        _run(lab, remote, count - max(20, count // 10))
        after = _measured(process)
    disk = sum(path.stat().st_size for path in server.data.rglob("*") if path.is_file()) / 2**20
    server.stop()
    grown, handles, children = (after[k] - before[k] for k in range(3))
    figures = f"memory {grown:+.1f} MB, handles {handles:+.0f}, processes {children:+.0f}, disk {disk:.0f} MiB"
    assert grown < GROWTH_MB and handles <= HANDLES and children <= 0, figures
    assert disk < MOST_MIB_A_JOB * count + 5, figures
    return figures


def _run(lab: Lab, remote: RemoteServer, count: int) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for state in pool.map(lambda request: _made(lab, remote, request), _requests(lab, count)):
            assert state is JobState.DONE


def _requests(lab: Lab, count: int) -> Iterator:
    return (lab.request(lab.seed(), 3) for _ in range(count))


def _made(lab: Lab, remote: RemoteServer, request) -> JobState:  # noqa: ANN001
    for event in remote.events(lab.submit(remote, request)):
        if isinstance(event, Ended):
            return event.job.state
    raise AssertionError("no end")


def _measured(process: psutil.Process) -> tuple[float, int, int]:
    return process.memory_info().rss / 1e6, process.num_fds(), len(process.children(recursive=True))
