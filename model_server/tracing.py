"""Spans of OpenTelemetry; nothing happens where it is not installed or no traces are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from model_server import __version__
from model_server.errors import ErrorKind, PoseDubError

OTLP = "otlp"
_LACKING = "Traces need OpenTelemetry ({}); install it: pip install {}."


@contextmanager
def span(name: str, **attributes: str | int) -> Iterator[None]:
    """Trace what the block does."""
    try:
        from opentelemetry import trace
    except ImportError:
        yield
        return
    with trace.get_tracer("posedub", __version__).start_as_current_span(name, attributes=attributes):
        yield


class Phases:
    """One span after the other, each as long as a phase lasts, below the span that was current at first."""

    def __init__(self) -> None:
        self._end: Callable[[], None] = lambda: None

    def begin(self, phase: str) -> None:
        """A phase begins where the one before it ends."""
        self.end()
        try:
            from opentelemetry import trace
        except ImportError:
            return
        self._end = trace.get_tracer("posedub", __version__).start_span(phase).end

    def end(self) -> None:
        """The last phase is over."""
        self._end()
        self._end = lambda: None


def export(target: str, resource: Mapping[str, str]) -> Callable[[], None]:
    """Send all spans of this process to `target` from now on; returns what sends the last ones.

    Args:
        target: a file for JSON lines, or "otlp" for the collector that OTEL_EXPORTER_OTLP_ENDPOINT names.
        resource: what names this process.

    Raises:
        PoseDubError: OpenTelemetry is not installed, or the file cannot be written.
    """
    try:
        from opentelemetry import trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        sentence = _LACKING.format("opentelemetry-sdk", "'posedub[studio]'")
        raise PoseDubError(sentence, ErrorKind.UNSUPPORTED) from error
    provider = TracerProvider(resource=Resource.create(dict(resource)))
    provider.add_span_processor(BatchSpanProcessor(_otlp() if target == OTLP else _file(Path(target))))
    trace.set_tracer_provider(provider)
    return provider.shutdown


def _otlp() -> Any:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        name = "opentelemetry-exporter-otlp-proto-http"
        raise PoseDubError(_LACKING.format(name, name), ErrorKind.UNSUPPORTED) from error
    return OTLPSpanExporter()


def _file(path: Path) -> Any:
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter

    try:
        out = path.open("a", encoding="utf-8")
    except OSError as error:
        raise PoseDubError(f"Traces cannot be written to {path} ({error.strerror}); choose another file.") from error
    return ConsoleSpanExporter(out=out, formatter=lambda one: one.to_json(indent=None) + "\n")
