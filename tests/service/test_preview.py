"""What a dub would take and how a frame of it looks, asked of a real server before the dub is made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model_server.errors import ErrorKind, PoseDubError
from model_server.files import file_digest
from model_server.jobs.model import Accepted, Ended, FrameMade, JobState
from model_server.pipeline.request import DubRequest, FootageSource, Output, PoseCodes, PoseFixed, PoseFrontal
from model_server.provenance.xmp import read_mark
from model_server.service.remote import Address, RemoteServer
from tests.servers import ServerProcess
from tests.service.test_server import frames_of, make_request, submit

FRAMES = 24


@pytest.fixture
def remote(remote: RemoteServer, media: Path) -> RemoteServer:
    for name in ("portrait.png", "speech.wav", "pose.mp4"):
        remote.add(file_digest(media / name), media / name)
    return remote


def generated(answer: Any) -> list[tuple[int, int]]:
    ranges = [(span.first, span.end) for span in answer.generated]
    assert answer.generated_frames == sum(end - first for first, end in ranges)
    return ranges


def made_by(remote: RemoteServer, media: Path, request: DubRequest) -> int:
    """Frames that a dub had to generate."""
    (*_, ended) = remote.events(submit(remote, media, request))
    assert isinstance(ended, Ended) and ended.job.state is JobState.DONE
    return ended.job.generated


def with_codes(media: Path, changed: range = range(0), seed: int = 0) -> DubRequest:
    rows = [(0.5 if k in changed else 0.0, *[0.0] * 11) for k in range(FRAMES)]
    return make_request(media, pose=PoseCodes(tuple(rows)), seed=seed)


def test_a_server_that_holds_nothing_would_generate_all(tmp_path: Path, media: Path) -> None:
    request = make_request(media)
    with ServerProcess(tmp_path / "data") as server, RemoteServer(Address(server.address)) as remote:
        answer = remote.estimate(request)
        assert (generated(answer), list(answer.unread)) == ([(0, FRAMES)], ["portrait", "pose", "speech"])
        with pytest.raises(PoseDubError) as caught:
            remote.preview(request.spec, 0)
    assert caught.value.kind is ErrorKind.NOT_FOUND


def test_an_estimate_names_the_frames_that_the_dub_then_generates(remote: RemoteServer, media: Path) -> None:
    first, changed = with_codes(media, seed=20), with_codes(media, range(9, 14), seed=20)
    assert generated(remote.estimate(first)) == [(0, FRAMES)]
    assert made_by(remote, media, first) == FRAMES
    assert generated(remote.estimate(first)) == []

    assert generated(remote.estimate(changed)) == [(9, 14)]
    assert generated(remote.estimate(replace(changed, first=12, end=20))) == [(12, 14)]
    assert made_by(remote, media, changed) == 5
    assert generated(remote.estimate(changed)) == []


def test_a_pose_movie_must_be_read_before_frames_can_be_told_apart(remote: RemoteServer, media: Path) -> None:
    request = make_request(media, seed=21)
    late = replace(request.spec.pose, start=request.spec.pose.start + 1)
    other = DubRequest(replace(request.spec, pose=late))
    made_by(remote, media, request)
    known, unread = remote.estimate(request), remote.estimate(other)
    assert (generated(known), list(known.unread)) == ([], [])
    assert (generated(unread), list(unread.unread)) == ([(0, FRAMES)], ["pose"])


def test_a_portraits_own_pose_must_be_read_once(remote: RemoteServer, media: Path) -> None:
    request = make_request(media, pose=PoseFixed(), size=320)
    assert list(remote.estimate(request).unread) == ["portrait"]
    remote.preview(request.spec, 3)
    answer = remote.estimate(request)
    assert (generated(answer), list(answer.unread)) == ([(0, 3), (4, FRAMES)], [])


def test_a_previewed_frame_is_the_dubs_and_need_not_be_made_again(remote: RemoteServer, media: Path) -> None:
    request = make_request(media, pose=PoseFrontal(), seed=22)
    png, approximate = remote.preview(request.spec, 7)
    assert not approximate
    assert generated(remote.estimate(request)) == [(0, 7), (8, FRAMES)]
    job = submit(remote, media, request)
    assert frames_of(remote, job)[7] == png and read_mark(png).job == job.id
    assert made_by(remote, media, request) == FRAMES - 1
    assert remote.preview(request.spec, 8) == (frames_of(remote, job)[8], False)


def test_a_preview_reads_no_more_of_a_pose_movie_than_it_must(remote: RemoteServer, media: Path) -> None:
    request = make_request(media, seed=23)
    spec = replace(request.spec, pose=replace(request.spec.pose, start=request.spec.pose.start / 3))
    png, approximate = remote.preview(spec, 5)
    assert approximate and png.startswith(b"\x89PNG")
    assert list(remote.estimate(DubRequest(spec)).unread) == ["pose"]


def test_a_preview_goes_between_two_frames_of_a_long_job(remote: RemoteServer, media: Path) -> None:
    long = submit(remote, media, make_request(media, seconds=60, pose=PoseFrontal(), seed=24))
    events = remote.events(long)
    assert isinstance(next(events), Accepted)
    before = next(event.index for event in events if isinstance(event, FrameMade))
    png, _ = remote.preview(make_request(media, pose=PoseFrontal(), seed=25).spec, 0)
    remote.cancel(long)
    (*_, ended) = events
    assert png.startswith(b"\x89PNG")
    assert before < ended.job.committed < long.request.spec.frame_count


def test_frames_outside_the_dub_are_refused(remote: RemoteServer, media: Path) -> None:
    with pytest.raises(PoseDubError, match="not inside the dub's frames"):
        remote.preview(make_request(media).spec, FRAMES)


def test_footage_must_be_looked_through_first(remote: RemoteServer, media: Path) -> None:
    asset = file_digest(media / "pose.mp4")
    into = Output("full_frame", FootageSource(asset))
    request = make_request(media, pose=PoseFrontal(), output=into)
    assert list(remote.estimate(request).unread) == ["footage"]
