"""What `posedub evaluate --in-place`, `--quiet` and `--rendered-turns` measure, as tables."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from model_server.cli import progress as bars
from model_server.errors import PoseDubError

if TYPE_CHECKING:
    from model_server.engines.pcavs.engine import PcavsEngine
    from model_server.evaluation.clips import EvalSource
    from model_server.evaluation.measure import Instruments
    from model_server.evaluation.sync.judge import SyncJudge
    from model_server.evaluation.views import Pictures


def in_place(sources: Sequence[EvalSource], engines: Mapping[str, PcavsEngine], judge: SyncJudge) -> str:
    """Figures of lower faces drawn into clips, some of them by a judge of sound and lips."""
    from model_server.evaluation.in_place import as_table, evaluate_in_place

    tables = []
    for name, engine in engines.items():
        with tqdm(total=len(sources), unit="clip", file=bars.stream()) as bar:
            found = evaluate_in_place(sources, engine, judge, bar.update)
        tables.append(f"# {name}: lower faces drawn into clips\n\n{as_table(found)}")
    return "\n".join(tables)


def turned(engines: Mapping[str, PcavsEngine], ict: Path, count: int) -> str:
    """How far drawn heads that turn are off the true ones.

    Raises:
        PoseDubError: weights without a pose map, which cannot be asked to turn.
    """
    from model_server.evaluation.turned_people import as_table, turned_people

    for engine in engines.values():
        if engine.weights.pose_map is None:
            raise PoseDubError(f"{engine.weights.name} tells no head angles; export it with a labelled corpus.")
    with tqdm(total=count, unit="person", file=bars.stream()) as bar:
        return f"# heads turned, {count} rendered people\n\n{as_table(turned_people(engines, ict, count, bar.update))}"


def quiet(
    options: argparse.Namespace,
    stills: Mapping[str, Pictures],
    engines: Mapping[str, PcavsEngine],
    tools: Instruments,
) -> str:
    """How wide lips are open without speech."""
    from model_server.cli.recogniser import voices_of
    from model_server.evaluation.quiet_lips import as_table, quiet_lips

    speech = voices_of(options.sources, options.split, options.limit or 1)
    return "\n".join(
        f"# {name}: lip opening without speech, for that of speech\n\n"
        f"{as_table(quiet_lips(stills, speech, engine, tools))}"
        for name, engine in engines.items()
    )
