"""A budget read against the ledger: nothing is begun that it cannot pay for, counting what is on its way."""

from typing import Any

import pytest

from jit_sweep.budget.guard import BudgetGuard
from jit_sweep.spec.sweep import SweepSpec
from tests.support.ledger import IMAGES, LedgerFixture, planned
from tests.support.sweep_files import tiny_sweep

ENTRIES = [planned(arm={"prediction": "x"}, seed=seed, position=seed) for seed in range(4)]


@pytest.fixture
def ledger(ledger: LedgerFixture) -> LedgerFixture:
    ledger.plan(*ENTRIES)
    return ledger


def guard(ledger: LedgerFixture, **budget: Any) -> BudgetGuard:
    tree = tiny_sweep(name=ledger.name, budget={"images_per_trial": IMAGES, **budget})
    return BudgetGuard(SweepSpec.model_validate(tree), ledger.reader)


def refused(ledger: LedgerFixture, seed: int, *handed_out: int, **budget: Any) -> str:
    rows = ledger.reader.entries(ledger.name)
    flying = [rows[other] for other in handed_out]
    return guard(ledger, **budget).refusal(rows[seed], rows, handed_out=flying)


def test_without_a_budget_everything_may_begin(ledger: LedgerFixture) -> None:
    assert refused(ledger, 0, 1, 2) == ""


def test_trials_whose_lanes_still_come_up_count_as_begun(ledger: LedgerFixture) -> None:
    assert refused(ledger, 0, trials=1) == ""
    assert "1 have begun" in refused(ledger, 1, 0, trials=1)


def test_a_trial_that_was_handed_out_and_has_begun_counts_once(ledger: LedgerFixture) -> None:
    ledger.begin(ENTRIES[0])
    assert refused(ledger, 1, 0, trials=2) == ""
    assert "2 have begun" in refused(ledger, 2, 0, 1, trials=2)


def test_images_are_kept_for_what_is_on_its_way(ledger: LedgerFixture) -> None:
    assert refused(ledger, 1, 0, total_images=2 * IMAGES) == ""
    said = refused(ledger, 2, 0, 1, total_images=2 * IMAGES)
    sums = f"0 are spent, running trials need {2 * IMAGES:,}, and the next needs {IMAGES:,}"
    assert said == f"`budget.total_images` is {2 * IMAGES:,}: {sums}"


def test_a_trial_that_goes_on_is_no_further_trial(ledger: LedgerFixture) -> None:
    ledger.begin(ENTRIES[0])
    assert refused(ledger, 0, trials=1) == ""
