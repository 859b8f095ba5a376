"""Several processes train one trial as one does: the same draws, and weights equal but for the order of a sum."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from tests.support.encoders import pretraining
from tests.support.trials import small_trial
from tests.unit.trainables.test_train import BATCH, assignment, run, weights
from tests.unit.trainables.training.test_learner import IMAGES
from trainables.networks.memory import Fit
from trainables.networks.registry import build
from trainables.report import Ended
from trainables.train import train
from trainables.training.learner import Learner
from trainables.training.workers import Workers

pytestmark = pytest.mark.slow  # processes of their own
SIZE = 2
STEPS = 4
ENCODER = pretraining(batch_size=16, method={"group": 4})
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "clipped": {"optimiser": {"grad_clip": 1e-2}},
    "rounded": {"gradient_sum": "bf16"},
    "staged": {"diffusion": {"path": {"kind": "staged", "stages": 2}}},
    "levels": {"diffusion": {"path": {"kind": "karras"}}},
    "lifted": {"diffusion": {"dimensions": 100}},
    "encoder": {"model": ENCODER.model, "method": ENCODER.method, "batch_size": ENCODER.batch_size},
    "classifier": {"diffusion": {"terms": [{"kind": "classifier", "weight": 0.5}]}},
}


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


def weights_after(case: str, *, workers: Workers) -> list[Tensor]:
    """Of three updates over a case's batches, in micro-batches of one image where there are workers."""
    trial = small_trial(**{"batch_size": 8, **CASES[case]})
    fit = Fit(trial.unit.images, activation_checkpointing=True) if workers.size > 1 else None
    learner = Learner(trial, IMAGES, workers=workers, fit=fit)
    for _ in range(3):
        learner.update()
    return [parameter.detach() for parameter in learner.network.parameters()]


def each_case(rank: int, size: int, folder: str) -> None:
    """A worker's process: leave the weights of every case in a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=size)
    found = {case: weights_after(case, workers=Workers(rank=rank, size=size)) for case in CASES}
    torch.save(found, f"{folder}/weights-{rank}")
    dist.destroy_process_group()


def difference(a: list[Tensor], b: list[Tensor], *, start: list[Tensor]) -> float:
    """How far two networks have come apart, over how far the first has come."""
    apart, way = ([(x - y).detach() for x, y in zip(a, other, strict=True)] for other in (b, start))
    return float(torch.stack(torch._foreach_norm(apart)).norm() / torch.stack(torch._foreach_norm(way)).norm())


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.usefixtures("one_thread")
def test_workers_have_equal_weights_near_those_of_one_however_they_sum_their_gradients(size: int, tmp_path: Path) -> None:
    spawn(each_case, args=(size, str(tmp_path)), nprocs=size)
    lead, *others = (torch.load(tmp_path / f"weights-{rank}", weights_only=True) for rank in range(size))
    assert all(torch.equal(a, b) for other in others for case in CASES for a, b in zip(lead[case], other[case], strict=True))
    start: dict[str, list[Tensor]] = {case: [*build(small_trial(**CASES[case])).parameters()] for case in CASES}
    found = {case: difference(weights_after(case, workers=Workers()), lead[case], start=start[case]) for case in CASES}
    assert all(found[case] < 1e-3 for case in CASES if case != "rounded"), found
    assert found["plain"] < found["rounded"] < 0.1, found
