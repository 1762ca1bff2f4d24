"""`posedub serve`: the model server."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from model_server.cli import console, store, worker
from model_server.cli import options as shared
from model_server.errors import PoseDubError
from model_server.service.address import PORT, ServerAddress, parse_host

NICENESS = 10


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Register the subcommand."""
    parser = commands.add_parser("serve", help="run the model server for Blender and remote commands")
    parser.set_defaults(run=run)
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (default: this machine only)")
    parser.add_argument(
        "--port", type=shared.whole(0, 65535), default=PORT, help=f"0 to 65535, 0 for any free one ({PORT})"
    )
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="callers must send its content")
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate chain, PEM")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key, PEM")
    parser.add_argument(
        "--tls-client-ca", type=Path, metavar="FILE", help="callers need a certificate of this authority, PEM"
    )
    parser.add_argument(
        "--store",
        type=shared.database_url,
        metavar="URL",
        help="postgresql://user@host/name that lists the dubs of several servers; --data is a folder they share",
    )
    parser.add_argument(
        "--blobs",
        type=shared.blobs_url,
        metavar="URL",
        help="where its files lie, as fsspec reads it: s3://bucket/folder; --data then holds copies of them",
    )
    parser.add_argument(
        "--metrics", metavar="[HOST:]PORT", help="serve Prometheus metrics, /healthz and /readyz there (127.0.0.1)"
    )
    parser.add_argument("--log-format", choices=("text", "json"), default="text", help="of the log, on stderr")
    parser.add_argument("--traces", metavar="FILE|otlp", help="OpenTelemetry spans of dubs: JSON lines, or a collector")
    worker.add_cluster_options(parser, "have Ray workers make the frames; auto: of this computer (--ray-cores each)")
    parser.add_argument("--exit-with", type=int, metavar="PID", help="leave when that process ends")
    shared.add_engine_options(parser)
    store.add_limits(parser)
    parser.add_argument(
        "--actor", type=Path, action="append", default=[], metavar="FILE",
        help="weights offered beside the others",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    from model_server.service.auth import Security
    from model_server.service.server import Config, serve

    console.log(form=console.JSON if options.log_format == "json" else console.LOG_FORMAT)
    _let_others_go_first()  # the processes that this one starts, too
    security = Security.read(options.token_file, options.tls_cert, options.tls_key, options.tls_client_ca)
    host = parse_host(options.host)
    security.check_host(host)
    making = worker.farm_of(options, shared.data_folder(options, "server"))
    config = Config(
        data=shared.data_folder(options, "server"),
        engines=shared.engine_pool(options, options.actor),
        host=host,
        port=options.port,
        security=security,
        parent=options.exit_with,
        limits=store.limits(options),
        store=options.store or "",
        blobs=options.blobs or "",
        making=making,
        metrics=_metrics_place(options.metrics),
    )
    with _traced(options.traces, config.data):
        serve(config)
    return 0


def _metrics_place(text: str | None) -> ServerAddress | None:
    """ "9100" or "0.0.0.0:9100"."""
    if text is None:
        return None
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise PoseDubError(f"--metrics {text} names no port; write for example 9100, or 0.0.0.0:9100.")
    return ServerAddress(parse_host(host or "127.0.0.1"), int(port))


@contextmanager
def _traced(target: str | None, data: Path) -> Iterator[None]:
    """Spans of the block go to `target`, if there is one."""
    from model_server import tracing

    finish = tracing.export(target, {"service.name": "posedub", "posedub.data": str(data)}) if target else None
    try:
        yield
    finally:
        if finish:
            finish()


def _let_others_go_first() -> None:
    """Blender and what else somebody works with on this computer stay quick while a dub takes all processors."""
    import psutil

    process = psutil.Process()
    with suppress(psutil.AccessDenied):
        process.nice(psutil.BELOW_NORMAL_PRIORITY_CLASS if psutil.WINDOWS else max(NICENESS, process.nice()))
