"""Sweep files for played sweeps, drawn from a seed."""

import random
from functools import cache
from typing import Any

from jit_sweep.plan.entry import Plan
from jit_sweep.plan.plan import plan
from jit_sweep.spec.sweep import SweepSpec
from tests.support.sweep_files import tiny_sweep

BATCH = 8
SCHEDULERS: tuple[dict[str, Any], ...] = (
    {"kind": "none"},
    {"kind": "halving", "mode": "asynchronous"},
    {"kind": "halving", "mode": "synchronous"},
    {"kind": "promotion"},
    {"kind": "hyperband", "mode": "synchronous"},
    {"kind": "hyperband", "mode": "asynchronous"},
    {"kind": "median", "startup_arms": 2},
    {"kind": "patient", "patience": 1},
)


def scheduler(which: int, *, s_train: float = 0.0) -> dict[str, Any]:
    """One of them, with ladders that halve from 16 images on."""
    given = SCHEDULERS[which % len(SCHEDULERS)]
    if given["kind"] == "none":
        return given
    ladder = {"reduction": 2} if given["kind"] in ("halving", "promotion", "hyperband") else {}
    return {**given, **ladder, "first_rung": {"images": 16}, "s_train": s_train}


def grid(arms: int, *, seeds: int = 1) -> dict[str, Any]:
    rates = [round(1e-4 * (1 + arm), 6) for arm in range(arms)]
    return {"grid": {"axes": {"learning_rate": rates}, "seeds": seeds, "contrasts": []}}


def search(trials: int, *, sampler: str = "random", seeds: int = 1, start: str = "baseline") -> dict[str, Any]:
    axes = {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}
    return {"search": {"from": start, "sampler": sampler, "trials": trials, "axes": axes, "seeds": seeds}}


def drawn(seed: int) -> dict[str, Any]:
    """A sweep file: one to three stages, any scheduler, a few arms and seeds, and sometimes a budget."""
    rng = random.Random(f"sweep {seed}")
    images = BATCH * rng.choice((4, 6, 8, 12))
    stages = [grid(rng.randint(2, 6), seeds=rng.choice((1, 1, 2)))]
    if rng.random() < 0.4:
        stages.append(search(rng.randint(2, 4), start=rng.choice(("baseline", "best_cell"))))
    budget: dict[str, Any] = {"images_per_trial": images, "rungs": rng.choice((2, 4))}
    if rng.random() < 0.3:
        budget["total_images"] = images * rng.randint(2, 6)
    if rng.random() < 0.1:
        budget["trials"] = rng.randint(2, 4)
    return tiny_sweep(stages=stages, budget=budget, scheduler=scheduler(rng.randrange(8), s_train=rng.choice((0.0, 0.0, 0.02))))


def planned(given: dict[str, Any]) -> Plan:
    return _planned(SweepSpec.model_validate(given).model_dump_json(by_alias=True))


@cache
def _planned(spec: str) -> Plan:
    return plan(SweepSpec.model_validate_json(spec), source="a simulation")
