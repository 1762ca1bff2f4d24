"""The book of jobs follows the events and survives saving."""

from dataclasses import replace

import pytest

from blender_addon.core.events import (
    FramesSaved,
    JobAccepted,
    JobCancelled,
    JobFailed,
    JobFinished,
    JobProgress,
    JobWarning,
)
from blender_addon.core.jobs import JobBook

WARNING = JobWarning("u1", 1, 4, "no_face", "No face.")
UNTIL_RUNNING = [
    JobAccepted("u1", "j1", "default", "untrained"),
    JobProgress("u1", "frames", 3, 48, 0),
    FramesSaved("u1", 0, 3),
    WARNING,
    WARNING,
]


def book_after(plan, *events):
    book = JobBook()
    book.add(plan)
    for event in events:
        book.apply(event)
    return book


def test_events_up_to_running(plan):
    record = book_after(plan, *UNTIL_RUNNING).get("u1")
    assert (record.state, record.job_id, record.phase, record.done, record.total) == ("running", "j1", "frames", 3, 48)
    assert (record.saved, record.saved_end, record.warnings) == (3, 3, [WARNING])
    assert (record.weights_name, record.weights_kind) == ("default", "untrained")


@pytest.mark.parametrize(
    ("last", "state"),
    [(JobFinished("u1", 48), "done"), (JobCancelled("u1", 3), "cancelled"), (JobFailed("u1", "Full.", True), "failed")],
)
def test_ends(plan, last, state):
    book = book_after(plan, *UNTIL_RUNNING, last)
    assert book.get("u1").state == state
    assert book.unfinished() == []


def test_failure_keeps_its_sentence_until_accepted_again(plan):
    book = book_after(plan, *UNTIL_RUNNING, JobFailed("u1", "Full.", True))
    assert (book.get("u1").error, book.get("u1").retryable) == ("Full.", True)
    book.apply(UNTIL_RUNNING[0])
    assert (book.get("u1").error, book.get("u1").state) == ("", "running")


def test_events_of_unknown_jobs_are_ignored(plan):
    book = book_after(plan)
    assert book.apply(JobFinished("other", 1)) is None
    assert len(book) == 1 and book.get("u1").state == "starting"


def test_saved_frames_of_a_range_count_from_its_first(plan):
    book = book_after(replace(plan, first=10, end=20))
    assert book.get("u1").saved == 0
    book.apply(FramesSaved("u1", 10, 14))
    assert book.get("u1").saved == 4


def test_json_round_trip(plan):
    book = book_after(plan, *UNTIL_RUNNING)
    book.add(replace(plan, uid="u2"))
    again = JobBook.from_json(book.to_json())
    assert again.records == book.records
    assert [record.plan.uid for record in again.unfinished()] == ["u1", "u2"]


def test_records_that_cannot_be_read_are_left_out(plan):
    good = book_after(plan).to_json()[1:-1]
    assert list(JobBook.from_json(f'[{{"plan": 3}}, 7, {good}]').records) == ["u1"]


@pytest.mark.parametrize("text", ["", "nonsense", "{}", "3"])
def test_other_text_gives_an_empty_book(text):
    assert len(JobBook.from_json(text)) == 0


def test_removed_jobs_are_gone(plan):
    book = book_after(plan)
    book.remove("u1")
    book.remove("u1")
    assert list(book) == []
