"""What a sweep takes by `plan --probe`, as tables and as JSON."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from jit_sweep.cli.silence import clock
from jit_sweep.cli.tables import Column, table_of
from jit_sweep.estimate.simulate import Estimate, Job, checkpoint_bytes
from search_spaces.cells import arm_label
from trainables.config.fields import counted

GIB, MIB = 2**30, 2**20


def estimate_json(estimate: Estimate, *, price: float | None) -> dict[str, Any]:
    """An estimate in all, and by trial in the order of the plan. An entry that shares another's training has no row, and what
    is still to be proposed has no name."""
    priced = {"price": estimate.device_hours * price} if price is not None else {}
    return {
        "unit": f"{estimate.unit}-hours",
        "device_hours": estimate.device_hours,
        "wall_s": estimate.wall_s,
        "at_most": estimate.is_at_most,
        "lanes": estimate.lanes,
        "disk_bytes": estimate.disk_bytes,
        "kept_bytes": estimate.kept_bytes,
        **priced,
        "trials": [_job_json(job) for job in estimate.jobs],
    }


def _job_json(job: Job) -> dict[str, Any]:
    entry = job.entry
    is_planned = entry.origin == "tuning" or (entry.origin == "grid" and not entry.base)
    trial = entry.trial_id if is_planned else None
    own = {"seconds": job.seconds, "checkpoint_bytes": checkpoint_bytes(entry.trial), **job.measured.model_dump()}
    return {"stage": entry.stage, "trial": trial, "origin": entry.origin, "shape": job.shape, **own}


def print_estimate(estimate: Estimate, screen: Console, *, price: float | None) -> None:
    """A line a shape, and what the sweep takes in all."""
    _print_shapes(estimate, screen)
    most = _most(estimate)
    screen.print(in_all(estimate))
    screen.print(f"checkpoints: {most}{_size(estimate.disk_bytes)} while it runs, {_size(estimate.kept_bytes)} after it")
    if price is not None:
        screen.print(f"price: {most}{estimate.device_hours * price:,.2f} at {price:g} a {estimate.unit}-hour")


def in_all(estimate: Estimate) -> str:
    """What all trials take together, in a line."""
    most, at_once = _most(estimate), f"{counted(estimate.lanes, 'trial')} at once"
    return f"in all {most}{estimate.device_hours:.4g} {estimate.unit}-hours; {most}{clock(estimate.wall_s)} with {at_once}"


def _most(estimate: Estimate) -> str:
    return "at most " if estimate.is_at_most else ""


def _print_shapes(estimate: Estimate, screen: Console) -> None:
    jobs_of = [
        [job for job in estimate.jobs if job.shape == shape] for shape in dict.fromkeys(job.shape for job in estimate.jobs)
    ]
    seen = [jobs[0].measured for jobs in jobs_of]
    memory = [f"{_size(each.peak_bytes)} ({_size(each.modelled_bytes)})" for each in seen]
    columns = [
        Column("cell", [_in_common(jobs) for jobs in jobs_of], wraps=True),
        Column("trials", [str(len(jobs)) for jobs in jobs_of], 3, right=True),
        Column("images/s", [f"{each.images_per_second:.4g}" for each in seen], right=True),
        Column("warm-up s", [f"{each.warmup_s:.3g}" for each in seen], 4, right=True),
        Column("a trial", [clock(max(job.seconds for job in jobs)) for jobs in jobs_of], right=True),
        Column("evaluation s", [f"{each.sampled_s:.3g}" for each in seen], 5, right=True),
        Column("peak memory (model)", memory, 1, right=True),
        Column("checkpoint", [_size(checkpoint_bytes(jobs[0].entry.trial)) for jobs in jobs_of], 2, right=True),
    ]
    screen.print("\nmeasured here, one worker a trial")
    screen.print(table_of(columns, width=screen.width))


def _in_common(jobs: Sequence[Job]) -> str:
    """The axis values that all trials of a shape share."""
    first = jobs[0].entry.arm
    return arm_label({axis: value for axis, value in first.items() if all(job.entry.arm.get(axis) == value for job in jobs)})


def _size(count: int) -> str:
    return f"{count / GIB:.3g} GiB" if count >= GIB / 10 else f"{count / MIB:.3g} MiB"
