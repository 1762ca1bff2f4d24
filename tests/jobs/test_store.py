"""The durable store: what a crash, a cancel or a second worker may and may not do."""

from __future__ import annotations

import gc
import hashlib
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import psutil
import pytest

from model_server.engines.pcavs.weights import untrained
from model_server.errors import PoseDubError
from model_server.jobs import store as store_module
from model_server.jobs.blobs import Blobs
from model_server.jobs.database import Database
from model_server.jobs.execution.runner import with_role
from model_server.jobs.model import Ended, FrameMade, JobState, Warned
from model_server.jobs.store import LeaseLost, Store
from model_server.jobs.watch import Watch
from model_server.pipeline.request import (
    DubRequest,
    DubSpec,
    FaceSelection,
    Portrait,
    PoseCodes,
    PoseFixed,
    PoseVideo,
    Speech,
)
from model_server.pipeline.suitability import check_suitable
from tests.jobs.conftest import spoil

WEIGHTS = ("id", "lite", "untrained", "lite")


def request(frames: int = 10, seed: int = 0) -> DubRequest:
    return DubRequest(DubSpec(Portrait("a"), Speech("b"), PoseFixed(), Fraction(25), frames, seed=seed))


def submit(store: Store, **kwargs: int) -> str:
    return store.submit(request(**kwargs), WEIGHTS, "cpu").id


def commit(store: Store, job: str, *indices: int) -> None:
    store.commit(job, [(index, f"key{index}", store.blobs.put(b"frame%d" % index)) for index in indices])


def test_requests_survive_their_json() -> None:
    pose = PoseVideo("c", FaceSelection("aligned", (0.25, 0.5)), Fraction(1, 50), Fraction(1000, 1001))
    portrait, speech = Portrait("a", time=Fraction(3, 7)), Speech("b", Fraction(1, 3))
    spec = DubSpec(portrait, speech, pose, Fraction(24000, 1001), 7, size=320)
    for one in (DubRequest(spec, 2, 5), request(), DubRequest(DubSpec(
        Portrait("a"), Speech("b"), PoseCodes(((0.1,) * 12,) * 3), Fraction(25), 3))):  # fmt: skip
        assert DubRequest.from_json(one.to_json()) == one
        assert DubRequest.from_json(one.to_json().replace(', "track": 0', "")) == one  # of before tracks were chosen


@pytest.mark.parametrize(
    "change",
    [
        {"fps": Fraction(0)},
        {"frame_count": 0},
        {"mouth_strength": 4.0},
        {"mouth_strength": float("nan")},
        {"seed": -1},
        {"size": 223},
        {"size": 225},
        {"size": 514},
        {"pose": PoseCodes(((0.0,) * 12,))},
        {"pose": PoseCodes(((float("nan"),) * 12,) * 10)},
        {"pose": PoseCodes(((0.0,) * 11,) * 10)},
    ],
    ids=str,
)
def test_bad_values_are_refused_in_one_sentence(change: dict) -> None:
    values = {"portrait": Portrait("a"), "speech": Speech("b"), "pose": PoseFixed(), "fps": Fraction(25)}
    spec = DubSpec(**{**values, "frame_count": 10, **change})
    with pytest.raises(PoseDubError) as caught:
        spec.validate()
        check_suitable(spec, untrained())
    assert caught.value.message.endswith(".") and "\n" not in caught.value.message


def test_the_same_request_is_the_same_job(store: Store) -> None:
    assert submit(store) == submit(store)
    assert submit(store) != submit(store, seed=1)
    assert len(store.jobs()) == 2


def test_oldest_job_is_claimed_first_and_once(store: Store) -> None:
    first, second = submit(store), submit(store, seed=1)
    assert store.job(second).position == 1
    assert [store.claim().id, store.claim().id] == [first, second]
    assert store.claim() is None


def test_a_cancelled_job_can_change_nothing_more_but_keeps_its_frames(store: Store) -> None:
    job = submit(store)
    store.claim()
    commit(store, job, 0, 1)
    assert store.cancel(job).state is JobState.CANCELLED
    for change in (
        lambda: commit(store, job, 2),
        lambda: store.report(job, "frames", 1, 2),
        lambda: store.warn(job, Warned(0, 1, "no_face", "x")),
    ):
        with pytest.raises(LeaseLost):
            change()
    store.finish(job, JobState.DONE)
    assert store.job(job).state is JobState.CANCELLED
    assert [index for index, _ in store.frames(job, 0, 9)] == [0, 1]


