"""Contents in an object store or on any other file system that fsspec knows, for servers that share no folder."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from model_server.errors import ErrorKind, PoseDubError, first_line
from model_server.files import replacing
from model_server.jobs.blobs import FOLDER, Blobs, Content, check_id, is_id

LACKING = (
    "Contents at {url} need fsspec, and for this kind of place {more}; install them: pip install 'posedub[studio]'."
)
# Contents are marked as used at most so often, and copies here that were not used for twice as long may go.
MARK_SECONDS = 1800.0
# Bytes of copies on this computer, most of them media and frames that somebody looks at.
CACHE_BYTES = 20 * 2**30


class RemoteBlobs(Blobs):
    """Content-addressed files below a URL; the folder here holds copies, and uploads until they are whole.

    Places that show an object only once it is whole are meant, as object stores do. What is read is compared with its
    hash either way. When a content was last used is told by an empty object beside it: few stores keep such a time.

    Args:
        cache: folder of this server alone, or of several on one computer.
        url: as fsspec reads it, s3://bucket/folder for example; secrets are best left to its own configuration.

    Raises:
        PoseDubError: the libraries for it are not installed, or the URL names nothing that they know.
    """

    def __init__(self, cache: Path, url: str) -> None:
        super().__init__(cache, shared=True)
        try:
            from fsspec.core import url_to_fs

            self._fs, base = url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            raise PoseDubError(LACKING.format(url=url, more=error.name or error), ErrorKind.UNSUPPORTED) from error
        except ValueError as error:
            raise PoseDubError(
                f"Contents cannot lie at {url} ({error}); write for example s3://bucket/folder."
            ) from error
        self._url, self._base = url, base.rstrip("/")
        self._marked: dict[str, float] = {}
        with self._said():
            self._fs.makedirs(self._base, exist_ok=True)

    def has(self, sha: str) -> bool:
        """See `Blobs.has`."""
        with self._said():
            return bool(self._fs.exists(self._place(sha)))

    def use(self, sha: str) -> bool:
        """See `Blobs.use`."""
        if not self.has(sha):
            return False
        now = time.monotonic()
        if now - self._marked.get(sha, -MARK_SECONDS) >= MARK_SECONDS:
            with self._said():
                self._pipe(self._mark(sha), b"")
            self._marked[sha] = now
        with suppress(FileNotFoundError):
            os.utime(self.path(sha))
        return True

    def intact(self, sha: str) -> bool:
        """See `Blobs.intact`; a copy that is, is taken for it."""
        return self.use(sha) and (self._copied(sha) or not self.damaged(sha))

    def damaged(self, sha: str) -> bool:
        """See `Blobs.damaged`."""
        try:
            self._fetched(sha)
        except PoseDubError as error:
            if error.kind is not ErrorKind.CORRUPT:
                raise
            return True
        return False

    def put(self, content: bytes) -> str:
        """See `Blobs.put`."""
        sha = hashlib.sha256(content).hexdigest()
        if not self.intact(sha):
            with self._said():
                self._pipe(self._place(sha), content)
            self.use(sha)
            self._copy(sha, content)
        return sha

    def read(self, sha: str) -> bytes:
        """See `Blobs.read`."""
        with suppress(PoseDubError):
            return super().read(sha)
        return self._fetched(sha)

    def _fetched(self, sha: str) -> bytes:
        try:
            with self._said():
                content: bytes = self._fs.cat_file(self._place(sha))
        except FileNotFoundError as error:
            raise PoseDubError(f"The stored content {sha[:12]} is gone; dub again.", ErrorKind.CORRUPT) from error
        if hashlib.sha256(content).hexdigest() != sha:
            raise PoseDubError(f"The stored content {sha[:12]} is damaged; dub again.", ErrorKind.CORRUPT)
        self._copy(sha, content)
        return content

    def _copied(self, sha: str) -> bool:
        """Whether a copy is here that has its hash."""
        return self.path(sha).is_file() and not super().damaged(sha)

    def media(self, sha: str) -> Path:
        """See `Blobs.media`; the asset is copied to this computer where it is not yet."""
        if not self.use(sha):
            raise PoseDubError(f"The asset {sha[:12]} is not on the server; upload it first.", ErrorKind.NOT_FOUND)
        path = self.path(sha)
        if not self._copied(sha):
            path.parent.mkdir(exist_ok=True)
            with replacing(path, self._parts) as part, self._said():
                self._fs.get_file(self._place(sha), str(part))
        return path

    def files(self) -> Iterator[Content]:
        """See `Blobs.files`."""
        with self._said():
            found = self._fs.find(self._base, withdirs=False, detail=True)
        used = f"{self._base}/used/"
        marks = {name.removeprefix(used): _changed(info) for name, info in found.items() if name.startswith(used)}
        for name, info in found.items():
            sha = name.rsplit("/", 1)[-1]
            if is_id(sha) and not name.startswith(used):
                yield Content(sha, int(info["size"]), max(_changed(info), marks.get(sha, 0.0)))

    def used(self, sha: str) -> float:
        """See `Blobs.used`."""
        times = []
        for place in (self._place(sha), self._mark(sha)):
            with suppress(FileNotFoundError), self._said():
                times.append(_changed(self._fs.info(place)))
        return max(times, default=0.0) if self.has(sha) else 0.0

    def remove(self, sha: str) -> None:
        """See `Blobs.remove`."""
        for place in (self._place(sha), self._mark(sha)):
            with suppress(FileNotFoundError), self._said():
                self._fs.rm_file(place)
        super().remove(sha)

    def finish(self, sha: str) -> None:
        """See `Blobs.finish`."""
        super().finish(sha)
        with self._said():
            self._make_folder(self._place(sha))
            self._fs.put_file(str(self.path(sha)), self._place(sha))
        self.use(sha)

    def tidy(self) -> None:
        """See `Blobs.tidy`: copies that were used long ago go until the others fit."""
        copies = sorted(super().files(), key=lambda one: one.used)
        total = sum(one.size for one in copies)
        for one in copies:
            if total <= CACHE_BYTES or one.used > time.time() - 2 * MARK_SECONDS:
                break
            super().remove(one.sha)
            total -= one.size

    def _copy(self, sha: str, content: bytes) -> None:
        """Keep a copy here, if there is room."""
        path = self.path(sha)
        with suppress(OSError):
            path.parent.mkdir(exist_ok=True)
            with replacing(path, self._parts) as part:
                part.write_bytes(content)

    def _pipe(self, place: str, content: bytes) -> None:
        self._make_folder(place)
        self._fs.pipe_file(place, content)

    def _make_folder(self, place: str) -> None:
        """Where there are folders; object stores have none."""
        self._fs.makedirs(place.rsplit("/", 1)[0], exist_ok=True)

    def _place(self, sha: str) -> str:
        return f"{self._base}/{check_id(sha)[:FOLDER]}/{sha}"

    def _mark(self, sha: str) -> str:
        return f"{self._base}/used/{check_id(sha)}"

    @contextmanager
    def _said(self) -> Iterator[None]:
        """A store that does not answer is named; files that are not there are the caller's."""
        try:
            yield
        except (FileNotFoundError, PoseDubError):
            raise
        except Exception as error:  # noqa: BLE001 - each kind of store raises errors of its own libraries
            raise PoseDubError(
                f"The contents at {self._url} cannot be reached ({first_line(error)}); it will be tried again.",
                ErrorKind.UNAVAILABLE,
            ) from error


def _changed(info: Mapping[str, Any]) -> float:
    """When an object was written, in seconds since 1970: file systems name and tell it in different ways."""
    names = ("mtime", "LastModified", "last_modified", "updated", "created")
    found = next((info[name] for name in names if info.get(name) is not None), 0.0)
    if isinstance(found, str):
        found = datetime.fromisoformat(found)
    return found.timestamp() if isinstance(found, datetime) else float(found)
