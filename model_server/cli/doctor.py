"""`posedub doctor`: one report to read, or to send with a question."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import shutil
from collections.abc import Callable, Iterator

from model_server import __version__
from model_server.cli import options as shared
from model_server.surroundings import explained

PACKAGES = ("torch", "numpy", "av", "ai-edge-litert", "grpcio", "protobuf", "safetensors")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Register the subcommand."""
    parser = commands.add_parser("doctor", help="report on this installation")
    parser.set_defaults(run=run)
    shared.add_engine_options(parser)


def run(options: argparse.Namespace) -> int:
    """Print the report; 1 when a part does not work."""
    sound = True
    for name, check in _checks(options):
        try:
            print(f"{name:12} {check()}")
        except Exception as error:  # the other parts are to be reported, too
            problem = error if isinstance(error, ImportError) else explained(error)
            if problem is None:
                raise
            sound = False
            print(f"{name:12} PROBLEM: {problem}")
    return 0 if sound else 1


def _checks(options: argparse.Namespace) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "posedub", lambda: __version__
    yield "python", lambda: f"{platform.python_version()} on {platform.platform()}"
    for name in PACKAGES:
        yield name, lambda name=name: importlib.metadata.version(name)  # type: ignore[misc]
    yield "memory", _memory
    yield "data", lambda: _data(options)
    yield "device", lambda: _device(options)
    yield "weights", lambda: _weights(options)
    yield "faces", _faces
    yield "decoders", _decoders


def _memory() -> str:
    import psutil

    memory = psutil.virtual_memory()
    return f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free, {psutil.cpu_count()} processors"


def _data(options: argparse.Namespace) -> str:
    folder = shared.data_folder(options, "server")
    return f"{folder}, {shutil.disk_usage(folder).free / 2**30:.1f} GiB free"


def _device(options: argparse.Namespace) -> str:
    import torch

    from model_server.engines.device import device_name

    pool = shared.engine_pool(options)
    name = f"{torch.get_num_threads()} threads" if pool.device == "cpu" else device_name(pool.device)
    pool.engine()
    return " ".join([f"{pool.device}, {name}", *pool.notices])


def _weights(options: argparse.Namespace) -> str:
    pool = shared.engine_pool(options)
    precision = pool.engine().precision
    return ", ".join(f"{one.name} ({one.preset}, {one.kind})" for one in pool.weights) + f"; drawn in {precision}"


def _faces() -> str:
    import numpy as np

    from model_server.pipeline.faces.finder import FaceFinder

    found = FaceFinder().find(np.zeros((224, 224, 3), np.uint8))
    return f"face finder works ({len(found)} faces in an empty picture)"


def _decoders() -> str:
    from model_server.sandbox import limits

    lacking = limits.lacking()
    return f"not kept from: {'; '.join(lacking)}" if lacking else "read one file each, nothing else, within limits"
