"""A budget read against the ledger: nothing is begun that it cannot pay for, counting what is on its way."""

from typing import Any

import pytest

from jit_sweep.budget.costs import Cost, CostOutcome, cost_line, read_costs
from jit_sweep.budget.guard import BudgetGuard
from jit_sweep.ledger.evaluations import EvaluationLog
from jit_sweep.ledger.event_records import Evaluated
from jit_sweep.spec.sweep import SweepSpec
from tests.support.ledger import IMAGES, LedgerFixture, planned
from tests.support.sweep_files import tiny_sweep
from trainables.report import Progress

ENTRIES = [planned(arm={"prediction": "x"}, seed=seed, position=seed) for seed in range(4)]


@pytest.fixture
def ledger(ledger: LedgerFixture) -> LedgerFixture:
    ledger.plan(*ENTRIES)
    return ledger


def spec_of(ledger: LedgerFixture, **budget: Any) -> SweepSpec:
    return SweepSpec.model_validate(tiny_sweep(name=ledger.name, budget={"images_per_trial": IMAGES, **budget}))


def guard(ledger: LedgerFixture, **budget: Any) -> BudgetGuard:
    return BudgetGuard(spec_of(ledger, **budget), ledger.reader)


def refused(ledger: LedgerFixture, seed: int, *handed_out: int, **budget: Any) -> str:
    rows = ledger.reader.entries(ledger.name)
    flying = [rows[other] for other in handed_out]
    return guard(ledger, **budget).refusals(rows, handed_out=flying)(rows[seed])


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


def test_running_trials_keep_what_they_need_to_their_next_gates_and_one_of_them_to_its_end(ledger: LedgerFixture) -> None:
    place: dict[str, Any] = {"stage": 1, "gates": (240, 480), "race": "stage=1"}
    racing = [planned(arm={"prediction": "v"}, seed=n, position=n, **place) for n in range(3)]
    ledger.plan(*racing)
    first = ledger.begin(racing[0])
    ledger.tell(first, Progress(images=240, step=5, loss=0.1, images_per_second=1.0))
    ledger.begin(racing[1])
    # 240 are spent, the first is to be paid to 480, the second and third to 240; one of them needs 480 more.
    assert refused(ledger, 6, total_images=4 * 240 + 480) == ""
    sums = "240 are spent, running trials need 480, the next needs 240, and one to come to its end needs 720 more"
    assert refused(ledger, 6, total_images=4 * 240 + 479) == f"`budget.total_images` is 1,439: {sums}"


def test_a_trial_at_a_gate_goes_on_where_the_budget_holds_what_lies_behind_it(ledger: LedgerFixture) -> None:
    entry = planned(arm={"prediction": "v"}, stage=1, gates=(240, 480), race="stage=1")
    ledger.plan(entry)
    ledger.begin(entry)
    rows = ledger.reader.entries(ledger.name)
    row = next(row for row in rows if row.key == entry.key)
    assert guard(ledger, total_images=960).refusal_at_gate(row, 240, rows=rows) == ""
    assert "and the next needs 480" in guard(ledger, total_images=479).refusal_at_gate(row, 240, rows=rows)


def test_what_tunes_how_trained_ones_sample_is_spent_and_what_somebody_evaluates_is_not(ledger: LedgerFixture) -> None:
    entry, log = ENTRIES[0], EvaluationLog(ledger.engine, clock=ledger.clock)
    found = {"images": IMAGES, "evaluation_id": "e", "evaluation": {}, "values": {}, "without_each": {}, "heldout": {}}
    more: dict[str, Any] = {**found, "rows": {}, "collapsed": False, "code_version": "1"}
    for by_file, seconds in ((True, 1800.0), (False, 3600.0), (True, 900.0)):
        log.add(Evaluated(seconds=seconds, tunes_sweep=by_file, **more), sweep=ledger.name, trial_id=entry.trial_id)
        ledger.clock.now += seconds
    assert guard(ledger, gpu_hours=0.75).is_over() == "`budget.gpu_hours` is 0.75: 0.75 are spent"
    assert guard(ledger, gpu_hours=0.76).is_over() == ""
    assert "`budget.wall_hours`" in guard(ledger, wall_hours=0.75).is_over()
    assert guard(ledger, wall_hours=0.76).is_over() == ""
    spent = read_costs(ledger.reader, ledger.name)
    assert spent.by_outcome[CostOutcome.TUNING] == Cost(2700.0, 0.75, 2)
    assert spent.total.device_hours == 0.75
    assert cost_line(ledger.reader, ledger.name) == "cost: 0.75 CPU-hours: 0.75 tuning of sampling"


def test_money_is_device_hours_at_their_price(ledger: LedgerFixture) -> None:
    ledger.begin(ENTRIES[0])
    spends = {"price_per_gpu_hour": 4.0}
    hour = BudgetGuard(spec_of(ledger, money=4.0, **spends), ledger.reader, clock=lambda: ledger.clock() + 3600)
    assert hour.is_over() == "`budget.money` is 4: 4 are spent"
    assert BudgetGuard(spec_of(ledger, money=4.1, **spends), ledger.reader, clock=lambda: ledger.clock() + 3600).is_over() == ""
