"""What marks say of a file or a folder of frames, and whether either was changed since."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import c2pa

from model_server.errors import ErrorKind, PoseDubError
from model_server.files import file_digest
from model_server.provenance.certificate import SELF_MADE
from model_server.provenance.manifest import LABEL
from model_server.provenance.record import Record
from model_server.provenance.signing import LIST, LIST_TYPE, MARKABLE, PICTURES, SIDECAR
from model_server.provenance.xmp import FrameMark, read_mark
from model_server.surroundings import naming

State = Literal["intact", "changed", "unmarked"]
_UNTRUSTED = "signingCredential.untrusted"
# Larger lists of frames are not ours: a day at 60 frames a second has some 400 MB.
_LARGEST_LIST = 1 << 29
# Nor are larger manifests, which hold those of all sources; and XMP lies in a picture's beginning.
_LARGEST_MANIFEST, _BEGINNING = 1 << 26, 1 << 24


@dataclass(frozen=True)
class Finding:
    """What was found in a file or folder.

    Attributes:
        state: whether its mark fits it; "unmarked" where it has none.
        record: what its mark says of dubs; None where it says nothing of that.
        signer: organisation of the certificate that signed the mark.
        trusted: whether a certificate authority that the reader trusts vouches for the signer.
        others: names of earlier marks inside it, of its sources.
        problems: sentences on what was changed.
        uncovered: how many pictures of a folder its mark says nothing of.
        frame: what a single frame says of itself, which is not signed.
    """

    path: Path
    state: State
    record: Record | None = None
    signer: str = ""
    trusted: bool = False
    others: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    uncovered: int = 0
    frame: FrameMark | None = None

    @property
    def self_signed(self) -> bool:
        """Whether nobody vouches for the signer: the mark shows changes, but not who made the file."""
        return self.signer == SELF_MADE


def verify(path: Path, anchors: bytes = b"") -> Finding:
    """Read the marks of a movie, a picture or a folder of frames.

    Args:
        anchors: certificate authorities to trust, PEM.

    Raises:
        PoseDubError: it cannot be read, or is of a kind that holds no marks.
    """
    with naming(path):
        if path.is_dir():
            return _folder(path, anchors)
        if not path.is_file():
            raise PoseDubError(f"There is no file {path}; check the path.", ErrorKind.NOT_FOUND)
        return _file(path, anchors)


def check_list(folder: Path) -> None:
    """Raise PoseDubError where marks of a folder's frames would replace a file that is something else."""
    path = folder / LIST
    if path.exists() and not _listed(path.read_bytes() if path.is_file() else b""):
        raise PoseDubError(f"{path} is no list of frames, and marks would replace it; choose another folder.")


def folder_record(folder: Path) -> Record | None:
    """What the mark of a folder's frames says, whether it fits them or not."""
    return _list(folder, b"")[0].record if (folder / SIDECAR).is_file() else None


def _file(path: Path, anchors: bytes) -> Finding:
    kind = MARKABLE.get(path.suffix.lower())
    if kind is None:
        known = ", ".join(MARKABLE)
        raise PoseDubError(f"{path} is of a kind that holds no marks; those do: {known}.", ErrorKind.UNSUPPORTED)
    with path.open("rb") as stream:
        frame = read_mark(stream.read(_BEGINNING)) if kind == "image/png" else None
        stream.seek(0)
        found = _read(path, kind, stream, None, anchors)
    if found.state == "unmarked" and (path.parent / SIDECAR).is_file():
        found = _frame_of_folder(path, anchors)
    return replace(found, path=path, frame=frame)


def _frame_of_folder(path: Path, anchors: bytes) -> Finding:
    """One frame by its folder's list."""
    found, listed = _list(path.parent, anchors)
    if path.name not in listed:
        return Finding(path, "unmarked")
    if found.state == "intact" and listed[path.name] != file_digest(path):
        return Finding(path, "changed", found.record, found.signer, problems=(f"{path.name} was changed.",))
    return found


