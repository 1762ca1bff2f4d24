"""The protocol's generated messages; every other module takes them from here."""

from __future__ import annotations

from model_server.service.stubs import dubbing_pb2 as dubbing
from model_server.service.stubs import media_pb2 as media

__all__ = ["SERVICE", "dubbing", "media"]

SERVICE = dubbing.DESCRIPTOR.services_by_name["DubbingService"]
