"""Those parts of `posedub evaluate` that only actors have: rows by steps, movement of their own, reconstruction."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model_server.corpus.mesh import MeshReader
    from model_server.evaluation.actor_films import ActorFilms
    from model_server.evaluation.actor_movement import Figure
    from model_server.evaluation.clips import EvalSource


def draws_an_actor(path: Path) -> bool:
    """Whether a path names an actor's weights file."""
    from model_server.engines.dae_talker.weights import NAME
    from model_server.engines.weights import describe

    return path.is_file() and describe(path).engine == NAME


def actors_of(options: argparse.Namespace) -> dict[str, ActorFilms]:
    """A row for each actor among the weights and each number of steps that it can be drawn in."""
    from model_server.engines.dae_talker.engine import DaeTalkerEngine
    from model_server.engines.dae_talker.weights import read_actor
    from model_server.engines.weights import describe, load_engine
    from model_server.evaluation.actor_films import ActorFilms

    rows: dict[str, ActorFilms] = {}
    for path in filter(draws_an_actor, options.weights):
        engine = load_engine(describe(path), options.device, options.precision)
        assert isinstance(engine, DaeTalkerEngine)
        for steps in options.steps:
            if steps == 1 and "student" not in read_actor(engine.weights).sizes:
                continue  # ablations have no student of their own
            rows[f"{path.stem}, {steps} step{'s' if steps > 1 else ''}"] = ActorFilms(engine, steps)
    return rows


def sections(
    actors: dict[str, ActorFilms], sources: list[EvalSource], reader: MeshReader, steps: Sequence[int]
) -> Iterator[tuple[str, str, list[Figure]]]:
    """Kind, row and figures of what only actors are asked.

    Args:
        actors: by row.
        sources: unseen takes; those of the actors' own corpora tell how well they are drawn without speech, too.
        reader: of landmarks.
        steps: in which frames are drawn.
    """
    from model_server import scratch
    from model_server.evaluation.actor_movement import own_movement

    with scratch.folder() as folder:
        takes = [source.open(folder) for source in sources]
        for name, films in actors.items():
            yield "movement", name, own_movement(films, takes, reader, films.steps if films.steps > 1 else 0)
        for films in {films.engine.weights.id: films for films in actors.values()}.values():
            if figures := _reconstruction(films, takes, steps):
                name = films.engine.weights.path.stem if films.engine.weights.path else films.actor.name
                yield "reconstruction", name, figures


def _reconstruction(films: ActorFilms, takes: Sequence[Any], steps: Sequence[int]) -> list[Figure]:
    """Of frames of an actor's corpus; none where the takes are others, or the weights hold no encoder that learnt c."""
    import numpy as np

    from model_server.engines.dae_talker.actor_file import read_networks
    from model_server.evaluation.actor_clips import ActorTake
    from model_server.evaluation.actor_reconstruction import FRAMES, reconstruction

    own = [take for take in takes if isinstance(take, ActorTake)]
    trained = films.actor.facts.get("config", {}).get("autoencoder", {})
    if not own or trained.get("codes", "encoder") != "encoder":
        return []
    networks = read_networks(films.engine.weights)
    if networks.autoencoder is None:
        return []
    share = -(-FRAMES // len(own))
    pictures = [take.pictures(np.linspace(0, take.count - 1, share).astype(int).tolist()) for take in own]
    return reconstruction(networks, np.concatenate(pictures)[:FRAMES], steps)
