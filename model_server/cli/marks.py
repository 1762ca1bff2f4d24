"""`posedub verify` and `posedub mark`: what files say of how they were made."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from model_server.cli import options as shared
from model_server.cli.frames_folder import frame_name
from model_server.errors import PoseDubError

if TYPE_CHECKING:
    from model_server.jobs.model import Job
    from model_server.provenance.reading import Finding
    from model_server.provenance.record import DubRecord
    from model_server.provenance.signing import Signer

_FAILED = 1


def add_parsers(commands: argparse._SubParsersAction) -> None:
    """Register the subcommands."""
    verify = commands.add_parser("verify", help="say who made a movie, picture or folder of frames, and from what")
    verify.set_defaults(run=run_verify)
    verify.add_argument("files", nargs="+", type=Path, metavar="FILE|DIR")
    verify.add_argument("--trust", type=Path, metavar="FILE", help="certificate authorities to trust, PEM")
    mark = commands.add_parser("mark", help="sign a movie, picture or folder of PNGs that shows dubs")
    mark.set_defaults(run=run_mark)
    mark.add_argument("files", nargs="*", type=Path, metavar="FILE|DIR", help="(default: those of the record)")
    mark.add_argument("--record", type=Path, required=True, metavar="JSON", help="which dubs it shows, in which frames")
    add_signing_options(mark)


def add_options(parser: argparse.ArgumentParser) -> None:
    """How a dub is marked."""
    group = parser.add_argument_group("marks", "Frames and movies say that, and from what, they were made.")
    group.add_argument("--consent", default="", metavar="TEXT", help="on the person shown: own face, permission, ...")
    add_signing_options(group)


def add_signing_options(parser: argparse._ActionsContainer) -> None:
    """With whose key marks are signed."""
    parser.add_argument("--mark-cert", type=Path, metavar="FILE", help="your certificate for marks, PEM (default: own)")
    parser.add_argument("--mark-key", type=Path, metavar="FILE", help="its key, PEM")


def signer(options: argparse.Namespace) -> Signer:
    """What marks of this command are signed with."""
    from model_server.provenance.certificate import given_certificate, own_certificate
    from model_server.provenance.signing import Signer

    cert, key = options.mark_cert, options.mark_key
    if (cert is None) != (key is None):
        raise PoseDubError("Marks need both --mark-cert and --mark-key; give the missing one.")
    if cert and key:
        return Signer(given_certificate(cert, key))
    return Signer(own_certificate(shared.certificate_folder(getattr(options, "data", None))))


@dataclass(frozen=True)
class Signed:
    """What the files of a dub say, and who signs it."""

    signer: Signer
    dub: DubRecord
    frames: range

    def sign_movie(self, path: Path, named: str) -> None:
        """A movie that will be called `named`."""
        from model_server.provenance.record import Record

        self.signer.sign_file(path, Record((self.dub,)), named)

    def sign_folder(self, folder: Path, files: Iterable[Path]) -> None:
        """Frames in a folder, among which there may be those of earlier dubs."""
        from model_server.provenance.record import Record
        from model_server.provenance.signing import digests

        own = replace(self.dub, frames=(self.frames.start, self.frames.stop))
        self.signer.sign_frames(folder, digests(files), Record((*self._earlier(folder), own)))

    def _earlier(self, folder: Path) -> Iterator[DubRecord]:
        """Dubs of which the folder still has frames."""
        from model_server.provenance.reading import folder_record

        record = folder_record(folder)
        for dub in record.dubs if record else ():
            others = {*range(*(dub.frames or (0, 0)))} - {*self.frames}
            if dub.job != self.dub.job and any((folder / frame_name(k)).exists() for k in others):
                yield dub


def dub_signer(options: argparse.Namespace) -> Signer:
    """Who signs a dub; PoseDubError where that cannot be, or its folder holds something else under the marks' names."""
    from model_server.provenance.reading import check_list

    if not shared.is_movie(options.out):
        check_list(options.out)
    return signer(options)


