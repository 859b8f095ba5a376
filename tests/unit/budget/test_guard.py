"""A budget read against the ledger: nothing is begun that it cannot pay for, counting what is on its way."""

from pathlib import Path
from typing import Any

import pytest

from jit_sweep.budget.guard import BudgetGuard
from jit_sweep.ledger.connect import open_engine
from jit_sweep.spec.sweep import SweepSpec
from tests.support.ledger import IMAGES, Desk, planned
from tests.support.sweep_files import tiny_sweep

ENTRIES = [planned(arm={"prediction": "x"}, seed=seed, position=seed) for seed in range(4)]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(open_engine(f"sqlite:///{tmp_path}/ledger.db"))
    desk.plan(*ENTRIES)
    return desk


def guard(desk: Desk, **budget: Any) -> BudgetGuard:
    tree = tiny_sweep(name=desk.name, budget={"images_per_trial": IMAGES, **budget})
    return BudgetGuard(SweepSpec.model_validate(tree), desk.reader)


def refused(desk: Desk, seed: int, *handed_out: int, **budget: Any) -> str:
    rows = desk.reader.entries(desk.name)
    flying = [rows[other] for other in handed_out]
    return guard(desk, **budget).refusal(rows[seed], rows, handed_out=flying)


def test_without_a_budget_everything_may_begin(desk: Desk) -> None:
    assert refused(desk, 0, 1, 2) == ""


def test_trials_whose_lanes_still_come_up_count_as_begun(desk: Desk) -> None:
    assert refused(desk, 0, trials=1) == ""
    assert "1 have begun" in refused(desk, 1, 0, trials=1)


def test_a_trial_that_was_handed_out_and_has_begun_counts_once(desk: Desk) -> None:
    desk.begin(ENTRIES[0])
    assert refused(desk, 1, 0, trials=2) == ""
    assert "2 have begun" in refused(desk, 2, 0, 1, trials=2)


def test_images_are_kept_for_what_is_on_its_way(desk: Desk) -> None:
    assert refused(desk, 1, 0, total_images=2 * IMAGES) == ""
    said = refused(desk, 2, 0, 1, total_images=2 * IMAGES)
    sums = f"0 are spent, running trials need {2 * IMAGES:,}, and the next needs {IMAGES:,}"
    assert said == f"`budget.total_images` is {2 * IMAGES:,}: {sums}"


def test_a_trial_that_goes_on_is_no_further_trial(desk: Desk) -> None:
    desk.begin(ENTRIES[0])
    assert refused(desk, 0, trials=1) == ""
