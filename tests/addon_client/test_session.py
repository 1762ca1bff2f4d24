"""Jobs from files to saved frames, with the faults of real networks."""

import json
import os
import threading
from dataclasses import replace

import grpc
import pytest

from blender_addon.client.connection import Connection
from blender_addon.client.session import merged
from blender_addon.core.errors import AddonError
from blender_addon.core.events import (
    Connected,
    Disconnected,
    FramesSaved,
    JobAccepted,
    JobCancelled,
    JobFailed,
    JobFinished,
    JobProgress,
    JobWarning,
)
from blender_addon.core.manifest import read_manifest
from blender_addon.core.naming import frame_name
from tests.addon_client.stub_server import StubServer, pb, picture
from tests.limits import HANGS


def saved(plan):
    """Indices of the frames in the folder, each checked for its content."""
    pictures = {path.name: path.read_bytes() for path in plan.folder.glob("*.png")}
    indices = [index for index in range(plan.frame_count) if frame_name(index) in pictures]
    assert all(pictures[frame_name(index)] == picture(index) for index in indices)
    assert len(pictures) == len(indices)
    return indices


def test_a_whole_dub(server, session, plan):
    server.warnings = [(3, 5, "no_face", "No face in 2 frames.")]
    session.start(plan)
    assert session.end() == JobFinished("u1", 40)
    assert saved(plan) == list(range(40))
    (accepted,) = session.of(JobAccepted)
    assert (accepted.weights_name, accepted.weights_kind) == ("default", "untrained")
    assert session.of(JobWarning) == [JobWarning("u1", 3, 5, "no_face", "No face in 2 frames.")]
    assert {"connecting", "uploading", "frames"} <= {event.phase for event in session.of(JobProgress)}
    assert [(event.first, event.end) for event in session.of(FramesSaved)] == [(k, k + 1) for k in range(40)]


def test_manifest_tells_what_was_made(server, session, plan):
    server.warnings = [(3, 5, "no_face", "No face in 2 frames.")]
    session.start(plan)
    session.end()
    manifest = read_manifest(plan.folder)
    assert (manifest.plan, manifest.state, manifest.server_version) == (plan, "done", "9.9")
    assert manifest.job_id in server.jobs and len(manifest.warnings) == 1
    assert {source.sha256 for source in manifest.sources} == set(server.assets)
    assert manifest.weights.weights_id == "ab" * 32


def test_a_range_of_a_dub(session, plan):
    session.start(replace(plan, first=7, end=12))
    assert session.end() == JobFinished("u1", 5)
    assert saved(plan) == [7, 8, 9, 10, 11]


def test_reconnects_in_mid_stream_and_goes_on(server, session, plan):
    server.drop_at = [5, 5, 17]
    server.warnings = [(3, 5, "no_face", "No face.")]
    session.start(plan)
    assert session.end() == JobFinished("u1", 40)
    assert server.watched_from == [0, 5, 5, 17]
    assert saved(plan) == list(range(40))
    assert len(session.of(JobAccepted)) == 1
    assert len(read_manifest(plan.folder).warnings) == 1


def test_server_that_is_restarted_on_the_same_port(session_towards, plan):
    first = StubServer()
    first.hold_at = 6
    with first:
        session = session_towards(first.address)
        session.start(plan)
        assert first.holding.wait(HANGS)
        session.until(FramesSaved)
    second = StubServer(port=first.port)
    second.jobs = first.jobs
    with second:
        assert session.end() == JobFinished("u1", 40)
    assert second.watched_from[0] >= 1
    assert saved(plan) == list(range(40))


def test_server_that_forgot_the_job_gets_it_again(server, session, plan):
    session.resume(plan, "unknown", 0)
    assert session.end() == JobFinished("u1", 40)
    assert saved(plan) == list(range(40))


def test_upload_that_breaks_is_continued(server, session, plan):
    server.accept_bytes = 500_000
    session.start(plan)
    assert session.end() == JobFinished("u1", 40)
    assert server.assets and not server.partial


