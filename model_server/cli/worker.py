"""`posedub worker`: lends this computer to a Ray cluster; and how `posedub serve` finds it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from model_server.cli import options as shared
from model_server.cli import watcher
from model_server.errors import PoseDubError

if TYPE_CHECKING:
    from model_server.jobs.execution.engine_pool import EnginePool
    from model_server.jobs.execution.making import Making
    from model_server.jobs.store import Store

TOKEN = "ray-token"


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Register the subcommand."""
    parser = commands.add_parser("worker", help="lend this computer's processors or GPUs to a Ray cluster")
    parser.set_defaults(run=run)
    add_cluster_options(parser, "the cluster's head, HOST:PORT (6379)", required=True)
    parser.add_argument("--head", action="store_true", help="be the head of a new cluster, at the address of --ray")
    parser.add_argument("--workers", type=shared.whole(0), metavar="N", help="(default: GPUs, else cores/--ray-cores)")
    parser.add_argument("--node", metavar="IP", help="this computer's address in the cluster (default: as found)")
    parser.add_argument("--object-store-mib", type=shared.whole(80), default=512, metavar="N", help="(512)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data folder (default: the user's)")


def add_cluster_options(parser: argparse.ArgumentParser, text: str, required: bool = False) -> None:
    """--ray, --ray-token and --ray-cores."""
    parser.add_argument("--ray", required=required, metavar="HOST:PORT" if required else "HOST:PORT|auto", help=text)
    parser.add_argument(
        "--ray-token", type=Path, metavar="FILE", help="the cluster's token (default: in the data folder)"
    )
    parser.add_argument("--ray-cores", type=shared.whole(1), default=1, metavar="N", help="of a worker without GPU (1)")


def farm_of(options: argparse.Namespace, data: Path) -> Callable[[Store, EnginePool, threading.Event], Making] | None:
    """What joins the cluster of --ray; None without."""
    if not options.ray:
        return None

    def join(store: Store, engines: EnginePool, stopping: threading.Event) -> Making:
        from model_server.jobs.execution.ray_workers.cluster import Cluster, ClusterConfig
        from model_server.jobs.execution.ray_workers.farm import Farm

        cluster = Cluster(ClusterConfig(options.ray, options.ray_token or data / TOKEN, options.ray_cores))
        watcher.depend_on_cluster(*cluster.head)
        device = options.device if options.device != "auto" else "cuda" if cluster.has_gpus else "cpu"
        engines.drawing_device = device
        return Farm(cluster, store, engines, device, stopping)

    return join


def run(options: argparse.Namespace) -> int:
    """Be a node of the cluster until told to end."""
    from model_server.engines.device import available
    from model_server.jobs.execution.ray_workers import cluster, node

    node.authenticate(options.ray_token or shared.data_folder(options, "server") / TOKEN, make=options.head)
    cluster.ray_library()
    gpus = _gpus() if available("cuda") else 0
    cores = os.cpu_count() or 1
    workers = options.workers if options.workers is not None else gpus or max(cores // options.ray_cores, 1)
    command = node.start_command(
        options.ray,
        {cluster.RESOURCE: workers},
        head=options.head,
        gpus=gpus,
        node=options.node,
        store_mib=options.object_store_mib,
    )
    with subprocess.Popen(command, stderr=sys.stderr) as process:
        try:
            if process.wait():
                raise PoseDubError(f"Ray ended with code {process.returncode}; what it says is above.")
            return 0
        finally:
            process.terminate()
            process.wait(node.END_SECONDS)


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()
