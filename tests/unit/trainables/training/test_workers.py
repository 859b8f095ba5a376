"""Several processes train one trial as one does: the same draws, and weights equal but for the order of a sum."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from tests.unit.trainables.test_train import BATCH, assignment, run, weights
from trainables.report import Ended
from trainables.train import train
from trainables.training.workers import Workers

pytestmark = pytest.mark.slow  # processes of their own
SIZE = 2
STEPS = 4


def one_of(rank: int, size: int, folder: str) -> None:
    """A worker's process: train the trial of the test below, and leave the outcome in a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=size)
    work = assignment(Path(folder) / "together", steps=STEPS, rungs=(2 * BATCH,))
    asked = iter([False] * (STEPS - 1) + [True])
    reports = list(train(work, workers=Workers(rank=rank, size=size), interrupted=lambda: rank == 0 and next(asked, False)))
    end = reports[-1]
    assert isinstance(end, Ended)
    (Path(folder) / f"end-{rank}").write_text(f"{end.outcome} {end.images}")
    dist.destroy_process_group()


def test_two_workers_train_what_one_trains_and_end_together(tmp_path: Path) -> None:
    spawn(one_of, args=(SIZE, str(tmp_path)), nprocs=SIZE)
    assert [(tmp_path / f"end-{rank}").read_text() for rank in range(SIZE)] == [f"done {STEPS * BATCH}"] * SIZE
    alone = assignment(tmp_path / "alone", steps=STEPS)
    run(alone)
    together = weights(assignment(tmp_path / "together", steps=STEPS))
    for name, tensor in weights(alone).items():
        torch.testing.assert_close(together[name], tensor, rtol=1e-4, atol=1e-6, msg=f"{name}: {{}}".format)
