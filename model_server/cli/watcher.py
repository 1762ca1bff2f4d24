"""A second process that lives as long as the command's, for the one sentence that a process ended at once cannot say.

Systems end the largest process when memory runs out, and native libraries end their own. The watcher also takes what
such libraries write to stderr, which no setting turns off, and keeps it to itself.
"""

from __future__ import annotations

import os
import re
import signal
import socket
from contextlib import suppress
from threading import Event

SENTENCE = (
    "\nposedub: ended by the system or by a library, most likely out of memory; close other programs or choose smaller "
    "pictures, then try again.\n"
)
HEAD_GONE = (
    "\nposedub: the head of the Ray cluster at {place} does not answer any more, and Ray ended the server with it; "
    "start the head again, then this command: what is made is kept, and dubs go on by themselves.\n"
)
_GOODBYE = b"\0goodbye\0"
_CLUSTER = re.compile(rb"\0cluster ([^ \0]+) ([0-9]+)\0")
# Bytes in which a word to the watcher is found, whatever libraries write around it.
_WORD = 512
_ANSWER_SECONDS = 2.0
_begun = Event()


def begin() -> None:
    """Let a watcher take what is written to file 2, until `dismiss`; where there can be none, it goes nowhere."""
    try:
        reading, writing = os.pipe()
        watched = os.fork()
    except (AttributeError, OSError):
        reading, writing, watched = -1, os.open(os.devnull, os.O_WRONLY), -1
    if not watched:
        os.close(writing)
        _watch(reading)
    os.dup2(writing, 2)
    _begun.set()
    for handle in {reading, writing} - {-1}:
        os.close(handle)


def dismiss() -> None:
    """The command ends in order, whatever libraries do at its end."""
    if _begun.is_set():
        with suppress(OSError):
            os.write(2, _GOODBYE)


def depend_on_cluster(host: str, port: int) -> None:
    """Ray ends this process when the head of its cluster is gone, without a word."""
    if _begun.is_set():
        with suppress(OSError):
            os.write(2, f"\0cluster {host} {port}\0".encode())


def _watch(reading: int) -> None:
    """The watcher's whole life: until every process that writes to the pipe is gone."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    heard, in_order, cluster, sentence = b"", False, None, SENTENCE
    while piece := os.read(reading, 1 << 16):
        heard = heard[-_WORD:] + piece
        in_order = in_order or _GOODBYE in heard
        cluster = _CLUSTER.search(heard) or cluster
    if not in_order:
        if cluster and not _answers(cluster[1].decode(), int(cluster[2])):
            sentence = HEAD_GONE.format(place=f"{cluster[1].decode()}:{cluster[2].decode()}")
        with suppress(OSError):
            os.write(2, sentence.encode())
    os._exit(0)


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), _ANSWER_SECONDS).close()
    except OSError:
        return False
    return True