def test_resume_from_an_index(server, session, plan):
    session.start(plan)
    session.end()
    job_id = session.of(JobAccepted)[0].job_id
    again = replace(plan, uid="u2", folder=plan.folder.with_name("v002"))
    session.resume(again, job_id, 30)
    assert session.end("u2") == JobFinished("u2", 40)
    assert server.watched_from[-1] == 30
    assert saved(again) == list(range(30, 40))


def test_resume_finds_the_first_missing_frame(server, session, plan):
    session.start(plan)
    session.end()
    os.remove(plan.folder / frame_name(21))
    manifest = read_manifest(plan.folder)
    session.seen.clear()
    session.resume(plan, manifest.job_id)
    assert session.end() == JobFinished("u1", 40)
    assert server.watched_from[-1] == 21
    assert session.of(FramesSaved)[0] == FramesSaved("u1", 0, 21)
    assert read_manifest(plan.folder).sources == manifest.sources


def test_a_job_that_only_hangs_up_does_not_keep_the_next_one(server, session, plan, monkeypatch):
    asked, hang_up, hung_up = threading.Event(), Connection.__exit__, session._hung_up

    def hang_up_when_asked(*arguments):
        asked.wait(HANGS)
        hang_up(*arguments)

    def ask(uid):
        asked.set()
        return hung_up(uid)

    monkeypatch.setattr("blender_addon.client.session.HANGING_UP_SECONDS", HANGS)
    monkeypatch.setattr(Connection, "__exit__", hang_up_when_asked)
    monkeypatch.setattr(session, "_hung_up", ask)
    session.start(plan)
    session.end()
    assert "u1" in session.running()
    session.resume(plan, read_manifest(plan.folder).job_id)
    assert session.end() == JobFinished("u1", 40)


def test_cancel_keeps_the_frames_and_tells_the_server(server, session, plan):
    server.hold_at = 8
    session.start(plan)
    assert server.holding.wait(HANGS)
    session.cancel("u1")
    ended = session.end()
    assert isinstance(ended, JobCancelled)
    assert saved(plan) == list(range(ended.frames)) and ended.frames <= 8
    assert server.cancelled == list(server.jobs)
    assert read_manifest(plan.folder).state == "cancelled"


def test_cancel_while_no_server_answers(session_towards, plan):
    with StubServer() as gone:
        pass
    session = session_towards(gone.address)
    session.start(plan)
    session.until(JobProgress)
    session.cancel("u1")
    assert session.end() == JobCancelled("u1", 0)


def test_cancel_of_unknown_jobs_does_nothing(session):
    session.cancel("nobody")
    assert session.poll() == []


def test_nobody_answers(session_towards, plan):
    with StubServer() as gone:
        pass
    session = session_towards(gone.address, retry_for=0.5)
    session.start(plan)
    ended = session.end()
    assert isinstance(ended, JobFailed) and ended.retryable and "posedub serve" in ended.message


def test_refused_request_keeps_the_servers_sentence(server, session, plan):
    server.submit_error = (grpc.StatusCode.INVALID_ARGUMENT, "The photo shows no face; choose another.")
    session.start(plan)
    assert session.end() == JobFailed("u1", "The photo shows no face; choose another.", False)


def test_job_that_fails_on_the_server(server, session, plan):
    server.end_state, server.end_error = pb.DUB_STATE_FAILED, "Out of memory; close other programs."
    session.start(plan)
    assert session.end() == JobFailed("u1", "Out of memory; close other programs.", True)
    manifest = read_manifest(plan.folder)
    assert (manifest.state, manifest.error) == ("failed", "Out of memory; close other programs.")
    assert saved(plan) == list(range(40))


def test_job_that_somebody_else_cancelled(server, session, plan):
    server.end_state = pb.DUB_STATE_CANCELLED
    session.start(plan)
    assert session.end() == JobCancelled("u1", 40)


