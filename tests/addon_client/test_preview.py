"""What a dub would take, how a frame of it looks, and takes that keep frames of older ones; with a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from blender_addon.core.errors import AddonError
from blender_addon.core.events import DubEstimated, FramePreviewed, JobFailed, JobFinished, JobMeasured, PreviewFailed
from blender_addon.core.files import Digests, link_or_copy
from blender_addon.core.manifest import read_manifest
from blender_addon.core.naming import frame_name
from blender_addon.core.plan import DubPlan, FaceChoice, KeptFrames, PortraitSource, PoseSource, SpeechSource
from tests.addon_client.conftest import Watched
from tests.servers import ServerProcess

GLANCES = (DubEstimated, FramePreviewed, PreviewFailed)
FRAMES = 8
Towards = Callable[..., Watched]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("real") / "data") as server:
        yield server


@pytest.fixture
def still(media: Path, tmp_path: Path) -> DubPlan:
    return DubPlan(
        uid="u1",
        name="Drawing",
        folder=tmp_path / "v001",
        portrait=PortraitSource(media / "portrait.png", face=FaceChoice("aligned")),
        speech=SpeechSource(media / "speech.wav"),
        pose=PoseSource("codes", codes=((0.0,) * 12,) * FRAMES),
        fps=Fraction(25),
        frame_count=FRAMES,
        first=0,
        end=FRAMES,
    )


def version(plan: DubPlan, number: int, **changes: object) -> DubPlan:
    return replace(plan, uid=f"u{number}", folder=plan.folder.with_name(f"v{number:03}"), **changes)


def picture(plan: DubPlan, index: int) -> bytes:
    return (plan.folder / frame_name(index)).read_bytes()


def test_estimates_count_what_the_job_then_generates(
    real: ServerProcess, session_towards: Towards, still: DubPlan
) -> None:
    session = session_towards(real.address)
    session.start(still)
    session.end()
    turned = tuple((0.25 * (k in (3, 4)), *[0.0] * 11) for k in range(FRAMES))
    changed = version(still, 2, pose=PoseSource("codes", codes=turned))

    session.estimate(changed)
    assert session.until(*GLANCES) == DubEstimated("u2", ((3, 5),))
    session.start(changed)
    assert session.end("u2") == JobFinished("u2", FRAMES)
    session.start(version(still, 3))
    session.end("u3")

    measured = {event.uid: event.generated for event in session.of(JobMeasured)}
    assert measured == {"u1": FRAMES, "u2": 2, "u3": 0}
    manifest = read_manifest(changed.folder)
    assert manifest.generated == 2 and manifest.seconds > 0 and manifest.created > 0


def test_an_estimate_uploads_nothing(real: ServerProcess, session_towards: Towards, still: DubPlan) -> None:
    new = still.folder.parent / "new.wav"
    new.write_bytes(still.speech.file.read_bytes() + b"\0\0")
    session = session_towards(real.address)
    for uid in ("once", "again"):
        session.estimate(replace(still, uid=uid, speech=SpeechSource(new)))
        answer = session.until(*GLANCES, uid=uid)
        assert "speech" in answer.unread and answer.count == FRAMES


def test_a_preview_is_the_dubs_frame(real: ServerProcess, session_towards: Towards, still: DubPlan) -> None:
    plan, session = replace(still, seed=31), session_towards(real.address)
    session.preview(plan, 5)
    shown = session.until(*GLANCES)
    assert isinstance(shown, FramePreviewed) and not shown.approximate
    assert not plan.folder.exists()
    session.start(plan)
    session.end()
    assert picture(plan, 5) == shown.png
    assert session.of(JobMeasured)[0].generated == FRAMES - 1


def test_a_preview_that_fails_says_why(real: ServerProcess, session_towards: Towards, still: DubPlan) -> None:
    session = session_towards(real.address)
    session.preview(still, FRAMES)
    assert "not inside the dub's frames" in session.until(*GLANCES).message
    session.preview(replace(still, portrait=PortraitSource(still.portrait.file.with_name("gone.png"))), 0)
    assert "gone.png cannot be read" in session.until(*GLANCES).message


def test_a_take_keeps_the_frames_of_an_older_one(real: ServerProcess, session_towards: Towards, still: DubPlan) -> None:
    session = session_towards(real.address)
    session.start(still)
    session.end()
    part = version(still, 2, seed=32, first=2, end=4, kept=KeptFrames(still.folder, 0, FRAMES))
    session.start(part)
    assert session.end("u2") == JobFinished("u2", 2)
    same = [picture(part, k) == picture(still, k) for k in range(FRAMES)]
    assert same == [True, True, False, False, True, True, True, True]
    assert session.of(JobMeasured)[-1].generated == 2
    assert read_manifest(part.folder).plan == part


def test_a_take_whose_older_one_is_gone_says_so(real: ServerProcess, session_towards: Towards, still: DubPlan) -> None:
    session = session_towards(real.address)
    session.start(replace(still, first=2, end=4, kept=KeptFrames(still.folder.with_name("v000"), 0, FRAMES)))
    failed = session.end()
    assert isinstance(failed, JobFailed)
    assert "000000.png cannot be taken over" in failed.message


def test_digests_follow_a_file_that_changes(tmp_path: Path) -> None:
    digests, file = Digests(), tmp_path / "file"
    file.write_bytes(b"one")
    first = digests.sha256(file)
    read: list[None] = []
    assert digests.sha256(file, lambda: read.append(None)) == first and not read
    file.write_bytes(b"other")
    assert digests.sha256(file) != first
    file.unlink()
    with pytest.raises(AddonError, match="cannot be read"):
        digests.sha256(file)


def test_a_second_name_survives_the_first(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"frame")
    for _ in range(2):
        link_or_copy(tmp_path / "a", tmp_path / "b")
    (tmp_path / "a").unlink()
    assert (tmp_path / "b").read_bytes() == b"frame"
