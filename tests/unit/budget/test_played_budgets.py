"""Budgets on played sweeps: spent on answers, never overspent, and a second run has nothing left to do."""

import random
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from jit_sweep.doctor.replay import every_event, judged, replayed
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.records import EntryState
from jit_sweep.plan.entry import Entry
from jit_sweep.schedulers.decide import Decider
from jit_sweep.spec.schedulers import Early, NoScheduler, Patient, SchedulerSpec
from jit_sweep.spec.sweep import SweepSpec
from tests.support.ledger import LedgerFixture, planned
from tests.support.played_budget import IMAGES_PER_SECOND, PlayedBudget
from tests.support.sweep_files import tiny_sweep

RECORDED = 20_261_126
KINDS: tuple[dict[str, Any], ...] = (
    {"kind": "none"},
    {"kind": "halving", "mode": "asynchronous"},
    {"kind": "halving", "mode": "synchronous"},
    {"kind": "promotion"},
    {"kind": "hyperband", "mode": "asynchronous"},
    {"kind": "hyperband", "mode": "synchronous"},
    {"kind": "median", "startup_arms": 1},
    {"kind": "patient", "patience": 0},
)
LADDER = (240, 480, 960)
UNIT = 240
"""Images to the first gate: a trial of the ladder has four of them."""


def decider(kind: dict[str, Any]) -> Decider:
    early: dict[str, Any] = {} if kind["kind"] == "none" else {"first_rung": {"images": UNIT}, "s_train": 0.0}
    if kind["kind"] in ("halving", "promotion", "hyperband"):
        early["reduction"] = 2
    scheduler: Early | NoScheduler = TypeAdapter(SchedulerSpec).validate_python({**early, **kind})
    return Decider(scheduler)


def arm(number: int, seed: int = 0, *, ladder: tuple[int, ...] = LADDER, stage: int = 0, races: bool = True) -> Entry:
    return planned(
        arm={"learning_rate": (number + 1) / 1000},
        seed=seed,
        stage=stage,
        position=10 * number + seed,
        images=ladder[-1],
        gates=ladder[:-1] if races else (),
        race=f"stage={stage}" if races else "",
        origin="search" if stage else "grid",
    )


def played(folder: Path, kind: dict[str, Any], *, grid: list[Entry], seed: int = 0, **told: Any) -> PlayedBudget:
    budget, searched, lanes = told.pop("budget"), told.pop("searched", ()), told.pop("lanes", 1)
    tree = tiny_sweep(name="mine", budget={"images_per_trial": LADDER[-1], **budget})
    ledger = LedgerFixture(open_engine(f"sqlite:///{folder}/{seed}.db"), decider=decider(kind))
    return PlayedBudget(ledger, SweepSpec.model_validate(tree), grid, random.Random(seed), searched=searched, lanes=lanes)


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("kind", [{"kind": "promotion"}, {"kind": "halving", "mode": "synchronous"}])
def test_arms_that_wait_are_judged_where_the_budget_ends_and_the_best_comes_to_its_end(
    tmp_path: Path, kind: dict[str, Any], lanes: int
) -> None:
    sweep = played(tmp_path, kind, grid=[arm(n) for n in range(9)], budget={"total_images": 8 * UNIT}, lanes=lanes)
    sweep.run()
    assert sweep.images() == 8 * UNIT
    assert sweep.states().count(EntryState.DONE) == 1
    sweep.ledger.engine.dispose()


def test_smaller_trials_are_trained_where_the_budget_is_below_the_first(tmp_path: Path) -> None:
    grid = [arm(0, ladder=(960,)), arm(1, ladder=(240,)), arm(2, ladder=(480,))]
    sweep = played(tmp_path, {"kind": "none"}, grid=grid, budget={"total_images": 800})
    sweep.run()
    assert sweep.states() == [EntryState.OUT_OF_BUDGET, EntryState.DONE, EntryState.DONE]
    sweep.ledger.engine.dispose()


