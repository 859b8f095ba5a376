"""A rung of samples with two workers: the lead draws them, and both know the score or end together."""

import json
from pathlib import Path
from typing import Literal

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from tests.unit.trainables.test_train import BATCH, assignment, run
from trainables.evaluation import generate
from trainables.report import Ended, Rung
from trainables.train import train
from trainables.training.workers import Workers

pytestmark = pytest.mark.slow  # processes of their own
SIZE = 2
AT = 2
METRIC = "fd_efflite0_96"
Fault = Literal["none", "interrupted", "not finite"]


def rung_of(folder: Path, **more: object) -> dict[str, object]:
    """An assignment's keywords: a rung of samples after two of three updates."""
    return {"store": folder, "steps": 3, "scored": True, "rungs": (AT * BATCH,), "rung_metric": METRIC, **more}


def without_numbers(network: torch.nn.Module, noise: Tensor, *_: object, **__: object) -> Tensor:
    """Samples of a network that has diverged."""
    return noise / 0 - noise / 0


def one_of(rank: int, folder: str, fault: Fault) -> None:
    """A worker's process: train, and leave the rung's value and the outcome in a file."""
    torch.set_num_threads(1)
    if fault == "not finite":
        vars(generate)["sample"] = without_numbers
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=SIZE)
    work = assignment(**rung_of(Path(folder) / "together"))  # type: ignore[arg-type]
    asked = iter([False] * AT + [fault == "interrupted"])
    reports = list(train(work, workers=Workers(rank=rank, size=SIZE), interrupted=lambda: rank == 0 and next(asked, False)))
    end = reports[-1]
    assert isinstance(end, Ended)
    rungs = [report.values[METRIC] for report in reports if isinstance(report, Rung)]
    told = {"outcome": end.outcome, "images": end.images, "rungs": rungs}
    (Path(folder) / f"told-{rank}.json").write_text(json.dumps(told))
    dist.barrier()  # nobody leaves while the other still talks
    dist.destroy_process_group()


def told(folder: Path, *, fault: Fault) -> list[dict[str, object]]:
    """What each of two workers says."""
    spawn(one_of, args=(str(folder), fault), nprocs=SIZE)
    return [json.loads((folder / f"told-{rank}.json").read_text()) for rank in range(SIZE)]


@pytest.mark.usefixtures("one_thread")
def test_both_workers_know_the_score_that_the_lead_has_measured(tmp_path: Path) -> None:
    first, second = told(tmp_path, fault="none")
    assert first == second
    alone = [report for report in run(assignment(**rung_of(tmp_path / "alone"))) if isinstance(report, Rung)]  # type: ignore[arg-type]
    assert first["rungs"] == pytest.approx([rung.values[METRIC] for rung in alone], rel=1e-3)


@pytest.mark.usefixtures("one_thread")
def test_workers_whose_lead_is_interrupted_while_sampling_pause_together_and_the_rung_stays_due(tmp_path: Path) -> None:
    paused = {"outcome": "paused", "images": AT * BATCH, "rungs": []}
    assert told(tmp_path, fault="interrupted") == [paused, paused]
    reports = run(assignment(**rung_of(tmp_path / "together")), attempt=2)  # type: ignore[arg-type]
    assert [report.images for report in reports if isinstance(report, Rung)] == [AT * BATCH]


def test_samples_of_the_lead_that_are_no_numbers_end_the_trial_on_both_workers(tmp_path: Path) -> None:
    diverged = {"outcome": "diverged", "images": AT * BATCH, "rungs": []}
    assert told(tmp_path, fault="not finite") == [diverged, diverged]
