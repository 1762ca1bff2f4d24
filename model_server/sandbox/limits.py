"""What a process may that reads a file of a stranger: memory, files, time; and what this system does not limit."""

from __future__ import annotations

import sys
import sysconfig
from contextlib import suppress
from pathlib import Path

import model_server

# Bytes beyond those of the libraries: a still of 64 million pixels takes up to 3 GiB while its colours are converted.
MEMORY = 4 * 2**30
# Seconds of computing in all, a film of a day included; of one step without an answer, and of waiting for it at all.
PROCESSOR_SECONDS = 24 * 3600
STEP_PROCESSOR_SECONDS, STEP_SECONDS = 300.0, 1800.0
_OPEN_FILES = 64
_SYSTEM_LIBRARIES = (Path("/lib"), Path("/lib64"), Path("/usr/lib"), Path("/usr/lib64"), Path("/usr/local/lib"))


def available() -> bool:
    """Whether this system lets a process limit itself, without privileges, as `apply` does."""
    return sys.platform == "linux"


def lacking() -> list[str]:
    """What decoders are not kept from on this computer, in words; none where all limits hold."""
    if not available():
        return ["they run in the server's own process, for want of limits on this system"]
    from model_server.sandbox import linux

    files = [] if linux.landlock_version() else ["other files, for want of Landlock in this kernel"]
    return files + ([] if linux.knows_calls() else ["the network, on this kind of processor"])


def apply(readable: Path) -> None:
    """Limit this process for good: it reads one file and its own libraries, computes, and answers.

    Raises:
        OSError: a limit cannot be set.
    """
    import resource

    from model_server.sandbox import linux

    # More cannot be had than this process was given.
    _lower(resource.RLIMIT_AS, _address_space() + MEMORY)
    _lower(resource.RLIMIT_CPU, PROCESSOR_SECONDS)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _lower(resource.RLIMIT_CORE, 0)
    with suppress(ValueError, OSError):
        linux.end_with_parent()
    linux.drop_privileges()
    linux.forbid([readable, *_libraries()])


def _libraries() -> list[Path]:
    """Folders of the program and of all that it may still load; nothing of a user's lies there."""
    python = {Path(place) for name, place in sysconfig.get_paths().items() if name.endswith(("stdlib", "lib"))}
    places = {Path(model_server.__file__).parent, *python, *_SYSTEM_LIBRARIES}
    return [place for place in sorted(places) if place.is_dir()]


def _lower(kind: int, limit: int) -> None:
    import resource

    hard = resource.getrlimit(kind)[1]
    least = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(kind, (least, least))


def _address_space() -> int:
    """Bytes that this process has mapped, libraries included."""
    import resource

    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
