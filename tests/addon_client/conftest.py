"""A server on loopback, a session towards it, a plan with real files, and waiting for events."""

from fractions import Fraction

import pytest

from blender_addon.client.connection import Endpoint
from blender_addon.client.session import Session
from blender_addon.core.events import JobCancelled, JobFailed, JobFinished
from blender_addon.core.faces import FaceChoice
from blender_addon.core.plan import DubPlan, PortraitSource, PoseSource, SpeechSource
from tests.addon_client.stub_server import StubServer
from tests.limits import HANGS

LAST = (JobFinished, JobCancelled, JobFailed)


@pytest.fixture
def server():
    with StubServer() as running:
        running.version = "9.9"
        yield running


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "face.png").write_bytes(b"face" * 1000)
    (tmp_path / "speech.wav").write_bytes(bytes(range(256)) * 4096)  # 1 MiB: several chunks
    (tmp_path / "pose.mp4").write_bytes(b"pose")
    return DubPlan(
        uid="u1",
        name="Anna",
        folder=tmp_path / "dubs" / "v001",
        portrait=PortraitSource(tmp_path / "face.png", Fraction(1, 24), FaceChoice("auto", (0.25, 0.5))),
        speech=SpeechSource(tmp_path / "speech.wav"),
        pose=PoseSource("video", tmp_path / "pose.mp4", FaceChoice("aligned"), Fraction(7, 24), Fraction(1001, 1000)),
        fps=Fraction(24000, 1001),
        frame_count=40,
        first=0,
        end=40,
    )


class Watched(Session):
    """A session that lets a test block until an event comes."""

    def __init__(self, endpoint, retry_for=HANGS):
        super().__init__(endpoint, retry_for)
        self.seen = []

    def until(self, *kinds, uid=None, timeout=HANGS):
        """Events up to and including the first of these kinds."""
        while True:
            event = self._events.get(timeout=timeout)
            self.seen.append(event)
            if isinstance(event, kinds) and (uid is None or event.uid == uid):
                return event

    def end(self, uid="u1"):
        """The last event of a job."""
        return self.until(*LAST, uid=uid)

    def of(self, kind):
        return [event for event in self.seen if isinstance(event, kind)]


@pytest.fixture
def session(server):
    made = Watched(Endpoint(server.address))
    yield made
    server.go.set()
    made.close(wait=HANGS)


@pytest.fixture
def session_towards():
    made = []

    def make(address, token="", **options):
        made.append(Watched(Endpoint(address, token), **options))
        return made[-1]

    yield make
    for one in made:
        one.close(wait=HANGS)
