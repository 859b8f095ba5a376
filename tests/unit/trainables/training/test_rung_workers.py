"""Samples of two workers: they are what one draws, and both know the score or end together."""

import json
from pathlib import Path
from typing import Literal

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from tests.support.trials import lively
from tests.unit.trainables.test_train import BATCH, DATA, assignment, run, trial
from trainables.config.evaluation import EvaluationConfig
from trainables.methods import denoiser
from trainables.report import Ended, Rung, Scored
from trainables.storage.folder import Folder
from trainables.train import train
from trainables.training.drawing import KeptSamples, draw
from trainables.training.workers import Workers

pytestmark = pytest.mark.slow  # processes of their own
SIZE = 2
AT = 2
METRIC = "fd_efflite0_96"
Fault = Literal["none", "interrupted", "not finite"]
FAULTS: tuple[Fault, ...] = ("none", "interrupted", "not finite")
"""In this order: the last one spoils the process."""


def rung_of(folder: Path, **more: object) -> dict[str, object]:
    """An assignment's keywords: a rung of samples after two of three updates."""
    return {"store": folder, "steps": 3, "scored": True, "rungs": (AT * BATCH,), "rung_metric": METRIC, **more}


def without_numbers(network: torch.nn.Module, noise: Tensor, *_: object, **__: object) -> Tensor:
    """Samples of a network that has diverged."""
    return noise / 0 - noise / 0


def one_of(rank: int, folder: str) -> None:
    """A worker's process: train once for each fault, and leave the rung's value and the outcome in a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=SIZE)
    torch.save(drawn_by(Workers(rank=rank, size=SIZE), Path(folder)), f"{folder}/drawn-{rank}")
    for fault in FAULTS:
        (Path(folder) / f"{fault}-{rank}.json").write_text(json.dumps(trained(Path(folder) / fault, rank=rank, fault=fault)))
        dist.barrier()  # nobody goes on or leaves while the other still talks
    dist.destroy_process_group()


def trained(folder: Path, *, rank: int, fault: Fault) -> dict[str, object]:
    """What a worker has to say of its trial."""
    if fault == "not finite":
        vars(denoiser)["sample"] = without_numbers
    work = assignment(**rung_of(folder))  # type: ignore[arg-type]
    asked = iter([False] * AT + [fault == "interrupted"])
    reports = list(train(work, workers=Workers(rank=rank, size=SIZE), interrupted=lambda: rank == 0 and next(asked, False)))
    end = reports[-1]
    assert isinstance(end, Ended)
    rungs = [report.values[METRIC] for report in reports if isinstance(report, Rung)]
    scores = [report.by_name for report in reports if isinstance(report, Scored)]
    return {"outcome": end.outcome, "images": end.images, "rungs": rungs, "scores": scores}


def drawn_by(workers: Workers, folder: Path) -> dict[str, Tensor]:
    """Samples and features that workers make of one network: 8 batches of 9, the last of 7."""
    found = draw(
        lively(trial()),
        trial(),
        EvaluationConfig(n=70, sampler="euler", steps=2),
        torch.arange(70) % DATA.num_classes,
        workers=workers,
        kept=KeptSamples(Folder(str(folder)), f"drawn by {workers.size}", 0.0),
        interrupted=lambda: False,
        drawn=lambda _: None,
    )
    return {**found.features, "samples": found.samples}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two workers have left, trial after trial: they start once, since that takes longer than all else."""
    folder = tmp_path_factory.mktemp("workers")
    spawn(one_of, args=(str(folder),), nprocs=SIZE)
    return folder


def told(folder: Path, *, fault: Fault) -> list[dict[str, object]]:
    """What each of them says."""
    return [json.loads((folder / f"{fault}-{rank}.json").read_text()) for rank in range(SIZE)]


@pytest.mark.usefixtures("one_thread")
def test_two_workers_draw_the_samples_and_features_of_one_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    alone, together = drawn_by(Workers(), tmp_path), torch.load(folder / "drawn-0", weights_only=True)
    assert alone.keys() == together.keys()
    assert len(alone["efflite0"]) == 70
    assert [name for name in alone if not torch.equal(alone[name], together[name])] == []


@pytest.mark.usefixtures("one_thread")
def test_both_workers_know_the_score_that_the_lead_has_measured(folder: Path, tmp_path: Path) -> None:
    first, second = told(folder, fault="none")
    assert first == second
    assert first["scores"]
    alone = [report for report in run(assignment(**rung_of(tmp_path))) if isinstance(report, Rung)]  # type: ignore[arg-type]
    assert first["rungs"] == pytest.approx([rung.values[METRIC] for rung in alone], rel=1e-3)


@pytest.mark.usefixtures("one_thread")
def test_workers_whose_lead_is_interrupted_while_sampling_pause_together_and_the_rung_stays_due(folder: Path) -> None:
    paused = {"outcome": "paused", "images": AT * BATCH, "rungs": [], "scores": []}
    assert told(folder, fault="interrupted") == [paused, paused]
    reports = run(assignment(**rung_of(folder / "interrupted")), attempt=2)  # type: ignore[arg-type]
    assert [report.images for report in reports if isinstance(report, Rung)] == [AT * BATCH]


def test_samples_of_the_lead_that_are_no_numbers_end_the_trial_on_both_workers(folder: Path) -> None:
    diverged = {"outcome": "diverged", "images": AT * BATCH, "rungs": [], "scores": []}
    assert told(folder, fault="not finite") == [diverged, diverged]