def test_a_cancelled_job_goes_on_when_asked_again(store: Store) -> None:
    job = submit(store)
    store.claim()
    commit(store, job, 0)
    store.cancel(job)
    assert submit(store) == job
    assert store.job(job).state is JobState.QUEUED
    assert store.result("key0") == store.blobs.put(b"frame0")


def test_a_dead_owners_job_is_taken_over_and_given_up_after_three_deaths(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(store)
    monkeypatch.setattr(store_module.owner, "is_alive", lambda _: False)
    for _ in range(3):
        assert store.claim().id == job
    assert store.claim() is None
    ended = store.job(job)
    assert ended.state is JobState.FAILED and "three times" in ended.error


def test_a_clock_that_is_set_takes_no_job_from_who_works_at_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    job, real = submit(store), time.time
    store.claim()
    for days in (1, -1):
        monkeypatch.setattr(time, "time", lambda days=days: real() + days * 86400)
        assert store.claim() is None
        commit(store, job, 0)
    steady = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: steady() + 2 * store_module.LEASE_SECONDS)
    assert store.claim().id == job, "nobody works at it any more, though the process lives"


def test_a_living_owners_job_stays_its_own(store: Store, open_store: Callable[[], Store]) -> None:
    submit(store)
    assert store.claim() is not None
    assert open_store().claim() is None


def test_claims_at_the_same_time_are_of_different_jobs(store: Store, open_store: Callable[[], Store]) -> None:
    jobs = [submit(store, seed=seed) for seed in range(30)]

    def claims(_: int) -> list[str]:
        own = open_store()
        return [job.id for job in iter(own.claim, None)]

    with ThreadPoolExecutor(3) as pool:
        claimed = [job for each in pool.map(claims, range(3)) for job in each]
    assert sorted(claimed) == sorted(jobs)


def test_writers_of_the_same_results_do_not_block_each_other(store: Store, open_store: Callable[[], Store]) -> None:
    jobs = [submit(store, seed=seed) for seed in range(2)]
    assert {store.claim().id, store.claim().id} == set(jobs)

    def write(job: str) -> None:
        own = open_store()
        for turn in range(10):
            commit(own, job, *(range(20) if job == jobs[0] else reversed(range(20))))
            own.warn(job, Warned(0, turn + 1, "no_face", "x"))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, jobs))
    assert [store.job(job).committed for job in jobs] == [20, 20]
    assert store.warnings(jobs[0]) == [Warned(0, 10, "no_face", "x")]


def test_watchers_get_frames_in_order_without_gaps_then_the_end(store: Store) -> None:
    job = submit(store, frames=4)
    store.claim()
    watch, late = Watch(store, job), Watch(store, job, from_index=2)
    commit(store, job, 1)
    assert not [event for event in watch.poll() if isinstance(event, FrameMade)]
    commit(store, job, 0)
    assert [event.index for event in watch.poll() if isinstance(event, FrameMade)] == [0, 1]
    commit(store, job, 2, 3)
    store.finish(job, JobState.DONE)
    events = watch.poll()
    assert [event.index for event in events if isinstance(event, FrameMade)] == [2, 3]
    assert isinstance(events[-1], Ended) and watch.over
    assert [event.index for event in late.poll() if isinstance(event, FrameMade)] == [2, 3]


def test_uploads_resume_and_wrong_hashes_are_refused(tmp_path: Path) -> None:
    blobs, content = Blobs(tmp_path), b"0123456789"
    sha = hashlib.sha256(content).hexdigest()
    assert blobs.append(sha, 0, content[:4]) == blobs.received(sha) == 4
    with pytest.raises(PoseDubError, match="skips"):
        blobs.append(sha, 6, content[6:])
    blobs.append(sha, 4, b"xxxxxx")
    with pytest.raises(PoseDubError, match="hash"):
        blobs.finish(sha)
    assert blobs.received(sha) == 0 and not blobs.has(sha)
    blobs.append(sha, 0, content)
    blobs.finish(sha)
    assert blobs.read(sha) == content