def signed(signer: Signer, job: Job, files: Mapping[str, Path], consent: str) -> Signed:
    """What a job's files are to say, its sources lying here."""
    from model_server.jobs.marks import dub_record

    return Signed(signer, dub_record(job, files, consent), range(job.request.first, job.request.end))


def run_mark(options: argparse.Namespace) -> int:
    """Sign files with the record given."""
    from model_server.provenance.record import Record

    by = signer(options)
    try:
        data = json.loads(options.record.read_text("utf-8"))
        record, files = Record.from_json(data), options.files or [Path(path) for path in data.get("files", ())]
    except (OSError, ValueError, TypeError) as error:
        raise PoseDubError(f"{options.record} cannot be read as a record of dubs: {error}.") from error
    if not files:
        raise PoseDubError(f"There is nothing to mark: name files, or list them in {options.record}.")
    by.sign(_pictures(files), record)
    where = files[0] if len(files) == 1 else files[0].parent
    print(f"{where} is marked.")
    return 0


def _pictures(files: list[Path]) -> list[Path]:
    """The files; for a folder its PNGs."""
    return sorted(files[0].glob("*.png")) if len(files) == 1 and files[0].is_dir() else files


def run_verify(options: argparse.Namespace) -> int:
    """Say what is found; the exit code is 1 when anything is unmarked or was changed."""
    from model_server.provenance.reading import verify

    anchors = options.trust.read_bytes() if options.trust else b""
    findings = [verify(path, anchors) for path in options.files]
    for finding in findings:
        print("\n".join(map(_plain, _lines(finding))))
        if finding.state == "unmarked" and finding.path.is_file():
            print(_pattern_line(finding.path))
    return 0 if all(finding.state == "intact" and not finding.uncovered for finding in findings) else _FAILED


def _plain(line: str) -> str:
    """Without what could steer a terminal: names come from files of strangers."""
    return "".join(one if one.isprintable() else "?" for one in line)


def _lines(finding: Finding) -> Iterator[str]:
    if finding.state == "unmarked":
        yield f"{finding.path}: no signed mark"
    elif finding.state == "changed":
        yield f"{finding.path}: CHANGED since it was marked"
        yield from (f"  {problem}" for problem in finding.problems)
    else:
        yield f"{finding.path}: marked and unchanged since"
    if finding.uncovered:
        yield f"  {finding.uncovered} of its pictures are not covered by the mark: nothing is known of them"
    if finding.signer:
        yield f"  signed by {finding.signer}{_vouched(finding)}"
    for dub in finding.record.dubs if finding.record else ():
        yield from _dub_lines(dub, finding.record.version if finding.record else "")
    if finding.others:
        yield f"  marks of its sources: {', '.join(filter(None, finding.others)) or len(finding.others)}"
    if finding.frame:
        yield f"  the frame says (not signed): drawn by {finding.frame.software}, {finding.frame.weights}"


def _pattern_line(path: Path) -> str:
    """Whether an unmarked file has the invisible pattern."""
    from model_server.provenance.presence import look_into

    found = look_into(path)
    if found.found:
        return f"  PoseDub's invisible pattern is in it (score {found.score:.1f}): networks drew in this picture"
    return f"  no invisible pattern found (score {found.score:.1f}), which proves nothing"


def _vouched(finding: Finding) -> str:
    if finding.trusted:
        return ", whom a trusted authority vouches for"
    if finding.self_signed:
        return ": made on a computer by PoseDub itself, so it shows changes, but not who made the file"
    return ", whom no trusted authority vouches for (--trust)"


def _dub_lines(dub: DubRecord, version: str) -> Iterator[str]:
    where = f"frames {dub.frames[0]} to {dub.frames[1] - 1}" if dub.frames else "all of it"
    what = "a face drawn into a recording" if dub.composed else "drawn by networks"
    weights = dub.weights
    yield f"  {where}: {what}, PoseDub {version}, {weights.get('kind', '')} weights {weights.get('name', '')}"
    for source in dub.sources:
        yield f"    {source.role}: {source.name or 'unnamed'}, SHA-256 {source.sha256}"
    if dub.consent:
        yield f"    consent: {dub.consent}"
