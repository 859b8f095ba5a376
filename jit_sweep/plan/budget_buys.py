"""What a sweep's budget buys, before anything has run: by its images and trials, and by its hours and money where speeds are
measured. Without a measurement hours are held against what no device can undercut."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from jit_sweep.plan.entry import Entry, Plan, one_a_cell
from jit_sweep.plan.fault import Fault
from jit_sweep.plan.search import proposals, searches
from jit_sweep.plan.tuned_arms import still_to_come
from jit_sweep.spec.budget import Budget
from jit_sweep.spec.sweep import SweepSpec
from trainables.config.fields import counted
from trainables.config.shape import SpeedShape, speed_shape
from trainables.networks.cost import training_flops

Speeds = Mapping[SpeedShape, float]
"""Images a second of whole trials, by shape."""
FASTEST = {"gpu": 1e16, "cpu": 1e12}
"""FLOPs a second that no GPU, and no core of a CPU, comes to: several times the best of 2026."""


class TrialPrice(NamedTuple):
    """What some images of a trial take of each limit of a budget."""

    images: int
    device_hours: float
    wall_hours: float
    measured: bool


Limit = tuple[str, float | None, Callable[[TrialPrice], float]]
"""A limit's key, its value, and what counts against it."""


def budget_faults(spec: SweepSpec, entries: Sequence[Entry], speeds: Speeds | None = None) -> list[Fault]:
    """A fault for each limit of the budget that brings no trial to its end.

    What searches propose may be cheaper than anything that is known of it: beside one, hours and money are not held to this.
    """
    images = [*(entry.images for entry in entries), *([spec.budget.images_per_trial] if searches(spec) else [])]
    smallest, faults = min(images, default=0), []
    total = spec.budget.total_images
    if total is not None and total < smallest:
        rule = f"must bring one trial to its end, got {total:,}; the smallest trains on {smallest:,}"
        faults.append(Fault("budget.total_images", f"{rule}, so give as many, or lower `images_per_trial`"))
    limits = [(key, limit, taken) for key, limit, taken in _of_time(spec.budget) if limit is not None]
    if searches(spec) or not entries or not limits:
        return faults
    prices = [price_of(spec, entry, images=entry.images, speeds=speeds or {}) for entry in one_a_cell(entries)]
    for key, limit, taken in limits:
        cheapest = min(prices, key=taken)
        if taken(cheapest) > limit:
            faults.append(Fault(f"budget.{key}", _too_little(limit, taken(cheapest), measured=cheapest.measured)))
    return faults


def _too_little(limit: float, need: float, *, measured: bool) -> str:
    how = "takes {:.3g} by the speed measured here" if measured else "takes {:.3g} on hardware faster than any"
    rule = f"must bring one trial to its end, got {limit:.3g}; the cheapest {how.format(need)}, estimated without evaluation"
    return f"{rule}; give more, or lower `images_per_trial`"


def price_of(spec: SweepSpec, entry: Entry, *, images: int, speeds: Speeds) -> TrialPrice:
    """What the first `images` of an entry's trial take: by its shape's speed, else at least."""
    resources = spec.resources
    devices = resources.workers * (resources.gpus or resources.cpus)
    speed = speeds.get(speed_shape(entry.trial))
    if speed:
        wall = images / speed / 3600
        return TrialPrice(images, wall * devices, wall, measured=True)
    fastest = FASTEST["gpu" if resources.gpus else "cpu"] * resources.workers * math.ceil(resources.gpus or resources.cpus)
    wall = training_flops(entry.trial, images=images) / fastest / 3600
    return TrialPrice(images, wall * devices, wall, measured=False)


def bought(plan: Plan, speeds: Speeds | None = None) -> list[str]:
    """What the budget buys of the plan, in lines; none where it has no limit."""
    spec, budget = plan.spec, plan.spec.budget
    if not budget.is_limited:
        return []
    planned = [*plan.entries, *still_to_come(plan)]
    trials = list({(entry.trial_id, entry.images): entry for entry in planned}.values())
    later = sum(proposals(plan).values())
    to_end = [price_of(spec, entry, images=entry.images, speeds=speeds or {}) for entry in trials]
    timed = [key for key, limit, _ in _of_time(budget) if limit is not None]
    lines: list[str] = []
    if timed and (later or not all(price.measured for price in to_end)):
        lines = [f"what {' and '.join(timed)} buy shows once the trials are measured (`plan --probe`) and proposed"]
        if budget.total_images is None and budget.trials is None:
            return lines
    to_gate = [price_of(spec, entry, images=min(entry.gates, default=entry.images), speeds=speeds or {}) for entry in trials]
    proposed = [TrialPrice(budget.images_per_trial, 0.0, 0.0, measured=False)] * later
    finish, start = _held([*to_end, *proposed], budget), _held([*to_gate, *proposed], budget)
    line = f"the budget brings {finish} of {counted(len(trials) + later, 'trial')} to the end where none is stopped early"
    return [line + (f", and starts up to {start} where others are" if start > finish else ""), *lines]


def _held(prices: Sequence[TrialPrice], budget: Budget) -> int:
    """How many of the trials a budget holds together, each taken in turn where it fits."""
    counts: tuple[Limit, ...] = (
        ("total_images", budget.total_images, lambda price: price.images),
        ("trials", budget.trials, lambda price: 1),
    )
    limits = [(limit, taken) for key, limit, taken in (*counts, *_of_time(budget)) if key != "wall_hours"]
    used, held = [0.0] * len(limits), 0
    for price in prices:
        after = [before + taken(price) for before, (_, taken) in zip(used, limits, strict=True)]
        if all(limit is None or total <= limit for total, (limit, _) in zip(after, limits, strict=True)):
            used, held = after, held + 1
    return held


def _of_time(budget: Budget) -> tuple[Limit, ...]:
    rate = budget.price_per_gpu_hour or 0.0
    return (
        ("gpu_hours", budget.gpu_hours, lambda price: price.device_hours),
        ("money", budget.money, lambda price: price.device_hours * rate),
        ("wall_hours", budget.wall_hours, lambda price: price.wall_hours),
    )