@pytest.mark.slow
def test_what_an_early_stop_frees_is_spent_on_the_next_arm(tmp_path: Path) -> None:
    """Whole trials would be 4 arms at most: halving brings one to its end, and more to a gate."""
    kind = {"kind": "halving", "mode": "asynchronous"}
    sweep = played(tmp_path, kind, grid=[arm(n) for n in range(12)], budget={"total_images": 16 * UNIT})
    sweep.run()
    assert sum(row.attempt is not None for row in sweep.rows()) > 4
    assert EntryState.DONE in sweep.states()
    sweep.ledger.engine.dispose()


@pytest.mark.slow
def test_a_larger_budget_goes_on_with_what_a_smaller_did_not_hold(tmp_path: Path) -> None:
    sweep = played(tmp_path, {"kind": "promotion"}, grid=[arm(n) for n in range(9)], budget={"total_images": 8 * UNIT})
    sweep.run()
    sweep.spec = SweepSpec.model_validate(tiny_sweep(name="mine", budget={"images_per_trial": LADDER[-1]}))
    sweep.run()
    assert EntryState.OUT_OF_BUDGET not in sweep.states()
    assert all(row.attempt is not None for row in sweep.rows())
    sweep.ledger.engine.dispose()


def some_world(folder: Path, number: int) -> PlayedBudget:
    """A sweep with a scheduler, a budget and lanes, all drawn from a number."""
    luck = random.Random(RECORDED + number)
    kind, seeds, arms = luck.choice(KINDS), luck.choice((1, 1, 2)), luck.randint(2, 7)
    ladders = luck.choice(((LADDER,), (LADDER, (240, 480)), ((240, 960),)))
    races = kind["kind"] != "none"
    grid = [arm(n, seed, ladder=luck.choice(ladders), races=races) for n in range(arms) for seed in range(seeds)]
    searched = [arm(20 + n, stage=1, races=races) for n in range(luck.choice((0, 0, 3)))]
    whole = sum(entry.images for entry in (*grid, *searched))
    images = UNIT * luck.randint(1, 1 + whole // UNIT)
    hours = images / IMAGES_PER_SECOND / 3600
    budget: dict[str, Any] = luck.choice(
        (
            {"total_images": images},
            {"total_images": images + 17},
            {"total_images": images, "trials": luck.randint(1, arms)},
            {"trials": luck.randint(1, arms)},
            {"gpu_hours": hours},
            {"wall_hours": hours},
            {"money": 3 * hours, "price_per_gpu_hour": 2.0},
        )
    )
    return played(folder, kind, grid=grid, seed=number, budget=budget, searched=searched, lanes=luck.randint(1, 4))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(3))
def test_a_second_run_of_an_unchanged_file_trains_nothing_and_no_budget_is_overspent(tmp_path: Path, part: int) -> None:
    for number in range(part * 8, part * 8 + 8):
        sweep = some_world(tmp_path, number)
        sweep.run()
        attempts, budget = sweep.ledger.reader.attempts("mine"), sweep.spec.budget
        told = f"world {number}: {sweep.ledger.decider.scheduler}, {budget}, {sweep.lanes} lanes, {sweep.states()}"
        assert budget.total_images is None or sweep.images() <= budget.total_images, told
        assert budget.trials is None or len({attempt.trial_id for attempt in attempts}) <= budget.trials, told
        holds_one = budget.total_images is not None and budget.total_images >= min(entry.images for entry in sweep.grid)
        may_stop_all = isinstance(sweep.ledger.decider.scheduler, Patient)  # it compares an arm with nothing but itself
        assert EntryState.DONE in sweep.states() or not holds_one or may_stop_all, told
        sweep.run()
        assert sweep.ledger.reader.attempts("mine") == attempts, told
        assert EntryState.HELD not in sweep.states(), told
        events = every_event(sweep.ledger.reader, "mine")
        recorded = judged(events)
        assert replayed(events, sweep.ledger.decider.scheduler) == recorded, told
        sweep.ledger.engine.dispose()