def _folder(folder: Path, anchors: bytes) -> Finding:
    if not (folder / SIDECAR).is_file():
        return Finding(folder, "unmarked")
    found, listed = _list(folder, anchors)
    problems = (*found.problems, *_differences(folder, listed))
    uncovered = sum(path.suffix.lower() in PICTURES and path.name not in listed for path in folder.iterdir())
    return replace(found, state="changed" if problems else found.state, problems=problems, uncovered=uncovered)


def _list(folder: Path, anchors: bytes) -> tuple[Finding, Mapping[str, str]]:
    """What a folder's manifest says, and the frames that it lists."""
    path, sidecar = folder / LIST, folder / SIDECAR
    if sidecar.stat().st_size > _LARGEST_MANIFEST:
        return Finding(folder, "changed", problems=(f"{SIDECAR} is too large for a mark.",)), {}
    if not path.is_file() or path.stat().st_size > _LARGEST_LIST:
        return Finding(folder, "changed", problems=(f"The list of frames {LIST} is gone.",)), {}
    content = path.read_bytes()
    found = _read(folder, LIST_TYPE, io.BytesIO(content), sidecar.read_bytes(), anchors)
    return found, _listed(content)


def _listed(content: bytes) -> Mapping[str, str]:
    """Digests of frames by their names; none where a list is none."""
    try:
        return {str(name): str(digest) for name, digest in json.loads(content)["frames"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _differences(folder: Path, listed: Mapping[str, str]) -> Iterator[str]:
    """Sentences on frames that are not as listed."""
    changed = [name for name in listed if not _same(folder / name, listed[name], folder)]
    for name in changed[:5]:
        yield f"{name} was changed or is gone."
    if len(changed) > 5:
        yield f"So were {len(changed) - 5} more frames."


def _same(path: Path, digest: str, folder: Path) -> bool:
    return path.parent == folder and path.is_file() and file_digest(path) == digest


def _read(path: Path, kind: str, stream: Any, manifest: bytes | None, anchors: bytes) -> Finding:
    """What a C2PA manifest in a stream, or given with it, says."""
    try:
        reader = c2pa.Reader(kind, stream, manifest, context=_context(anchors))
    except c2pa.C2paError.ManifestNotFound:
        return Finding(path, "unmarked")
    except c2pa.C2paError as error:
        return Finding(path, "changed", problems=(f"The mark cannot be read ({error}).",))
    with reader:
        state, data = reader.get_validation_state(), json.loads(reader.json())
    active = data["manifests"].get(data.get("active_manifest"), {})
    others = [one.get("title", "") for name, one in data["manifests"].items() if name != data.get("active_manifest")]
    problems = [] if state in ("Valid", "Trusted") else [*_problems(data)]
    return Finding(
        path,
        "changed" if problems else "intact",
        _record(active),
        str(active.get("signature_info", {}).get("issuer", "")),
        state == "Trusted",
        tuple(others),
        tuple(problems),
    )


def _context(anchors: bytes) -> c2pa.Context:
    trust = {"trust": {"trust_anchors": anchors.decode()}} if anchors else {}
    return c2pa.Context(c2pa.Settings.from_dict({"verify": {"verify_trust": bool(anchors)}} | trust))


def _problems(data: Mapping[str, Any]) -> Iterator[str]:
    """Sentences from C2PA's codes (C2PA 2.1, section 15.2.2)."""
    codes = [one.get("code", "") for one in data.get("validation_status", ())]
    found = False
    for code in codes:
        if code.endswith("Hash.mismatch"):
            found = True
            yield "Its content was changed after it was marked."
        elif code != _UNTRUSTED:
            found = True
            yield f"Its mark was changed or is not valid ({code})."
    if not found:
        yield "Its mark is not valid."


def _record(active: Mapping[str, Any]) -> Record | None:
    for assertion in active.get("assertions", ()):
        if assertion.get("label") == LABEL:
            try:
                return Record.from_json(assertion.get("data"))
            except ValueError:
                return None
    return None
