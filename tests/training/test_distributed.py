"""Two processes with DDP give the gradients of one process that sees both their micro-batches."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

from model_server.training.distributed import ProcessGroup, join_group, leave_group
from model_server.training.pcavs.config import Config
from model_server.training.pcavs.data import ClipStore
from model_server.training.pcavs.loop import make_stage
from model_server.training.pcavs.models import Models
from model_server.training.pcavs.samplers import sample_chunks, sample_frames, sample_pairs
from model_server.training.pcavs.stages import Stage
from model_server.training.settings import changed
from tests.training import conftest  # noqa: F401 - the thin networks, in the other processes too

pytestmark = pytest.mark.slow

SAMPLERS = {"speech": lambda store, rng: sample_chunks(store, 2, 6, rng), "trunk": lambda s, r: sample_frames(s, 3, r),
            "generator": lambda store, rng: sample_pairs(store, 2, 1, rng)}  # fmt: skip


def gradients(
    config: Config, corpus: Path, stage_name: str, process_group: ProcessGroup, numbers: list[int]
) -> dict[str, torch.Tensor]:
    """Gradients of all learners after the micro-batches of these numbers."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    models = Models(config, 3)
    stage: Stage = make_stage(stage_name, models, config, process_group)  # type: ignore[arg-type]
    store = ClipStore([corpus], "train", process_group.device, 8)
    for learner in stage.learners.values():
        learner.task.train()
    # Each look at a batch would sharpen the estimate of the spectral norm a little.
    models.discriminator.eval()
    for number in numbers:
        torch.manual_seed(number)
        batch = SAMPLERS[stage_name](store, np.random.default_rng(number))
        stage.learn(batch, 0, number == numbers[-1])
    return {name: weight.grad.clone() for name, weight in models.named_parameters() if weight.grad is not None}


def one_of_two(rank: int, port: int, config: Config, corpus: Path, stage: str, out: Path) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    process_group = join_group("cpu")
    result = gradients(config, corpus, stage, process_group, [rank])
    assert process_group.any(rank == 1) and not process_group.any(False)
    leave_group()
    torch.save(result, out / f"{rank}.pt")


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


@pytest.mark.parametrize("stage", ["trunk", "generator"])
def test_two_processes_give_the_gradients_of_one(stage: str, small: Config, corpus: Path, tmp_path: Path) -> None:
    config = changed(small, {"generator.critic_start": 0, "generator.contrastive": 1})
    alone = gradients(
        changed(config, {f"{stage}.accumulate": 2}), corpus, stage, ProcessGroup(0, 1, torch.device("cpu")), [0, 1]
    )
    mp.spawn(one_of_two, (free_port(), config, corpus, stage, tmp_path), nprocs=2)
    both = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    assert alone.keys() == both[0].keys() and any(value.abs().max() > 0 for value in alone.values())
    for name, value in alone.items():
        assert torch.equal(both[0][name], both[1][name]), f"{name} differs between the processes"
        torch.testing.assert_close(both[0][name], value, atol=1e-5, rtol=1e-3, msg=name)
