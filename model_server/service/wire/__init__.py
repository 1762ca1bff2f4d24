"""Dataclasses to protocol messages and back; the only place that knows the stubs' fields."""

from model_server.service.wire.jobs import (
    estimate_message,
    event_messages,
    events_of,
    job_message,
    job_of,
    preview_messages,
)
from model_server.service.wire.offer import PROTOCOL, engine_messages, sizes_of, traits_of
from model_server.service.wire.spec import (
    reading_of,
    request_message,
    request_of,
    spec_message,
    spec_of,
    speech_pose_of,
)
from model_server.service.wire.values import face_selection, found_face_message, fraction, viewer_of

__all__ = [
    "PROTOCOL",
    "engine_messages",
    "estimate_message",
    "event_messages",
    "events_of",
    "face_selection",
    "found_face_message",
    "fraction",
    "job_message",
    "job_of",
    "preview_messages",
    "reading_of",
    "request_message",
    "request_of",
    "spec_message",
    "spec_of",
    "sizes_of",
    "speech_pose_of",
    "traits_of",
    "viewer_of",
]
