"""What a store removes when it is too large or too old, and what it never does; what is damaged is found."""

from __future__ import annotations

import os
import time
from fractions import Fraction
from pathlib import Path

import pytest

from model_server.jobs.model import JobState
from model_server.jobs.retention import DAY, GRACE, Limits, prune, usage, verify
from model_server.jobs.store import Store
from model_server.pipeline.request import DubRequest, DubSpec, Portrait, PoseFixed, Speech
from tests.jobs.conftest import spoil

WEIGHTS = ("id", "lite", "untrained", "lite")
LATER = 10 * DAY


def made(store: Store, seed: int, frames: int = 3, end: bool = True) -> str:
    """A job whose sources and frames are of its own but for the voice, which all share."""
    portrait, speech = store.blobs.put(b"portrait%d" % seed), store.blobs.put(b"voice")
    spec = DubSpec(Portrait(portrait), Speech(speech), PoseFixed(), Fraction(25), frames, seed=seed)
    job = store.submit(DubRequest(spec), WEIGHTS, "cpu").id
    store.claim(job)
    rows = [(k, f"{seed} {k}", store.blobs.put(b"frame %d %d" % (seed, k))) for k in range(frames)]
    store.commit(job, rows)
    if end:
        store.finish(job, JobState.DONE)
    return job


def contents(store: Store) -> set[bytes]:
    return {store.blobs.read(one.sha) for one in store.blobs.files()}


def test_what_is_old_goes_with_all_that_it_alone_needs(store: Store) -> None:
    made(store, 1)
    running = made(store, 2, end=False)
    done = prune(store, Limits(age=5 * DAY), time.time() + LATER)
    assert (done.jobs, done.contents) == (1, 4)
    assert [job.id for job in store.jobs()] == [running]
    assert contents(store) == {b"voice", b"portrait2", *(b"frame 2 %d" % k for k in range(3))}
    assert store.result("1 0") is None and store.result("2 0")


def test_the_least_recently_used_goes_until_the_rest_fits(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, now = [made(store, seed) for seed in range(4)], time.time()
    monkeypatch.setattr(time, "time", lambda: now + DAY)
    store.use(jobs[0])
    size = usage(store).size
    one = sum(len(b"frame 0 0") for _ in range(3)) + len(b"portrait0")
    prune(store, Limits(size=size - one - 1), now + LATER)
    assert {job.id for job in store.jobs()} == {jobs[0], jobs[3]}


def test_nothing_goes_that_is_young_runs_or_is_listed_as_a_take(store: Store) -> None:
    now = time.time()
    young = made(store, 1)
    assert prune(store, Limits(size=1, age=1.0), now + GRACE / 2).jobs == 0
    listed, running = made(store, 2), made(store, 3, end=False)
    store.keep([listed, "no such job"], now + 2 * LATER)
    before = contents(store)
    prune(store, Limits(size=1, age=1.0), now + LATER)
    assert {job.id for job in store.jobs()} == {listed, running} and young
    assert before - contents(store) == {b"portrait1", *(b"frame 1 %d" % k for k in range(3))}
    assert usage(store, now + LATER).removable == 0
    prune(store, Limits(size=1), now + 3 * LATER)
    assert {job.id for job in store.jobs()} == {running}


def test_uploads_without_a_job_go_when_they_are_old(store: Store) -> None:
    store.blobs.put(b"nobody asked")
    prune(store, Limits(age=DAY))
    assert contents(store) == {b"nobody asked"}
    prune(store, Limits(age=DAY), time.time() + LATER)
    assert contents(store) == set()


def test_what_is_used_while_it_is_removed_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    sha = store.blobs.put(b"a result")
    store.keep_result("key", sha)
    forget = store.forget_results

    def meanwhile(shas: set[str]) -> None:
        forget(shas)
        store.blobs.put(b"a result")

    monkeypatch.setattr(store, "forget_results", meanwhile)
    prune(store, Limits(age=DAY), time.time() + LATER)
    assert contents(store) == {b"a result"}


def test_damage_is_found_and_its_frames_are_made_again(store: Store) -> None:
    job = made(store, 1)
    (_, first), (_, second), _ = store.frames(job, 0, 3)
    spoil(store, first, b"something else")
    store.blobs.remove(second)
    found = verify(store)
    assert (found.contents, found.damaged, found.jobs) == (4, (first,), (job,))
    assert store.job(job).state is JobState.DONE
    verify(store, repair=True)
    assert store.job(job).state is JobState.QUEUED and store.result("1 0") is None
    assert store.frames(job, 2, 1) and not store.frames(job, 0, 1)
    assert verify(store).damaged == ()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_what_is_no_file_of_the_store_is_neither_read_nor_removed(store: Store, tmp_path: Path) -> None:
    """Links to files elsewhere, folders and pipes under names of contents, as a wrong copy or a prank leaves them."""
    made(store, 1)
    outside, folder = tmp_path / "outside", store.blobs.root / "ab"
    outside.write_bytes(b"theirs")
    folder.mkdir(exist_ok=True)
    link, pipe, inner, gone = (folder / f"ab{end * 62}" for end in "0123")
    link.symlink_to(outside)
    os.mkfifo(pipe)
    inner.mkdir()
    gone.symlink_to(tmp_path / "nothing")
    assert not verify(store).damaged
    prune(store, Limits(size=1, age=1.0), time.time() + LATER)
    assert outside.read_bytes() == b"theirs" and {one.name for one in folder.iterdir()} >= {link.name, inner.name}
    assert store.jobs() == []
