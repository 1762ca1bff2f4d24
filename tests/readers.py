"""The processes in which this one has files read."""

from __future__ import annotations

import psutil


def readers() -> set[psutil.Process]:
    """Those that run now."""
    servers = [one for one in psutil.Process().children() if "fork_server" in " ".join(one.cmdline())]
    return {child for server in servers for child in server.children()}