@pytest.mark.parametrize("name", ["../" * 8 + "etc/passwd", "/etc/passwd", "a\0b", "CON", "A" * 64, "a" * 300, ""])
def test_only_hashes_become_paths(tmp_path: Path, name: str) -> None:
    with pytest.raises(PoseDubError):
        Blobs(tmp_path).path(name)


def test_a_full_disk_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_server.jobs.blobs.DISK_RESERVE", 2**60)
    with pytest.raises(PoseDubError, match="disk"):
        Blobs(tmp_path).put(b"content")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_is_done_is_read_where_nothing_can_be_written(tmp_path: Path) -> None:
    store = Store(tmp_path)
    job = submit(store, frames=2)
    store.claim()
    commit(store, job, 0, 1)
    store.finish(job, JobState.DONE)
    store._database.connection().execute("PRAGMA query_only=1")
    assert submit(store, frames=2) == job
    assert isinstance(Watch(store, job).poll()[-1], Ended)


@pytest.mark.parametrize("damage", ["other content", "cut off", "a hole"])
def test_a_damaged_database_is_put_aside_with_one_notice(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    import sqlite3

    store = Store(tmp_path)
    for seed in range(40):
        submit(store, seed=seed)
    path = tmp_path / "posedub.sqlite"
    with sqlite3.connect(path) as sql:
        sql.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    sql.close()
    store._database.connection().close()
    content = path.read_bytes()
    half = len(content) // 2
    bad = {"other content": b"x" * 5000, "cut off": content[:9000], "a hole": content[:half] + bytes(half)}[damage]
    path.write_bytes(bad)

    anew = Store(tmp_path)

    assert anew.jobs() == []
    assert anew.job(submit(anew)).state is JobState.QUEUED
    (aside,) = (one for one in tmp_path.glob("posedub.sqlite.damaged-*") if one.suffix.startswith(".damaged"))
    assert aside.read_bytes() == bad
    assert [record.levelname for record in caplog.records] == ["WARNING"] and aside.name in caplog.text
    caplog.clear()
    assert len(Store(tmp_path).jobs()) == 1 and not caplog.records


@pytest.mark.parametrize("bad", [b"frame", b"frame9", b"", None])
def test_damaged_frames_are_made_again_and_not_handed_out(store: Store, bad: bytes | None) -> None:
    job = submit(store, frames=3)
    store.claim()
    commit(store, job, 0, 1, 2)
    store.finish(job, JobState.DONE)
    sha = hashlib.sha256(b"frame1").hexdigest()
    spoil(store, sha, bad)

    assert store.result("key1") is None and store.result("key2")
    watch = Watch(store, job)
    events = watch.poll() + watch.poll()

    assert [event.png for event in events if isinstance(event, FrameMade)] == [b"frame0"]
    assert not watch.over and store.job(job).state is JobState.QUEUED
    assert store.claim() is not None
    commit(store, job, 1)
    store.finish(job, JobState.DONE)
    events = watch.poll()
    assert [event.png for event in events if isinstance(event, FrameMade)] == [b"frame1", b"frame2"]
    assert watch.over and store.blobs.read(sha) == b"frame1"


@pytest.mark.parametrize("asset", ["", "a", "../../etc/passwd"])
def test_names_that_are_no_hashes_do_not_spoil_the_sentence_about_them(asset: str) -> None:
    sentence = "The asset id is not a SHA-256 in 64 lower-case hex digits; send the file's hash."
    assert with_role(sentence, asset, "the portrait") == sentence
    assert with_role(f"The file {'a' * 64} is empty.", "a" * 64, "the portrait") == "The file of the portrait is empty."


def test_threads_that_end_leave_no_handles(tmp_path: Path) -> None:
    """Every dub has some of its own; their connections would wait for garbage to be collected."""
    database = Database(tmp_path / "list.sqlite")
    gc.disable()
    try:
        counts = [_after_some_threads(database) for _ in range(10)]
    finally:
        gc.enable()
    # SQLite keeps as many handles as were open at once.
    assert counts[-1] - counts[0] <= _AT_ONCE


def _after_some_threads(database: Database) -> int:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda _: database.rows("SELECT 1"), range(4 * _AT_ONCE)))
    process = psutil.Process()
    return process.num_handles() if sys.platform == "win32" else process.num_fds()


_AT_ONCE = 8
