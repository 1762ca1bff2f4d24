"""What became of the shots of a batch: lines, JSON that the next run reads, JUnit for farms and CI."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from model_server import __version__
from model_server.errors import PoseDubError
from model_server.files import write_text

FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """What became of one shot.

    Attributes:
        state: "done", "kept" where it lay there from an earlier run, or "failed".
        out: the movie, or the folder of frames.
        job: id of the job that made it, "" when there was none.
        first, frames: the first one that was asked for, and how many were.
        error: why it failed, one sentence.
        notes: warnings, and what else is to be known of the result.
    """

    name: str
    state: str
    out: str = ""
    job: str = ""
    first: int = 0
    frames: int = 0
    seconds: float = 0.0
    error: str = ""
    notes: tuple[str, ...] = ()

    def line(self, text: str) -> str:
        """One line for people; `text` says what was made."""
        return f"{self.state:<6} {self.name}: {text}"


@dataclass
class BatchReport:
    """The outcomes of a batch, written after each shot.

    Attributes:
        source: the list of shots.
        path: of the JSON.
        junit: of the XML, if it is wanted.
    """

    source: Path
    path: Path
    junit: Path | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs = earlier_jobs(self.path)

    def made(self, name: str, job_id: str) -> bool:
        """Whether an earlier run made a shot with that job."""
        return self._jobs.get(name) == job_id

    def add(self, outcome: Outcome) -> None:
        """Record what became of a shot."""
        with self._lock:
            self.outcomes[outcome.name] = outcome
            self.write()

    @property
    def failed(self) -> list[Outcome]:
        """The shots that were not made."""
        return [one for one in self.outcomes.values() if one.state == FAILED]

    def write(self) -> None:
        """The reports, whole, as far as the batch is."""
        shots = [asdict(one) for one in self.outcomes.values()]
        counts = {"done": len(shots) - len(self.failed), FAILED: len(self.failed)}
        data = {"posedub": __version__, "list": str(self.source), **counts, "shots": shots}
        write_text(self.path, json.dumps(data, indent=1))
        if self.junit:
            write_text(self.junit, self._junit())

    def _junit(self) -> str:
        """As CI servers read it: a test case for each shot."""
        counts = {"tests": str(len(self.outcomes)), "failures": str(len(self.failed))}
        suite = ElementTree.Element("testsuite", counts | {"name": f"posedub batch {self.source.name}"})
        for one in self.outcomes.values():
            case = ElementTree.SubElement(suite, "testcase", name=one.name, time=f"{one.seconds:.3f}")
            case.set("classname", self.source.stem)
            if one.state == FAILED:
                ElementTree.SubElement(case, "failure", message=_plain(one.error))
            if one.notes:
                ElementTree.SubElement(case, "system-out").text = _plain("\n".join(one.notes))
        ElementTree.indent(suite)
        return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def _plain(text: str) -> str:
    """Without what XML cannot hold; files' names may have anything in them."""
    return "".join(one if one.isprintable() or one == "\n" else "?" for one in text)


def earlier_jobs(path: Path) -> dict[str, str]:
    """Jobs by shots, of an earlier run's report; PoseDubError when something else lies there."""
    if not path.exists():
        return {}
    try:
        data = json.loads(path.read_text("utf-8"))
        return {one["name"]: one["job"] for one in data["shots"] if data["posedub"] and one["state"] != FAILED}
    except (OSError, ValueError, LookupError, TypeError) as error:
        sentence = f"{path} is no report of a batch, which would replace it; choose another --report."
        raise PoseDubError(sentence) from error
