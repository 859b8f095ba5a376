"""Every device-second of a sweep is counted once, under what came of it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from jit_sweep.budget.costs import Cost, CostOutcome, Costs, cost_line, costs, read_costs
from jit_sweep.budget.spending import Spending, devices_of
from jit_sweep.cli import status as command
from jit_sweep.ledger.records import AttemptRow, Cause, CostRow, EntryRow, ScoreRow, SweepState
from jit_sweep.spec.sweep import Resources
from tests.support.attempts import TARGET, attempt, done, entry
from tests.support.cli import jit_sweep
from tests.support.ledger import BOB, OBJECTIVE, LedgerFixture, ended, planned
from trainables.report import Committed

ONE = {"mine": Resources(), "theirs": Resources()}


def took(*attempts: AttemptRow, train: float = 100.0, evaluation: float = 0.0, checkpoint: float = 0.0) -> list[CostRow]:
    kinds = {"train": train, "evaluation": evaluation, "checkpoint": checkpoint}
    return [CostRow(a.trial_id, a.number, kind, seconds) for a in attempts for kind, seconds in kinds.items()]  # type: ignore[arg-type]


def score(made_by: AttemptRow) -> ScoreRow:
    blank: dict[str, Any] = dict.fromkeys(ScoreRow._fields)
    made = {"trial_id": made_by.trial_id, "images": made_by.target_images, "evaluation_id": "e", "attempt": made_by.number}
    return ScoreRow(**{**blank, **made})


def found(
    attempts: Sequence[AttemptRow],
    seconds: Sequence[CostRow],
    *entries: EntryRow,
    resources: dict[str, Resources] = ONE,
    scores: Sequence[ScoreRow] = (),
    now: float | None = None,
) -> Costs:
    devices = {name: devices_of(asked) for name, asked in resources.items()}
    return costs(
        Spending("mine", attempts, devices, now=now),
        unit="GPU" if resources["mine"].gpus else "CPU",
        seconds=seconds,
        entries=entries,
        scores=scores,
    )


def seconds_of(costs: Costs) -> dict[str, float]:
    """What cost anything."""
    return {str(outcome): round(cost.seconds, 6) for outcome, cost in costs.by_outcome.items() if cost.seconds}


def test_a_scored_trial_is_useful_but_for_its_evaluation_and_the_time_its_workers_waited() -> None:
    whole = done(ended_at=130.0)
    spent = found([whole], took(whole, train=90.0, evaluation=20.0, checkpoint=10.0), entry(last=whole))
    assert seconds_of(spent) == {"useful": 100.0, "evaluation": 20.0, "overhead": 10.0}
    assert spent.total.seconds == 130.0


@pytest.mark.parametrize(
    "cause",
    ["worker_lost", "node_lost", "preempted", "stalled", "out_of_memory", "driver_lost", "storage_error"],
)
def test_a_lost_attempt_keeps_what_its_checkpoint_holds_and_repeats_the_rest(cause: str) -> None:
    lost = attempt(images=640, checkpoint_images=480, outcome="failed", cause=Cause(cause), ended_at=100.0)
    again = done(number=2, ended_at=200.0, started_at=140.0)
    spent = found([lost, again], [*took(lost), *took(again, train=60.0)], entry(last=again))
    assert seconds_of(spent) == {"useful": 75.0 + 60.0, "retried": 25.0}


def test_a_second_loss_repeats_only_what_came_after_the_first_checkpoint() -> None:
    first = attempt(images=480, checkpoint_images=480, outcome="failed", cause=Cause.WORKER_LOST, ended_at=100.0)
    second = attempt(
        number=2, images=720, checkpoint_images=480, outcome="failed", cause=Cause.WORKER_LOST, started_at=100, ended_at=200.0
    )
    last = done(number=3, started_at=200.0, ended_at=300.0)
    spent = found([first, second, last], took(first, second, last), entry(last=last))
    assert seconds_of(spent) == {"useful": 200.0, "retried": 100.0}


def test_a_loss_before_the_first_checkpoint_repeats_everything_and_so_does_one_at_the_first_step() -> None:
    lost = attempt(images=640, outcome="failed", cause=Cause.WORKER_LOST, ended_at=100.0)
    never = attempt("u", outcome="failed", cause=Cause.NODE_LOST, ended_at=100.0)
    spent = found([lost, never], took(lost, never), entry(state="waiting", last=lost))
    assert seconds_of(spent) == {"retried": 200.0}


def test_the_wait_until_a_silent_attempt_was_given_up_is_lost_too() -> None:
    stalled = attempt(
        images=480, checkpoint_images=480, outcome="failed", cause=Cause.STALLED, updated_at=100.0, ended_at=1000.0
    )
    assert seconds_of(found([stalled], took(stalled), entry(state="waiting"))) == {"unfinished": 100.0, "retried": 900.0}


@pytest.mark.parametrize("cause", ["bug", "data_error", "infeasible"])
def test_a_trial_s_own_fault_is_failed_and_not_repeated(cause: str) -> None:
    broken = attempt(images=640, checkpoint_images=480, outcome="failed", cause=Cause(cause), ended_at=100.0)
    assert seconds_of(found([broken], took(broken), entry(state="failed", last=broken))) == {"failed": 100.0}


def test_a_diverged_trial_failed_with_what_it_had_saved_before() -> None:
    paused = attempt(images=480, checkpoint_images=480, outcome="paused", ended_at=100.0)
    diverged = attempt(number=2, images=600, outcome="diverged", cause=Cause.DIVERGED, started_at=100, ended_at=200.0)
    spent = found([paused, diverged], took(paused, diverged), entry(state="diverged", last=diverged))
    assert seconds_of(spent) == {"failed": 200.0}


def test_the_end_of_a_budget_that_was_scored_stays_useful_when_a_longer_one_diverges() -> None:
    scored = done(ended_at=100.0, target_images=480)
    diverged = attempt(number=2, images=600, outcome="diverged", cause=Cause.DIVERGED, started_at=100, ended_at=200.0)
    spent = found([scored, diverged], took(scored, diverged), entry(images=480, last=scored), entry(state="diverged"))
    assert seconds_of(spent) == {"useful": 100.0, "failed": 100.0}


@pytest.mark.parametrize(("state", "outcome"), [("pruned", "pruned"), ("held", "unfinished"), ("paused", "unfinished")])
def test_a_trial_that_a_scheduler_ended_is_pruned_and_one_that_may_go_on_is_not(state: str, outcome: str) -> None:
    stopped = attempt(images=480, checkpoint_images=480, outcome="paused", ended_at=100.0)
    assert seconds_of(found([stopped], took(stopped), entry(state=state, last=stopped))) == {outcome: 100.0}


def test_a_score_of_a_cell_that_the_file_no_longer_has_was_useful() -> None:
    whole = done(ended_at=100.0)
    assert seconds_of(found([whole], took(whole))) == {"useful": 100.0}


@pytest.mark.parametrize(("now", "seconds"), [(50.0, 50.0), (None, 30.0)])
def test_a_running_trial_costs_its_time_so_far_and_an_abandoned_one_up_to_its_last_report(
    now: float | None, seconds: float
) -> None:
    running = attempt(images=480, updated_at=30.0)
    assert seconds_of(found([running], [], entry(state="running", last=running), now=now)) == {"unfinished": seconds}


def test_a_cache_hit_saves_what_its_maker_took_and_costs_nothing() -> None:
    lost = attempt(sweep="theirs", images=960, checkpoint_images=480, outcome="failed", cause=Cause.BUG, ended_at=100.0)
    made = done(number=2, sweep="theirs", started_at=100.0, ended_at=200.0)
    longer = done(number=3, sweep="theirs", started_at=200.0, ended_at=300.0, target_images=2 * TARGET)
    seconds = took(lost, made, longer, evaluation=5.0)
    devices = {"mine": Resources(), "theirs": Resources(workers=2)}
    spent = found([lost, made, longer], seconds, entry(cached=True), scores=[score(made)], resources=devices)
    assert seconds_of(spent) == {}
    assert spent.saved == Cost(50.0 + 5.0 + 100.0 + 5.0, 2 * 160.0 / 3600, 2)


def test_two_scores_found_of_one_trial_saved_its_training_once() -> None:
    made = done(sweep="theirs", ended_at=100.0)
    hits = [entry(cached=True, key=key) for key in ("0:t", "1:t")]
    assert found([made], took(made), *hits, scores=[score(made)]).saved.seconds == 100.0


def test_a_trial_that_was_trained_here_saved_nothing() -> None:
    made = done(ended_at=100.0)
    assert found([made], took(made), entry(last=made), scores=[score(made)]).saved == Cost()


def test_what_a_sweep_had_lost_before_another_scored_the_trial_was_not_saved() -> None:
    ours = attempt(images=480, checkpoint_images=480, outcome="failed", cause=Cause.NODE_LOST, ended_at=100.0)
    theirs = done(number=2, sweep="theirs", started_at=100.0, ended_at=200.0)
    spent = found([ours, theirs], took(ours, theirs), entry(cached=True, last=ours), scores=[score(theirs)])
    assert seconds_of(spent) == {"useful": 100.0}
    assert spent.saved.seconds == 100.0


@pytest.mark.parametrize(
    ("resources", "unit", "devices"),
    [
        (Resources(workers=2, cpus=3.0), "CPU", 6.0),
        (Resources(workers=2, cpus=8.0, gpus=1.0), "GPU", 2.0),
        (Resources(gpus=0.5, memory_gib=4.0), "GPU", 0.5),
    ],
)
def test_device_hours_are_of_gpus_and_of_cpus_where_a_trial_has_none(resources: Resources, unit: str, devices: float) -> None:
    whole = done(ended_at=3600.0)
    spent = found([whole], took(whole, train=3600.0), entry(last=whole), resources={"mine": resources})
    assert (spent.unit, spent.by_outcome[CostOutcome.USEFUL]) == (unit, Cost(3600.0, devices, 1))


def lost_and_trained(ledger: LedgerFixture) -> None:
    """A trial lost at half of its images, trained in a second go: 10 s, 5 of them saved, and then 10 (1 waiting), 2 and 1."""
    entry = planned()
    ledger.plan(entry)
    lost = ledger.begin(entry)
    ledger.clock.now += 10.0
    ledger.tell(lost, Committed(images=entry.images // 2, uri="file:///c"))
    ledger.writer.fail(lost.trial_id, lost.number, cause=Cause.WORKER_LOST, detail="gone")
    again = ledger.begin(entry)
    ledger.clock.now += 13.0
    ledger.tell(again, ended(entry, "paused").model_copy(update={"data_s": 1.0}))


def test_a_ledger_tells_a_sweep_s_cost_in_one_line(ledger: LedgerFixture) -> None:
    lost_and_trained(ledger)
    ledger.writer.finish("mine", SweepState.INTERRUPTED)
    spent = read_costs(ledger.reader, "mine")
    assert seconds_of(spent) == {"unfinished": 21.0, "evaluation": 2.0}
    assert spent.evaluation_share == pytest.approx(2 / 23)
    line = cost_line(ledger.reader, "mine")
    assert line == "cost: 0.00639 CPU-hours: 0.00583 unfinished, 0.000556 evaluation; 10% of training waited for images"


def test_a_score_of_another_sweep_is_told_as_saved(ledger: LedgerFixture) -> None:
    entry = planned()
    ledger.train(entry, {OBJECTIVE: 1.0})
    other = LedgerFixture(ledger.engine, name="other", owner=BOB)
    other.plan(entry)
    assert cost_line(other.reader, "other") == "cost: 0 CPU-hours; 0.00361 saved by scores that were there before"


def test_the_command_prints_the_sums_of_the_ledger(
    tmp_path: Path, ledger: LedgerFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    lost_and_trained(ledger)
    uri = f"sqlite:///{tmp_path}/ledger.db"
    assert command.show_cost("mine", uri, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "jit-sweep/cost/1"
    assert (told["sweep"], told["unit"], told["saved"]["seconds"]) == ("mine", "CPU-hours", 0.0)
    assert {row["outcome"]: row["seconds"] for row in told["rows"]} == {
        **dict.fromkeys(map(str, CostOutcome), 0.0),
        "unfinished": 21.0,
        "evaluation": 2.0,
    }
    assert told["total_seconds"] == sum(row["seconds"] for row in told["rows"])
    assert command.show_cost("mine", uri, as_json=False) == 0
    shown = capsys.readouterr().out
    assert "unfinished                 2  0:21" in shown
    assert "stopped early" in shown
    assert "pruned" not in shown
    assert "data wait: 10.0% of training" in shown
    assert told["data_wait"] == 0.1


def test_the_command_tells_of_a_trial_how_long_its_training_waited_for_images(
    tmp_path: Path, ledger: LedgerFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    lost_and_trained(ledger)
    assert command.show_why("mine", planned().trial_id, f"sqlite:///{tmp_path}/ledger.db", address=None, as_json=False) == 0
    assert "10 % of training waited for images" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_status_with_cost_asks_for_one_sweep_and_shows_it(tmp_path: Path, ledger: LedgerFixture) -> None:
    lost_and_trained(ledger)
    option = ("--ledger", f"sqlite:///{tmp_path}/ledger.db")
    shown = jit_sweep("status", "mine", "--cost", *option, cwd=tmp_path)
    assert "sweep mine: what it cost" in shown.stdout
    assert "what it cost" not in jit_sweep("status", "mine", *option, cwd=tmp_path).stdout
    refused = jit_sweep("status", "--cost", *option, cwd=tmp_path)
    assert (refused.returncode, "`--cost` needs a sweep" in refused.stderr) == (2, True)
