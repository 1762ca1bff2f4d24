"""`posedub serve`: the model server."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from model_server.cli import options as shared

NICENESS = 10
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Register the subcommand."""
    parser = commands.add_parser("serve", help="run the model server for Blender and remote commands")
    parser.set_defaults(run=run)
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (default: this machine only)")
    parser.add_argument("--port", type=int, default=50761)
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="callers must send its content")
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate chain, PEM")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key, PEM")
    parser.add_argument("--exit-with", type=int, metavar="PID", help="leave when that process ends")
    shared.add_engine_options(parser)


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    from model_server.service.auth import Security
    from model_server.service.server import Config, serve

    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    _let_others_go_first()
    security = Security.read(options.token_file, options.tls_cert, options.tls_key)
    security.check_host(options.host)
    config = Config(
        data=shared.data_folder(options, "server"),
        engines=shared.engine_pool(options),
        host=options.host,
        port=options.port,
        security=security,
        parent=options.exit_with,
    )
    serve(config)
    return 0


def _let_others_go_first() -> None:
    """Blender and what else somebody works with on this computer stay quick while a dub takes all processors."""
    import psutil

    psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS if psutil.WINDOWS else NICENESS)
