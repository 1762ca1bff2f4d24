"""The link to the model server: which one, whether it answers, and the sessions towards it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, replace

import bpy

from ...client.connection import Endpoint
from ...client.server_process import ServerState
from ...client.session import Session
from ...client.tasks.dub import RECONNECTING
from ...core.engines import POSE_SIZE, USUAL, Offer
from ...core.errors import AddonError
from ...core.events import Connected, Disconnected, JobEvent, JobProgress, QueryEvent, ServerInfo
from ...core.pose_map import PoseMap, in_degrees
from .. import preferences
from ..planning import scene_reading
from ..planning.scene_reading import SceneReading
from .managed_server import ManagedServer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What is sent to a server as soon as that runs.

    Attributes:
        send: hands it to the session of the endpoint.
        failed: told why it could not be sent.
        after: work in the background that must be done before; None for none.
    """

    endpoint: Endpoint
    send: Callable[[Session], object]
    failed: Callable[[Exception], object]
    after: Future[None] | None = None


class ServerLink:
    """The server of the preferences.

    Args:
        listed: tells the jobs whose takes are listed, which a server is to keep.

    Attributes:
        server: the one managed on this machine, if the preferences say so.
        info: the server that answered last; None before.
        problem: why none answers, a sentence; "" when one does, or none was asked.
        checking: whether an answer is awaited.
    """

    def __init__(self, listed: Callable[[], Iterable[str]] = tuple) -> None:
        self._listed = listed
        self.server = ManagedServer()
        self.info: ServerInfo | None = None
        self.problem = ""
        self.checking = False
        self._wanted = False
        self._asked: Endpoint | None = None
        self._told_by: Endpoint | None = None
        self._sessions: dict[Endpoint, Session] = {}
        self._requests: dict[str, Request] = {}

    @property
    def changing(self) -> bool:
        """Whether the managed server is about to run or fail, or an answer is awaited."""
        return self.server.changing or self.checking or self._wanted

    def offer(self, scene: bpy.types.Scene) -> Offer:
        """What the scene's weights take of a dub, where the preferences' server has told; the usual before."""
        return self.offer_of(self._chosen(scene))

    def offer_of(self, weights_id: str) -> Offer:
        """The same of other weights, the server's default ones for ""."""
        if self.info is None or self._told_by != preferences.endpoint(preferences.settings()):
            return USUAL
        return replace(self.info.offer(weights_id), weights_id=weights_id)

    def _chosen(self, scene: bpy.types.Scene) -> str:
        """Id of the weights that the scene names; "" for the default, and where the server has no such."""
        name = scene.posedub.weights
        return name if self.info and self.info.offered(name) else ""

    def read(self, scene: bpy.types.Scene) -> SceneReading:
        """The scene as it is now, for a dub that this server makes."""
        return scene_reading.read(scene, self.offer(scene))

    def pose_map_problem(self, scene: bpy.types.Scene) -> str:
        """Why head angles mean nothing to the scene's weights, a sentence; "" when they do."""
        if self.info is None:
            return "Connect to the server first: its weights tell which way the head turns."
        return "" if self._pose_map(scene) else "The server's weights do not tell head angles; use trained ones."

    def _pose_map(self, scene: bpy.types.Scene) -> PoseMap | None:
        if self.offer(scene).engine.in_angles:
            return in_degrees(POSE_SIZE)
        weights = self.info.offered(self._chosen(scene)) if self.info else None
        return weights.pose_map if weights else None

    def require_pose_map(self, scene: bpy.types.Scene) -> PoseMap:
        """How the scene's weights tell head angles; raises AddonError."""
        if (found := self._pose_map(scene)) is None:
            raise AddonError(self.pose_map_problem(scene))
        return found

    def reach(self) -> Endpoint:
        """The endpoint of the preferences; its managed server is started. Raises AddonError."""
        settings = preferences.settings()
        endpoint = self._allowed()
        if settings.mode == "local":
            self.server.start(settings)
        elif self.info is None and not self.checking:
            self.check()  # a managed server is asked when it runs
        return endpoint

    def _allowed(self) -> Endpoint:
        endpoint = preferences.endpoint(preferences.settings())
        if not endpoint.loopback and not bpy.app.online_access:
            raise AddonError(
                f"Blender may not reach {endpoint.address}.",
                "Allow online access in Preferences > System, or use a server on this computer.",
            )
        return endpoint

    def start_server(self) -> None:
        """Start the managed server, and ask it for its version when it runs; raises AddonError."""
        self.info, self.problem = None, ""
        self.reach()

    def stop_server(self) -> None:
        """Stop the managed server."""
        self.info, self.problem = None, ""
        self.server.stop()

    def stop_for_setup(self) -> Callable[[], None]:
        """Stop the managed server before its files change; returns what waits for its end."""
        self.info, self.problem = None, ""
        return self.server.stop_for_setup()

    def check(self) -> None:
        """Ask the server for its version and weights; answered in `step`. Raises AddonError."""
        self.info, self.problem = None, ""
        self.session(self._allowed()).check(self._listed())
        self.checking = True

    def wanted(self) -> None:
        """It would be good to know the server: ask the one at an address, once; a managed one is asked anyway."""
        self._wanted = True

    def _check_wanted(self) -> None:
        self._wanted = False
        try:
            asked = preferences.settings().mode == "address" and self._allowed()
        except AddonError:
            return
        if asked and asked != self._asked:
            self._asked = asked
            self.check()

    def current(self) -> Endpoint:
        """The endpoint of the preferences, as it is; raises AddonError."""
        return self._allowed()

    def session(self, endpoint: Endpoint) -> Session:
        """The session towards an endpoint, made on first use."""
        if endpoint not in self._sessions:
            self._sessions[endpoint] = Session(endpoint)
        return self._sessions[endpoint]

    def send(self, uid: str, request: Request) -> None:
        """Have a request sent when the server runs, by `send_ready`."""
        self._requests[uid] = request

    @property
    def sending(self) -> bool:
        """Whether any request is yet to be sent."""
        return bool(self._requests)

    def waits(self, uid: str) -> bool:
        """Whether a request is yet to be sent."""
        return uid in self._requests

    def withdraw(self, uid: str) -> bool:
        """Do not send a request; whether it had not been sent."""
        return self._requests.pop(uid, None) is not None

    def send_ready(self) -> bool:
        """Send what has waited long enough; whether there was any."""
        ready = [] if self.server.starting else list(self._requests.items())
        ready = [(uid, request) for uid, request in ready if request.after is None or request.after.done()]
        for uid, request in ready:
            del self._requests[uid]
            self._send(request)
        return bool(ready)

    def _send(self, request: Request) -> None:
        try:
            if request.after is not None:
                request.after.result()
            self.server.require(request.endpoint)
            request.send(self.session(request.endpoint))
        except Exception as error:  # noqa: BLE001 - boundary of one request: the others go on
            if not isinstance(error, AddonError):
                log.exception("request")
            request.failed(error)

    def cancel(self, uid: str) -> None:
        """Stop a job or a query, whichever session has it, if any."""
        self.withdraw(uid)
        for session in self._sessions.values():
            session.cancel(uid)

    def leave(self, uid: str) -> None:
        """Leave a job to its server, whichever session has it."""
        for session in self._sessions.values():
            session.leave(uid)

    def step(self) -> tuple[list[JobEvent | QueryEvent], bool]:
        """What happened to jobs and to what was asked beside them, and whether anything about the server changed."""
        changed = self.server.step()
        jobs: list[JobEvent | QueryEvent] = []
        if self._wanted:
            self._check_wanted()
        if changed:
            self._follow_server()
        told = [(endpoint, event) for endpoint, session in list(self._sessions.items()) for event in session.poll()]
        for endpoint, event in told:
            if isinstance(event, JobProgress) and event.phase == RECONNECTING:
                self._recover(endpoint)
            if isinstance(event, Connected):
                self.info, self.problem, self.checking, changed = event.info, "", False, True
                self._told_by = endpoint
            elif isinstance(event, Disconnected):
                self.info, self.problem, self.checking, changed = None, event.reason, False, True
            else:
                jobs.append(event)
        return jobs, changed

    def _recover(self, endpoint: Endpoint) -> None:
        """The server of a job went away; a Blender that managed it may have been closed."""
        settings = preferences.settings()
        if settings.mode == "local" and preferences.endpoint(settings) == endpoint:
            try:
                self.server.take_over(settings)
            except AddonError as error:
                self.problem = str(error)

    def _follow_server(self) -> None:
        if self.server.state is ServerState.RUNNING:
            self.check()
        elif self.server.state is ServerState.FAILED:
            self.info, self.problem = None, self.server.advice

    def detach(self) -> None:
        """Leave all jobs to their servers, and send nothing more."""
        for request in self._requests.values():
            if request.after:
                request.after.cancel()
        self._requests.clear()
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()
        self.checking, self._asked = False, None

    def close(self) -> None:
        """Detach, and stop the managed server if the add-on started it."""
        self.detach()
        self.server.stop()