def test_wrong_token_and_wrong_protocol(session_towards, plan):
    with StubServer(token="right") as server:
        session = session_towards(server.address, "wrong")
        session.start(plan)
        assert "refused the token" in session.end().message
    with StubServer() as server:
        server.protocol = 2
        session = session_towards(server.address)
        session.start(plan)
        ended = session.end()
        assert "Update the add-on." in ended.message and not ended.retryable


def test_folder_that_cannot_be_made(session, plan, tmp_path):
    (tmp_path / "file").touch()
    session.start(replace(plan, folder=tmp_path / "file" / "v001"))
    assert "cannot be made" in session.end().message


def test_frames_that_cannot_be_written(server, session, plan):
    (plan.folder / frame_name(4)).mkdir(parents=True)
    session.start(plan)
    ended = session.end()
    assert isinstance(ended, JobFailed) and "could not be written" in ended.message


def test_plan_with_a_problem_does_not_start(session, plan):
    with pytest.raises(AddonError, match="seed"):
        session.start(replace(plan, seed=-1))
    assert session.poll() == []


def test_a_running_job_is_not_started_twice(server, session, plan):
    server.hold_at = 2
    session.start(plan)
    assert session.running() == {"u1"}
    with pytest.raises(AddonError, match="already"):
        session.start(plan)


def test_two_jobs_at_once(server, session, plan):
    server.hold_at = 20
    other = replace(plan, uid="u2", seed=7, folder=plan.folder.with_name("v002"))
    session.start(plan)
    session.start(other)
    while {event.uid for event in session.of(FramesSaved)} != {"u1", "u2"}:
        session.until(FramesSaved)
    server.hold_at = None
    server.go.set()
    assert {session.until(JobFinished).uid, session.until(JobFinished).uid} == {"u1", "u2"}
    assert saved(plan) == saved(other) == list(range(40))


def test_closing_detaches_without_a_word(server, session, plan):
    server.hold_at = 5
    session.start(plan)
    assert server.holding.wait(HANGS)
    session.close(wait=HANGS)
    assert session.running() == frozenset()
    assert not any(isinstance(event, (JobCancelled, JobFailed)) for event in session.poll())
    assert server.cancelled == []
    assert json.loads((plan.folder / "manifest.json").read_text())["state"] == "running"


def test_check_answers_in_the_background(server, session, session_towards):
    session.check()
    assert session.until(Connected, Disconnected).info.version == "9.9"
    server.protocol = 3
    session._check.join()
    session.check()
    assert "Update the add-on." in session.until(Connected, Disconnected).reason


def test_a_server_is_told_which_jobs_are_listed_as_takes(server, session):
    session.check(["one", "two"])
    assert session.until(Connected, Disconnected).info
    session._check.join()
    assert server.kept == ["one", "two"]


def test_merged_events():
    def frames(uid, first, end):
        return FramesSaved(uid, first, end)

    def step(uid, done):
        return JobProgress(uid, "frames", done, 9)

    warning = JobWarning("a", 0, 1, "no_face", "No face.")
    events = [frames("a", 0, 1), step("a", 1), frames("b", 0, 1), frames("a", 1, 2), step("a", 2), warning]
    events += [frames("a", 2, 3), frames("a", 3, 4), frames("a", 7, 8)]
    assert merged(events) == [
        frames("a", 0, 2),
        step("a", 2),
        frames("b", 0, 1),
        warning,
        frames("a", 2, 4),
        frames("a", 7, 8),
    ]


def test_poll_merges_what_came_meanwhile(server, session, plan):
    session.start(plan)
    session._jobs["u1"][1].join(HANGS)
    events = session.poll()
    assert [event for event in events if isinstance(event, FramesSaved)] == [FramesSaved("u1", 0, 40)]
    assert events[-1] == JobFinished("u1", 40)
    assert session.poll() == []
