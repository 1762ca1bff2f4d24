"""Signed C2PA manifests in movies and pictures, and beside sequences of frames."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import c2pa

from model_server.errors import ErrorKind, PoseDubError
from model_server.files import atomic_file, file_digest, replacing
from model_server.provenance.certificate import Certificate
from model_server.provenance.manifest import ingredient, manifest, media_type
from model_server.provenance.record import Record, Source
from model_server.surroundings import naming

log = logging.getLogger(__name__)

LIST = "marks.json"
SIDECAR = "marks.c2pa"
"""A folder's list of frames with their SHA-256, and the manifest that signs it."""
LIST_TYPE = "application/json"

# Frames of the files that can hold a manifest, by suffix.
MOVIES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/mp4"}
PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"} | {
    ".tif": "image/tiff", ".tiff": "image/tiff"
}  # fmt: skip
MARKABLE = MOVIES | PICTURES
# A thumbnail costs 65 kB and 46 ms in a picture of 640x360 and says nothing that the picture does not.
_SETTINGS = {"builder": {"thumbnail": {"enabled": False}}}


class Signer:
    """Signs files with one certificate; threads may share it."""

    def __init__(self, certificate: Certificate) -> None:
        self._context = c2pa.Context(c2pa.Settings.from_dict(_SETTINGS))
        info = c2pa.C2paSignerInfo(
            alg=certificate.algorithm.encode(), sign_cert=certificate.chain, private_key=certificate.key, ta_url=None
        )
        try:
            self._signer = c2pa.Signer.from_info(info)
        except c2pa.C2paError as error:
            raise PoseDubError(f"Marks cannot be signed with this certificate ({error}); give another one.") from error

    def sign(self, files: Sequence[Path], record: Record) -> None:
        """Mark a file, or files of one folder: inside the only one if it can hold a mark, else beside them all."""
        if len(files) == 1 and files[0].suffix.lower() in MARKABLE:
            self.sign_file(files[0], record)
        elif {path.parent for path in files} != {files[0].parent}:
            raise PoseDubError(f"{files[0]} and the others lie in several folders; mark each folder on its own.")
        else:
            with naming(files[0]):
                self.sign_frames(files[0].parent, digests(files), record)

    def sign_file(self, path: Path, record: Record, named: str = "") -> None:
        """Put a signed manifest into a movie or picture, which is replaced when that is done.

        Args:
            named: what the file will be called, where that is not its name yet.

        Raises:
            PoseDubError: the file cannot hold one, or the certificate is not one for this.
        """
        kind = MARKABLE.get(Path(named or path.name).suffix.lower())
        if kind is None:
            known = ", ".join(MARKABLE)
            raise PoseDubError(f"{path} cannot hold a mark; marks go into {known}.", ErrorKind.UNSUPPORTED)
        builder = self._builder(record, named or path.name, kind)
        with naming(path), replacing(path) as part:
            try:
                with path.open("rb") as source, part.open("w+b") as target:
                    builder.sign(self._signer, kind, source, target)
            except c2pa.C2paError as error:
                raise PoseDubError(f"{path} could not be marked ({error}); check that it plays.") from error

    def sign_frames(self, folder: Path, frames: Mapping[str, str], record: Record) -> None:
        """Sign a list of frames: `LIST` and `SIDECAR` in their folder.

        Args:
            frames: SHA-256 of each frame's file, by its name.
        """
        content = json.dumps({"frames": dict(sorted(frames.items()))}, indent=1).encode()
        builder = self._builder(record, LIST, LIST_TYPE)
        builder.set_no_embed()
        try:
            signed = builder.sign(self._signer, LIST_TYPE, io.BytesIO(content), io.BytesIO())
        except c2pa.C2paError as error:
            raise PoseDubError(f"The frames in {folder} could not be marked ({error}); report this.") from error
        for name, data in ((LIST, content), (SIDECAR, signed)):
            with atomic_file(folder / name) as file:
                file.write(data)

    def _builder(self, record: Record, title: str, kind: str) -> c2pa.Builder:
        """With all sources: those at hand with what they say of themselves, others by their names."""
        named = [source for source in record.sources if source.path is None or not media_type(source.path)]
        while True:
            builder = c2pa.Builder(manifest(record, title, kind, named), self._context)
            refused = next(
                (one for one in record.sources if one not in named and not _added(builder, one, record)), None
            )
            if refused is None:
                return builder
            log.info("%s is named in the mark without what it says of itself", refused.path)
            named.append(refused)


def digests(files: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of files by their names."""
    return {path.name: file_digest(path) for path in files}


def _added(builder: c2pa.Builder, source: Source, record: Record) -> bool:
    """Add a source with its content's hash and its own marks, if it lies there and is of a kind that can have any."""
    assert source.path is not None
    try:
        with source.path.open("rb") as stream:
            builder.add_ingredient(ingredient(source, record), media_type(source.path), stream)
    except (c2pa.C2paError, OSError):
        return False
    return True
