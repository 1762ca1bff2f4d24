"""A small gRPC server that speaks the real contract over loopback, with faults on demand.

It keeps uploads and jobs like the model server does, but its frames are tiny
byte strings that name their index.
"""

import hashlib
import threading
from concurrent import futures

import grpc
from google.protobuf.message_factory import GetMessageClass

from blender_addon.client.stubs import dubbing_pb2 as pb
from blender_addon.client.stubs import media_pb2 as media
from blender_addon.core.version import VERSION
from tests.limits import HANGS


def picture(index):
    return b"\x89PNG frame %d" % index


class StubServer:
    """Start with `with`; attributes may be changed while it runs."""

    def __init__(self, token="", port=0, credentials=None):
        self.token, self.port, self.credentials = token, port, credentials
        self.protocol = 1
        self.assets, self.partial = {}, {}
        self.jobs = {}
        self.watches = []
        self.watched_from = []
        self.accept_bytes = None  # abort an upload after so many bytes
        self.drop_at = []  # frame indices at which a watch is cut, once each
        self.version = VERSION
        self.hold_at = None  # frame index at which a watch waits for `go`
        self.go = threading.Event()
        self.holding = threading.Event()
        self.warnings = []  # (first, end, kind, message)
        self.end_state, self.end_error = pb.DUB_STATE_DONE, ""
        self.submit_error = self.upload_error = None  # (code, details)
        self.cancelled, self.kept = [], []
        self._server = None

    def __enter__(self):
        self._server = grpc.server(futures.ThreadPoolExecutor(16), interceptors=[_Token(self)])
        self._server.add_generic_rpc_handlers([_handlers(self)])
        if self.credentials:
            self.port = self._server.add_secure_port(self.address, self.credentials)
        else:
            self.port = self._server.add_insecure_port(self.address)
        self._server.start()
        return self

    def __exit__(self, *_exception):
        self.stop()

    def stop(self):
        ended = self._server.stop(0)  # first: a watch that is let go would else go on to its end
        self.go.set()
        ended.wait()
        self.go.clear()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def GetServerInfo(self, _request, _context):
        weights = pb.Weights(weights_id="ab" * 32, name="default", kind=pb.WEIGHTS_KIND_UNTRAINED, preset="lite")
        return pb.GetServerInfoResponse(
            version=self.version,
            protocol=self.protocol,
            device="cpu",
            engines=[pb.Engine(name="pcavs", weights=[weights])],
        )

    def GetAsset(self, request, _context):
        asset = request.asset_id
        return pb.GetAssetResponse(complete=asset in self.assets, received_bytes=len(self.partial.get(asset, b"")))

    def UploadAsset(self, requests, context):
        first = next(requests)
        if self.upload_error:
            context.abort(*self.upload_error)
        asset, at, message = first.asset_id, first.offset, first
        while message is not None:
            held = self.partial.setdefault(asset, bytearray())
            if at > len(held):
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"The upload skips to {at}; send on from {len(held)}.")
            held[at : at + len(message.chunk)] = message.chunk
            at += len(message.chunk)
            if self.accept_bytes is not None and at >= self.accept_bytes:
                self.accept_bytes = None
                context.abort(grpc.StatusCode.UNAVAILABLE, "going down")
            if at == first.total_bytes and asset not in self.assets:
                assert hashlib.sha256(held).hexdigest() == asset
                self.assets[asset] = bytes(self.partial.pop(asset))
            message = next(requests, None)
        return pb.UploadAssetResponse(complete=asset in self.assets, received_bytes=at)

    def AnalyzeFaces(self, request, context):
        if request.asset_id not in self.assets:
            context.abort(grpc.StatusCode.NOT_FOUND, "The picture was not uploaded; send it.")
        eye = media.Point(x=0.25, y=0.25)
        face = media.Face(left=0.25, top=0.125, right=0.5, bottom=0.5, score=0.75, left_eye=eye)
        return pb.AnalyzeFacesResponse(faces=[face], width=640, height=480)

    def ExtractPose(self, request, _context):
        for first in range(0, len(request.times), 2):
            rows = request.times[first : first + 2]
            values = [float(time.numerator) / time.denominator for time in rows for _ in range(12)]
            lids = [0.5 if time.numerator else 0.0 for time in rows]
            yield pb.ExtractPoseResponse(
                first=first, values=values, without_face=[media.FrameRange(first=first, end=first + 1)], lids=lids
            )

    def PoseFromSpeech(self, request, context):
        if request.speech.asset_id not in self.assets:
            context.abort(grpc.StatusCode.NOT_FOUND, "The sound was not uploaded; send it.")
        for first in range(0, request.frame_count, 2):
            rows = range(first, min(first + 2, request.frame_count))
            yield pb.PoseFromSpeechResponse(first=first, angles=[value for k in rows for value in (k, request.seed, 0)])

    def SubmitDub(self, request, context):
        if self.submit_error:
            context.abort(*self.submit_error)
        job_id = hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()[:12]
        self.jobs.setdefault(job_id, request)
        return pb.SubmitDubResponse(dub=self._dub(job_id, pb.DUB_STATE_QUEUED))

    def _dub(self, job_id, state, error=""):
        info = self.GetServerInfo(None, None)
        return pb.Dub(
            job_id=job_id,
            state=state,
            frames=self.jobs[job_id].frames,
            error=error,
            weights=info.engines[0].weights[0],
        )

    def WatchDub(self, request, context):
        if request.job_id not in self.jobs:
            context.abort(grpc.StatusCode.NOT_FOUND, "No such job; submit it again.")
        self.watched_from.append(request.from_index)
        make = pb.WatchDubResponse
        wanted = self.jobs[request.job_id].frames
        yield make(accepted=make.Accepted(dub=self._dub(request.job_id, pb.DUB_STATE_RUNNING)))
        for first, end, kind, message in self.warnings:
            frames = media.FrameRange(first=first, end=end)
            yield make(warning=make.Warning(frames=frames, kind=kind, message=message))
        for index in range(max(request.from_index, wanted.first), wanted.end):
            self._hinder(index, context)
            yield make(progress=make.Progress(phase="frames", done=index, total=wanted.end))
            yield make(frame=make.Frame(index=index, png=picture(index)))
        yield make(done=make.Done(dub=self._dub(request.job_id, self.end_state, self.end_error)))

    def _hinder(self, index, context):
        if index in self.drop_at:
            self.drop_at.remove(index)
            context.abort(grpc.StatusCode.UNAVAILABLE, "going down")
        if index == self.hold_at:
            self.holding.set()
            context.add_callback(self.go.set)
            self.go.wait(HANGS)

    def CancelDub(self, request, _context):
        self.cancelled.append(request.job_id)
        return pb.CancelDubResponse(dub=self._dub(request.job_id, pb.DUB_STATE_CANCELLED))

    def ListDubs(self, request, _context):
        self.kept += request.kept
        dubs = [self._dub(job_id, pb.DUB_STATE_DONE) for job_id in self.jobs]
        return pb.ListDubsResponse(dubs=dubs[: request.limit or 100])

    def EstimateDub(self, request, _context):
        known = all(asset in self.assets for asset in (request.spec.portrait.asset_id, request.spec.speech.asset_id))
        count = request.frames.end - request.frames.first
        return pb.EstimateDubResponse(
            generated=[request.frames], generated_frames=count, unread=[] if known else ["portrait"]
        )

    def PreviewFrame(self, request, _context):
        png = picture(request.index)
        for part in (png[:3], png[3:]):
            yield pb.PreviewFrameResponse(png=part, approximate=True)


def _handlers(server):
    service = pb.DESCRIPTOR.services_by_name["DubbingService"]
    handlers = {}
    for method in service.methods:
        shape = "_".join("stream" if side else "unary" for side in (method.client_streaming, method.server_streaming))
        make = getattr(grpc, f"{shape}_rpc_method_handler")
        handlers[method.name] = make(
            getattr(server, method.name),
            GetMessageClass(method.input_type).FromString,
            GetMessageClass(method.output_type).SerializeToString,
        )
    return grpc.method_handlers_generic_handler(service.full_name, handlers)


class _Token(grpc.ServerInterceptor):
    """Refuses calls without the server's token, with a handler of the same shape."""

    def __init__(self, server):
        self.server = server

    def intercept_service(self, continuation, details):
        handler = continuation(details)
        sent = dict(details.invocation_metadata).get("authorization", "")
        if not self.server.token or sent == f"Bearer {self.server.token}":
            return handler
        shape = "_".join(
            "stream" if side else "unary" for side in (handler.request_streaming, handler.response_streaming)
        )
        make = getattr(grpc, f"{shape}_rpc_method_handler")

        def refuse(_request, context):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "Wrong token.")

        return make(refuse, handler.request_deserializer, handler.response_serializer)
