"""What a mark says: which dubs a file shows, by which weights and from what they were made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from model_server import __version__

SOFTWARE = "PoseDub"
FORMAT = 1
_TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
MADE = f"{_TERMS}trainedAlgorithmicMedia"
COMPOSED = f"{_TERMS}compositeWithTrainedAlgorithmicMedia"
"""IPTC digital source types (IPTC NewsCodes): all of a picture is drawn by networks, or they drew into a recording."""


@dataclass(frozen=True)
class Source:
    """A file that a dub was made from.

    Attributes:
        role: "portrait", "speech", "pose" or "footage".
        sha256: of its content.
        name: of the file, without its folder; "" where it is not known.
        path: where it lies here; None where it does not. Never part of a mark.
    """

    role: str
    sha256: str
    name: str = ""
    path: Path | None = field(default=None, compare=False)


@dataclass(frozen=True)
class DubRecord:
    """One dub that a file shows.

    Attributes:
        job: its id.
        weights: "id" (SHA-256), "name", "kind", "preset" and "engine" of the weights.
        sources: what it was made from.
        frames: first and end, so that frames `first <= k < end` of the file show it; None for all.
        composed: whether networks drew into a recording; else all of the picture is theirs.
        consent: what the editor stated about the person who is shown; "" for nothing.
    """

    job: str
    weights: Mapping[str, str]
    sources: tuple[Source, ...]
    frames: tuple[int, int] | None = None
    composed: bool = False
    consent: str = ""


@dataclass(frozen=True)
class Record:
    """All dubs of a file.

    Attributes:
        dubs: at least one.
        version: of the software that made it.
        composed: whether the file shows other things beside them, as a film does.
    """

    dubs: tuple[DubRecord, ...]
    version: str = __version__
    composed: bool = False

    @property
    def digital_source_type(self) -> str:
        """IPTC's term for the whole file."""
        return COMPOSED if self.composed or any(dub.composed for dub in self.dubs) else MADE

    @property
    def sources(self) -> tuple[Source, ...]:
        """Files of all dubs, each once, whatever it was used for; footage goes before what was taken from it."""
        found: dict[str, Source] = {}
        for source in sorted((one for dub in self.dubs for one in dub.sources), key=lambda one: one.role != "footage"):
            found.setdefault(source.sha256, source)
        return tuple(found.values())

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the places of files on this computer."""
        dubs = [asdict(dub) for dub in self.dubs]
        for dub in dubs:
            # Lists of small numbers come back from manifests as bytes.
            dub["frames"] = dict(zip(("first", "end"), dub["frames"], strict=True)) if dub["frames"] else None
            for source in dub["sources"]:
                del source["path"]
        return {"format": FORMAT, "version": self.version, "composed": self.composed, "dubs": dubs}

    @staticmethod
    def from_json(data: Any) -> Record:
        """Of `to_json`'s values, where sources may also have the "path" of their file.

        Raises:
            ValueError: they are not.
        """
        try:
            if data["format"] != FORMAT or not data["dubs"]:
                raise ValueError(f"a record of format {data['format']}")
            return Record(tuple(map(_dub, data["dubs"])), str(data["version"]), bool(data.get("composed")))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"something is missing or of another kind ({error})") from error


def _dub(data: Mapping[str, Any]) -> DubRecord:
    frames = data.get("frames")
    return DubRecord(
        job=str(data["job"]),
        weights={str(name): str(value) for name, value in data["weights"].items()},
        sources=tuple(map(_source, data["sources"])),
        frames=(int(frames["first"]), int(frames["end"])) if frames else None,
        composed=bool(data.get("composed")),
        consent=str(data.get("consent", "")),
    )


def plain_text(name: str) -> str:
    """A name as text that any reader takes: file systems know names that are none."""
    return name.encode(errors="backslashreplace").decode()


def _source(data: Mapping[str, Any]) -> Source:
    path = data.get("path")
    return Source(
        str(data["role"]), str(data["sha256"]), plain_text(str(data.get("name", ""))), Path(path) if path else None
    )
