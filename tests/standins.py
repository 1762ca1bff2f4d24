"""Small wheels that stand in for the server's real ones, and an index that serves them from this computer."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import sys
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import build_addon
from blender_addon.client.installer import WHEELHOUSE, Carried
from blender_addon.core.version import VERSION

TORCH = """
class cuda:
    is_available = staticmethod(lambda: False)
"""
# Speaks for itself in a trial run; whatever else it is asked, the real server of these sources answers.
SERVER = """
import os, sys
if sys.argv[1] == "doctor":
    print("weights      a stand-in")
    sys.exit()
os.environ["PYTHONPATH"] = {root!r}
os.execv({python!r}, [{python!r}, "-m", "model_server", *sys.argv[1:]])
"""
PADDING = 3_000_000
"""Bytes that make a wheel large enough for uv to name it while it is downloaded."""
BLOCK = 2**18
"""Bytes that an index sends in one go."""
NOWHERE = "http://127.0.0.1:9"


def write_wheel(
    folder: Path, name: str, version: str, modules: Mapping[str, str], needs: str = "", padding: int = 0
) -> Path:
    """A wheel of pure Python; `needs` is what it requires."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + (
        f"Requires-Dist: {needs}\n" if needs else ""
    )
    contents = {path: text.encode() for path, text in modules.items()}
    contents |= {f"{name}_padding.bin": random.Random(0).randbytes(padding)} if padding else {}
    contents[f"{info}/METADATA"] = about.encode()
    contents[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in contents.items())
    contents[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, data in contents.items():
            archive.writestr(zipfile.ZipInfo(path), data)  # without times: equal wheels have equal digests
    return wheel


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


@dataclass(frozen=True)
class StandIns:
    """What an add-on carries, and a folder of wheels for it."""

    carried: Carried
    wheels: Path

    @property
    def parts(self) -> build_addon.ServerParts:
        """What it carries, as its zip is built of it."""
        return build_addon.ServerParts(self.carried.server, self.carried.uv, self.carried.locks)


def server_wheel(folder: Path, version: str = VERSION) -> Path:
    """A wheel that hands everything to the server of these sources."""
    main = SERVER.format(root=str(Path(build_addon.__file__).parent), python=sys.executable)
    modules = {"model_server/__init__.py": f"__version__ = {version!r}\n", "model_server/__main__.py": main}
    return write_wheel(folder, "posedub", version, modules, "torch==2.13.0")


def make(folder: Path, uv: Path, version: str = VERSION, padding: int = PADDING) -> StandIns:
    """A server of two small packages for linux-x64 and its processor; `padding` bytes make up most of it."""
    wheels, locks = folder / "wheels", folder / "server" / "locks"
    torch = write_wheel(wheels, "torch", "2.13.0", {"torch/__init__.py": TORCH}, padding=padding)
    locks.mkdir(parents=True)
    digest = hashlib.sha256(torch.read_bytes()).hexdigest()
    (locks / "base.txt").write_text(f"torch==2.13.0 \\\n    --hash=sha256:{digest}\n")
    megabytes = padding // 10**6
    (locks / "linux-x64-cpu.txt").write_text(f"# download: {megabytes}\n# disk: {megabytes + 1}\n-r base.txt\n")
    told = {"version": version, "platform": "linux-x64", "build": "cpu", "python": ""}
    (wheels / WHEELHOUSE).write_text(json.dumps(told))
    return StandIns(Carried(uv, server_wheel(folder / "server", version), locks), wheels)


def _metadata(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA")))


class Index:
    """A package index on the loopback.

    Attributes:
        open: whether wheels are sent to their end; else they stop half-way.
        stalled: set as soon as one has stopped.
        silent: whether it breaks off all connections.
        damaged: whether wheels have a wrong byte.
        pace: bytes per second, 0 for all at once.
    """

    silent, damaged, pace = False, False, 0

    def __init__(self, wheels: Path) -> None:
        self.open, self.stalled = threading.Event(), threading.Event()
        self.open.set()
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._answer(b"", 200)

            def do_GET(self) -> None:
                if index.silent:
                    self.close_connection = True
                    return
                name = self.path.rstrip("/").rpartition("/")[2]
                if name.endswith(".whl"):
                    index._send(self, (wheels / name).read_bytes())
                elif name.endswith(".metadata"):
                    self._answer(_metadata(wheels / name.removesuffix(".metadata")), 200)
                else:
                    names = [wheel.name for wheel in wheels.glob(f"{name}-*.whl")]
                    links = (f'<a data-core-metadata="true" href="/files/{one}">{one}</a>' for one in names)
                    self._answer("".join(links).encode(), 200 if names else 404)

            def _answer(self, data: bytes, code: int) -> None:
                self.send_response(code)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/simple"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _send(self, request: BaseHTTPRequestHandler, data: bytes) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        half = len(data) // 2
        if self.damaged:
            data = data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :]
        try:
            self._write(request, data[:half])
            if not self.open.is_set():
                self.stalled.set()
                self.open.wait()
            self._write(request, data[half:])
        except OSError:  # whoever asked is gone
            request.close_connection = True

    def _write(self, request: BaseHTTPRequestHandler, data: bytes) -> None:
        for start in range(0, len(data), BLOCK):
            request.wfile.write(data[start : start + BLOCK])
            time.sleep(BLOCK / self.pace if self.pace else 0)

    def close(self) -> None:
        """Serve no more."""
        self.open.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def index(wheels: Path) -> Iterator[Index]:
    """An index as long as the block lasts."""
    made = Index(wheels)
    try:
        yield made
    finally:
        made.close()


def surroundings(folder: Path, address: str) -> dict[str, str]:
    """Variables with which uv asks nobody but an index, and finds one Python: that of the tests."""
    folder.mkdir(parents=True, exist_ok=True)
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    if not (folder / base.name).exists():
        (folder / base.name).symlink_to(base)
    return {
        "PATH": str(folder),
        "UV_DEFAULT_INDEX": address,
        "UV_HTTP_RETRIES": "0",
        "UV_PYTHON_INSTALL_MIRROR": NOWHERE,
    }
