"""Files named by the SHA-256 of their content, written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from model_server.errors import ErrorKind, PoseDubError
from model_server.files import atomic_file, file_digest, sync
from model_server.owner import this_process
from model_server.scratch import FILE, tidy
from model_server.surroundings import naming

DISK_RESERVE = 256 * 2**20
_ID = re.compile(r"[0-9a-f]{64}")
# Letters of a hash that name the folder it lies in.
FOLDER = 2


def is_id(asset: str) -> bool:
    """Whether `asset` is a SHA-256 in hex."""
    return _ID.fullmatch(asset) is not None


def check_id(asset: str) -> str:
    """Return `asset` if it is a SHA-256 in hex; ids become paths, so nothing else may pass."""
    if not is_id(asset):
        raise PoseDubError("The asset id is not a SHA-256 in 64 lower-case hex digits; send the file's hash.")
    return asset


@dataclass(frozen=True)
class Content:
    """A content that is there, whole: its hash, its bytes, and when it was used last, in seconds since 1970."""

    sha: str
    size: int
    used: float


class Blobs:
    """Content-addressed files below one folder.

    Args:
        shared: whether other servers write there, too; uploads that are not finished are then those of this process.
    """

    def __init__(self, root: Path, shared: bool = False) -> None:
        self.root, self._shared = root, shared
        self.uploads, self._parts = root / "uploads", root / "parts"
        self.uploads.mkdir(parents=True, exist_ok=True)
        self._parts.mkdir(exist_ok=True)
        for folder in (self._parts, self.uploads):
            tidy(folder)

    def path(self, sha: str) -> Path:
        """Where the content `sha` lies, present or not."""
        return self.root / check_id(sha)[:FOLDER] / sha

    def has(self, sha: str) -> bool:
        """Whether the content is here, whole."""
        return self.path(sha).is_file()

    def use(self, sha: str) -> bool:
        """Whether the content is here, whole; it then counts as used now, so that no limit removes it soon."""
        with suppress(PermissionError):  # another user's, on a shared disk
            try:
                os.utime(self.path(sha))
            except FileNotFoundError:
                return False
        return self.has(sha)

    def intact(self, sha: str) -> bool:
        """The same for content that also has its hash; a power failure may have cut it off."""
        return self.use(sha) and not self.damaged(sha)

    def damaged(self, sha: str) -> bool:
        """Whether a content that is here has not its hash."""
        return file_digest(self.path(sha)) != sha

    def put(self, content: bytes) -> str:
        """Store bytes and return their SHA-256."""
        sha = hashlib.sha256(content).hexdigest()
        if not self.intact(sha):
            self.require_space(len(content))
            with atomic_file(self.path(sha), self._parts) as file:
                file.write(content)
        return sha

    def read(self, sha: str) -> bytes:
        """Content of a blob; PoseDubError when it is gone or damaged."""
        try:
            content = self.path(sha).read_bytes()
        except FileNotFoundError as error:
            raise PoseDubError(f"The stored content {sha[:12]} is gone; dub again.", ErrorKind.CORRUPT) from error
        if hashlib.sha256(content).hexdigest() != sha:
            raise PoseDubError(f"The stored content {sha[:12]} is damaged; dub again.", ErrorKind.CORRUPT)
        return content

    def media(self, sha: str) -> Path:
        """Path of an uploaded asset; PoseDubError when it was never uploaded."""
        if not self.use(sha):
            raise PoseDubError(f"The asset {sha[:12]} is not on the server; upload it first.", ErrorKind.NOT_FOUND)
        return self.path(sha)

    def free(self) -> int:
        """Bytes left on the disk."""
        return shutil.disk_usage(self.root).free

    def require_space(self, size: int) -> None:
        """Raise PoseDubError unless `size` more bytes leave the disk its reserve."""
        free = self.free()
        if free < size + DISK_RESERVE:
            raise PoseDubError(
                f"The disk of {self.root} has only {free // 2**20} MiB left; free some space and dub again.",
                ErrorKind.TOO_LARGE,
            )

    def files(self) -> Iterator[Content]:
        """All contents that are here, whole; no unfinished uploads, links or folders."""
        for folder in list(os.scandir(self.root)):
            if len(folder.name) == FOLDER and folder.is_dir(follow_symlinks=False):
                for entry in list(os.scandir(folder)):
                    if is_id(entry.name) and entry.is_file(follow_symlinks=False):
                        yield Content(entry.name, entry.stat().st_size, entry.stat().st_mtime)

    def used(self, sha: str) -> float:
        """When a content was last used, as of `files`; 0 where it is gone."""
        try:
            return self.path(sha).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def tidy(self) -> None:
        """Free what is only kept to be quick."""

    def remove(self, sha: str) -> None:
        """Delete a content; nothing where it is gone."""
        self.path(sha).unlink(missing_ok=True)

    def received(self, sha: str) -> int:
        """Bytes held of an unfinished upload."""
        part = self._part(sha)
        return part.stat().st_size if part.exists() else 0

    def append(self, sha: str, offset: int, chunk: bytes) -> int:
        """Write `chunk` at `offset` of an upload; returns the bytes held then."""
        held = self.received(sha)
        if offset > held:
            raise PoseDubError(f"The upload skips bytes {held} to {offset}; send on from {held}.")
        self.require_space(len(chunk))
        with naming(self.root), self._part(sha).open("r+b" if held else "wb") as file:
            file.seek(offset)
            file.write(chunk)
            file.truncate()
        return offset + len(chunk)

    def finish(self, sha: str) -> None:
        """Make an upload an asset; PoseDubError, and a fresh start, when its hash is wrong."""
        part = self._part(sha)
        if file_digest(part) != sha:
            part.unlink()
            raise PoseDubError("The uploaded bytes do not have the stated hash; upload again.", ErrorKind.CORRUPT)
        self.path(sha).parent.mkdir(parents=True, exist_ok=True)
        sync(part)
        os.replace(part, self.path(sha))

    def _part(self, sha: str) -> Path:
        return self.uploads / (f"{FILE}{this_process()}-{check_id(sha)}" if self._shared else check_id(sha))
