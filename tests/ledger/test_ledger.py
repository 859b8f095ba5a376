"""The ledger, on sqlite and on PostgreSQL: it loses nothing, repeats nothing and takes nothing from who is not current."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_args

import pytest
from sqlalchemy import event

from jit_sweep.errors import UserError
from jit_sweep.ledger import schema
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.event_records import Begun, EntriesAdded, EventKind, EventRow, Failed, Finished, LedgerRecord, Registered
from jit_sweep.ledger.failures import follow_up
from jit_sweep.ledger.lease import TTL_S
from jit_sweep.ledger.records import AttemptRow, Cause, EntryState, RungRow, ScoreRow, SweepState
from jit_sweep.ledger.writer import StaleAttempt, TrialBusy
from jit_sweep.plan.entry import Entry
from tests.support.ledger import BOB, FACTS, IMAGES, OBJECTIVE, LedgerFixture, contents, ended, planned, scored
from trainables.report import Committed, Decision, Ended, Phase, Progress, Report, Rung, TrialOutcome

VALUES = {OBJECTIVE: 1200.5, "heldout_v_error": 0.25}


def whole_life(entry: Entry) -> list[Report]:
    """Everything that a trial says when all goes well."""
    return [
        Progress(images=480, step=10, loss=0.5, images_per_second=100.0),
        Rung(images=480, values={"heldout_v_error": 0.5}),
        Committed(images=480, uri="file:///c/480"),
        Progress(images=960, step=20, loss=0.4, images_per_second=110.0),
        Rung(images=960, values={"heldout_v_error": 0.3}),
        Committed(images=960, uri="file:///c/960"),
        scored(entry, VALUES, heldout={OBJECTIVE: 90.0}),
        ended(entry),
    ]


def test_a_trial_is_followed_from_plan_to_score(ledger: LedgerFixture) -> None:
    entry = planned(arm={"prediction": "x"}, seed=3)
    ledger.plan(entry)
    assert ledger.row(entry).state is EntryState.WAITING
    attempt = ledger.begin(entry)
    assert (ledger.row(entry).state, attempt.number) == (EntryState.RUNNING, 1)
    ledger.tell(attempt, *whole_life(entry))
    row = ledger.row(entry)
    assert (row.state, row.cached, row.cause, row.arm, row.seed) == (EntryState.DONE, False, None, {"prediction": "x"}, 3)
    assert (row.trial, row.evaluation, row.rungs) == (entry.trial, entry.evaluation, entry.rungs)
    assert row.attempt is not None
    assert row.attempt == ledger.reader.attempts("mine")[0]
    assert (row.attempt.images, row.attempt.step, row.attempt.images_per_second, row.attempt.loss) == (960, 20, 110.0, 0.4)
    assert (row.attempt.checkpoint, row.attempt.outcome, row.attempt.lane) == ("file:///c/960", "done", "lane-0")
    (score,) = ledger.reader.scores("mine")
    assert (score.trial_id, score.images, score.n, score.values, score.grid) == (
        entry.trial_id,
        IMAGES,
        64,
        VALUES,
        "file:///grid.png",
    )
    assert [(rung.images, rung.metric, rung.value) for rung in ledger.reader.rung_values("mine")] == [
        (480, "heldout_v_error", 0.5),
        (960, "heldout_v_error", 0.3),
    ]


def test_every_rung_is_answered_and_the_answer_kept_with_its_reason(ledger: LedgerFixture) -> None:
    entry = planned()
    ledger.plan(entry)
    attempt = ledger.begin(entry)
    answer = ledger.writer.report(entry.trial_id, attempt.number, 5, Rung(images=480, values={"heldout_v_error": 0.5}))
    assert answer.verdict == "go_on"
    (kept,) = contents(ledger.engine)["decision"]
    assert kept == (entry.trial_id, 1, 5, 480, "go_on", answer.reason, 1000.0)


def test_repeated_reports_change_nothing_and_are_answered_as_before(ledger: LedgerFixture) -> None:
    entry = planned()
    ledger.plan(entry)
    attempt = ledger.begin(entry)

    def tell() -> list[Decision]:
        told = enumerate(whole_life(entry))
        return [ledger.writer.report(entry.trial_id, attempt.number, sequence, report) for sequence, report in told]

    first = tell()
    before = contents(ledger.engine)
    ledger.clock.now += 5
    assert tell() == first
    assert contents(ledger.engine) == before


def test_a_late_progress_report_does_not_turn_progress_back(ledger: LedgerFixture) -> None:
    entry = planned()
    ledger.plan(entry)
    attempt = ledger.begin(entry)
    ledger.tell(attempt, Progress(images=960, step=20, loss=0.4, images_per_second=110.0), first=2)
    ledger.tell(attempt, Progress(images=480, step=10, loss=0.5, images_per_second=100.0), first=1)
    (row,) = ledger.reader.attempts("mine")
    assert (row.images, row.step, row.loss) == (960, 20, 0.4)
    assert [event.sequence for event in ledger.events() if event.kind is EventKind.PROGRESS] == [2, 1]


def test_an_attempt_given_up_for_dead_changes_nothing_any_more(ledger: LedgerFixture) -> None:
    entry = planned()
    ledger.plan(entry)
    attempt = ledger.begin(entry)
    ledger.writer.fail(entry.trial_id, attempt.number, cause=Cause.WORKER_LOST, detail="killed")
    (closed,) = ledger.reader.attempts("mine")
    assert (closed.outcome, closed.cause, closed.detail) == ("failed", Cause.WORKER_LOST, "killed")
    assert ledger.row(entry).state is EntryState.WAITING
    ledger.begin(entry)
    before = contents(ledger.engine)
    for report in whole_life(entry):
        with pytest.raises(StaleAttempt, match="attempt 1 .* has ended as failed"):
            ledger.writer.report(entry.trial_id, attempt.number, 99, report)
    ledger.writer.fail(entry.trial_id, attempt.number, cause=Cause.BUG, detail="late")
    assert contents(ledger.engine) == before


def test_failing_an_attempt_that_has_ended_changes_nothing(ledger: LedgerFixture) -> None:
    entry = planned()
    attempt = ledger.train(entry, VALUES)
    before = contents(ledger.engine)
    ledger.writer.fail(entry.trial_id, attempt.number, cause=Cause.WORKER_LOST, detail="its lane ended later")
    assert contents(ledger.engine) == before


def test_an_attempt_begun_over_an_open_one_replaces_it(ledger: LedgerFixture) -> None:
    entry = planned()
    ledger.plan(entry)
    first, second = ledger.begin(entry), ledger.begin(entry)
    assert (first.number, second.number) == (1, 2)
    assert [(row.outcome, row.cause) for row in ledger.reader.attempts("mine")] == [("failed", Cause.WORKER_LOST), (None, None)]
    with pytest.raises(StaleAttempt):
        ledger.tell(first, ended(entry))


def test_a_lane_that_asks_again_gets_the_attempt_that_it_has_open(ledger: LedgerFixture) -> None:
    entry = planned()
    ledger.plan(entry)
    first = ledger.begin(entry, lane="lane")
    assert ledger.begin(entry, lane="lane") == first
    assert [event.kind for event in ledger.events()].count(EventKind.BEGUN) == 1
    ledger.tell(first, ended(entry, "paused", images=480))
    assert ledger.begin(entry, lane="lane").number == 2


def test_a_report_of_an_attempt_that_never_began_is_our_own_mistake(ledger: LedgerFixture) -> None:
    ledger.plan(planned())
    with pytest.raises(ValueError, match="must have been begun"):
        ledger.writer.report(planned().trial_id, 1, 0, ended(planned()))


@pytest.mark.parametrize("cause", list(Cause))
def test_a_failed_attempt_leaves_its_entry_as_its_causes_rule_says(ledger: LedgerFixture, cause: Cause) -> None:
    entry = planned()
    ledger.plan(entry)
    attempt = ledger.begin(entry)
    ledger.clock.now += 10
    ledger.writer.fail(entry.trial_id, attempt.number, cause=cause, detail="why")
    then = follow_up(cause, [], images=0)
    row = ledger.row(entry)
    assert (row.state, row.alone, row.why) == (then.leaves, then.alone, then.why)
    if then.leaves is EntryState.WAITING:
        assert row.not_before == 1010.0 + then.wait_s
    (closed,) = ledger.reader.attempts("mine")
    assert (closed.cause, closed.ended_at) == (cause, 1010.0)
    assert ledger.events()[-1 - (cause is Cause.DIVERGED)].data == {
        "cause": cause,
        "detail": "why",
        "leaves": then.leaves,
        "then": then.why,
    }


def test_a_failure_is_told_in_words_without_passwords(ledger: LedgerFixture) -> None:
    silent, talkative = planned(seed=0), planned(seed=1)
    ledger.plan(silent, talkative)
    ledger.writer.fail(silent.trial_id, ledger.begin(silent).number, cause=Cause.INFEASIBLE, detail=" ")
    told = "OSError: s3://alice:hunter2@bucket is gone"
    ledger.writer.fail(talkative.trial_id, ledger.begin(talkative).number, cause=Cause.DATA_ERROR, detail=told)
    assert ledger.row(silent).detail == "infeasible"
    assert ledger.row(talkative).detail == "OSError: s3://alice:***@bucket is gone"
    assert "hunter2" not in repr(contents(ledger.engine))


def test_done_without_a_score_is_a_failure_and_not_a_success(ledger: LedgerFixture) -> None:
    entry = planned()
    ledger.plan(entry)
    ledger.tell(ledger.begin(entry), ended(entry))
    row = ledger.row(entry)
    assert (row.state, row.cause, row.detail) == (EntryState.FAILED, Cause.BUG, "the trainer ended as done without this score")


def test_a_score_that_came_before_the_worker_was_lost_counts(ledger: LedgerFixture) -> None:
    entry = planned()
    ledger.plan(entry)
    attempt = ledger.begin(entry)
    ledger.tell(attempt, scored(entry, VALUES))
    ledger.writer.fail(entry.trial_id, attempt.number, cause=Cause.WORKER_LOST, detail="killed")
    assert (ledger.row(entry).state, ledger.row(entry).cached) == (EntryState.DONE, False)
    assert ledger.writer.begin("mine", entry.trial_id, IMAGES, lane="l", host="h", pid=1) is None


def test_paused_and_stopped_trials_wait_after_reopening(ledger: LedgerFixture) -> None:
    entries = [planned(seed=seed) for seed in range(2)]
    ledger.plan(*entries)
    outcomes: list[TrialOutcome] = ["paused", "stopped"]
    for entry, outcome in zip(entries, outcomes, strict=True):
        ledger.tell(ledger.begin(entry), ended(entry, outcome, images=480))
    assert [row.state for row in ledger.reader.entries("mine")] == [EntryState.PAUSED] * 2
    ledger.writer.reopen("mine")
    assert [row.state for row in ledger.reader.entries("mine")] == [EntryState.WAITING] * 2


def test_reopening_closes_what_a_lost_driver_left_open(ledger: LedgerFixture) -> None:
    entries = [planned(seed=seed) for seed in range(3)]
    ledger.plan(*entries)
    running, told, failed = (ledger.begin(entry) for entry in entries)
    ledger.tell(told, scored(entries[1], VALUES))
    ledger.writer.fail(failed.trial_id, failed.number, cause=Cause.BUG, detail="why")
    ledger.writer.reopen("mine")
    rows = {row.seed: row for row in ledger.reader.entries("mine")}
    assert [rows[seed].state for seed in range(3)] == [EntryState.WAITING, EntryState.DONE, EntryState.WAITING]
    assert not rows[1].cached
    outcomes = {row.trial_id: row.outcome for row in ledger.reader.attempts("mine")}
    assert [outcomes[entry.trial_id] for entry in entries] == ["driver_lost", "driver_lost", "failed"]
    with pytest.raises(StaleAttempt):
        ledger.tell(running, ended(entries[0]))
    before = contents(ledger.engine)
    ledger.writer.reopen("mine")
    assert contents(ledger.engine) == before


def test_the_next_attempt_goes_on_from_the_last_commit(ledger: LedgerFixture) -> None:
    entry = planned()
    ledger.plan(entry)
    ledger.tell(
        ledger.begin(entry),
        Committed(images=480, uri="file:///c/480"),
        Progress(images=720, step=15, loss=1.0, images_per_second=1.0),
    )
    again = ledger.begin(entry)
    assert (again.images, again.checkpoint, again.checkpoint_images) == (480, "file:///c/480", 480)


def test_planning_again_changes_nothing(ledger: LedgerFixture) -> None:
    entries = [planned(seed=0), planned(seed=1)]
    ledger.train(entries[0], VALUES)
    ledger.plan(*entries)
    before = contents(ledger.engine)
    ledger.plan(*entries)
    assert contents(ledger.engine) == before


def test_entries_come_in_the_order_of_the_plan(ledger: LedgerFixture) -> None:
    entries = [planned(seed=seed, stage=stage, position=9 - seed) for stage in (1, 0) for seed in range(3)]
    ledger.plan(*entries)
    assert [(row.stage, row.seed) for row in ledger.reader.entries("mine")] == [(0, 2), (0, 1), (0, 0), (1, 2), (1, 1), (1, 0)]


def test_one_attempt_serves_every_stage_that_wants_the_trial(ledger: LedgerFixture) -> None:
    first, second = planned(stage=0), planned(stage=1)
    ledger.plan(first, second)
    ledger.tell(ledger.begin(first), scored(first, VALUES), ended(first))
    assert [row.state for row in ledger.reader.entries("mine")] == [EntryState.DONE] * 2


def test_diverged_trials_stay_diverged_and_tell_the_first_bad_step(ledger: LedgerFixture) -> None:
    entry = planned()
    ledger.diverge(entry, images=480)
    ledger.writer.reopen("mine")
    row = ledger.row(entry)
    assert (row.state, row.cause, row.detail) == (EntryState.DIVERGED, Cause.DIVERGED, "it diverged")
    assert row.attempt is not None
    assert row.attempt.first_bad_step == 7
    assert ledger.writer.begin("mine", entry.trial_id, IMAGES, lane="l", host="h", pid=1) is None


def test_a_divergence_is_known_to_other_sweeps_at_the_budgets_it_reaches(ledger: LedgerFixture) -> None:
    ledger.diverge(planned(), images=480)
    other = LedgerFixture(ledger.engine, name="other", owner=BOB)
    other.plan(planned(), planned(images=240, stage=1), planned(seed=1, stage=2))
    states = [row.state for row in other.reader.entries("other")]
    assert states == [EntryState.DIVERGED, EntryState.WAITING, EntryState.WAITING]
    assert other.row(planned()).cause is Cause.DIVERGED


def test_a_score_of_another_sweep_is_taken_over_with_its_age_and_version(ledger: LedgerFixture) -> None:
    entry = planned()
    ledger.train(entry, VALUES)
    ledger.clock.now += 60
    other = LedgerFixture(ledger.engine, name="other", owner=BOB, clock=ledger.clock)
    other.plan(entry)
    assert (other.row(entry).state, other.row(entry).cached, other.row(entry).attempt) == (EntryState.DONE, True, None)
    (hit,) = [event for event in other.events() if event.kind is EventKind.CACHE_HIT]
    assert (hit.trial_id, hit.data["age_s"], hit.data["attempt"]) == (entry.trial_id, 60.0, 1)
    assert hit.data["code_version"]
    assert [score.values for score in other.reader.scores("other")] == [VALUES]
    assert other.reader.attempts("other") == []


@pytest.mark.parametrize("entry", [planned(images=1920), planned(n=128), planned(seed=1)])
def test_a_score_at_another_budget_evaluation_or_seed_is_not_taken_over(ledger: LedgerFixture, entry: Entry) -> None:
    ledger.train(planned(), VALUES)
    other = LedgerFixture(ledger.engine, name="other", owner=BOB)
    other.plan(entry)
    assert other.row(entry).state is EntryState.WAITING
    assert other.reader.scores("other") == []


def test_a_trial_that_another_sweep_trains_is_left_to_it_until_it_is_gone(ledger: LedgerFixture) -> None:
    entry = planned()
    ledger.plan(entry)
    ledger.begin(entry)
    other = LedgerFixture(ledger.engine, name="other", owner=BOB, clock=ledger.clock)
    other.plan(entry)
    with pytest.raises(TrialBusy, match="'mine'"):
        other.begin(entry)
    assert other.row(entry).state is EntryState.WAITING
    ledger.clock.now += TTL_S + 1
    assert other.begin(entry).number == 2
    with pytest.raises(StaleAttempt):
        ledger.writer.report(entry.trial_id, 1, 0, ended(entry))


@pytest.mark.parametrize("how", ["settle", "reopen"])
def test_what_another_sweep_finished_meanwhile_is_taken_over(ledger: LedgerFixture, how: str) -> None:
    entry = planned()
    other = LedgerFixture(ledger.engine, name="other", owner=BOB)
    other.plan(entry)
    ledger.train(entry, VALUES)
    getattr(other.writer, how)("other")
    assert (other.row(entry).state, other.row(entry).cached) == (EntryState.DONE, True)


def test_a_longer_budget_takes_the_place_of_the_shorter_and_gives_it_back(ledger: LedgerFixture) -> None:
    short, long = planned(), planned(images=1920)
    ledger.train(short, VALUES)
    ledger.plan(long)
    assert [(row.images, row.state) for row in ledger.reader.entries("mine")] == [(1920, EntryState.WAITING)]
    assert ledger.reader.scores("mine") == []
    assert ledger.reader.sweep("mine").counts == {EntryState.WAITING: 1}
    ledger.plan(short)
    assert [(row.images, row.state) for row in ledger.reader.entries("mine")] == [(960, EntryState.DONE)]
    assert len(ledger.reader.scores("mine")) == 1


def test_what_a_grid_plans_no_more_is_hidden_with_its_score_until_it_is_planned_again(ledger: LedgerFixture) -> None:
    kept, scored_once, waiting = planned(seed=0), planned(seed=1), planned(seed=2)
    ledger.plan(kept)
    ledger.train(scored_once, VALUES)
    ledger.plan(waiting)
    whole = contents(ledger.engine)
    ledger.writer.plan_entries("mine", [kept])
    assert [row.seed for row in ledger.reader.entries("mine")] == [0]
    assert ledger.reader.scores("mine") == []
    assert ledger.reader.sweep("mine").counts == {EntryState.WAITING: 1}
    assert contents(ledger.engine)["score"] == whole["score"]
    hidden = ledger.events()[-1]
    assert (hidden.kind, hidden.data["count"], hidden.data["planned"]) == (EventKind.ENTRIES_ADDED, 0, [])
    assert sorted(hidden.data["hidden"]) == sorted([scored_once.key, waiting.key])
    ledger.writer.plan_entries("mine", [kept, scored_once, waiting])
    assert {entry["key"] for entry in ledger.events()[-1].data["planned"]} == {scored_once.key, waiting.key}
    assert contents(ledger.engine) | {"event": []} == whole | {"event": []}


def test_what_a_grid_plans_no_more_is_not_trained(ledger: LedgerFixture) -> None:
    dropped, other_evaluation = planned(), planned(n=128)
    ledger.writer.plan_entries("mine", [dropped, planned(seed=1)])
    ledger.writer.plan_entries("mine", [planned(seed=1)])
    assert ledger.writer.begin("mine", dropped.trial_id, IMAGES, lane="l", host="h", pid=1) is None
    ledger.writer.plan_entries("mine", [other_evaluation])
    ledger.tell(ledger.begin(other_evaluation), scored(other_evaluation, VALUES), ended(other_evaluation))
    assert ledger.row(other_evaluation).attempt is not None
    assert ledger.reader.attempts("mine")[0].cause is None
    ledger.writer.plan_entries("mine", [dropped])
    assert (ledger.row(dropped).state, ledger.row(dropped).attempt) == (EntryState.WAITING, None)


def test_a_plan_leaves_what_searches_proposed_and_what_other_sweeps_plan(ledger: LedgerFixture) -> None:
    proposal = planned(arm={"learning_rate": 0.5}, origin="search", stage=1)
    ledger.plan(planned(), proposal)
    other = LedgerFixture(ledger.engine, name="other", owner=BOB)
    other.plan(planned(seed=1))
    ledger.writer.plan_entries("mine", [])
    assert [row.key for row in ledger.reader.entries("mine")] == [proposal.key]
    assert [row.seed for row in other.reader.entries("other")] == [1]


def test_proposals_leave_the_plan_as_it_is(ledger: LedgerFixture) -> None:
    ledger.writer.plan_entries("mine", [planned()])
    ledger.writer.add_entries("mine", [planned(arm={"learning_rate": 0.5}, origin="search", stage=1)])
    assert [row.origin for row in ledger.reader.entries("mine")] == ["grid", "search"]


def test_a_plan_with_a_longer_budget_and_fewer_seeds_hides_both_the_short_and_the_dropped(ledger: LedgerFixture) -> None:
    ledger.writer.plan_entries("mine", [planned(seed=seed) for seed in range(3)])
    ledger.writer.plan_entries("mine", [planned(seed=seed, images=1920) for seed in range(2)])
    assert {(row.seed, row.images) for row in ledger.reader.entries("mine")} == {(0, 1920), (1, 1920)}
    ledger.writer.plan_entries("mine", [planned(seed=2)])
    assert [(row.seed, row.images) for row in ledger.reader.entries("mine")] == [(2, 960)]


def test_an_entry_stands_in_the_arm_place_and_rungs_that_it_is_planned_in_now(ledger: LedgerFixture) -> None:
    entries = [planned(seed=seed, position=seed) for seed in range(2)]
    ledger.train(entries[0], VALUES)
    ledger.writer.plan_entries("mine", entries)
    rate = entries[0].trial.optimiser.learning_rate
    now = {"arm": {"learning_rate": rate}, "rungs": (240, 480, 960)}
    ledger.writer.plan_entries("mine", [entry.model_copy(update=now | {"position": 5 - entry.seed}) for entry in entries])
    rows = ledger.reader.entries("mine")
    assert [(row.seed, row.position, row.state) for row in rows] == [(1, 4, EntryState.WAITING), (0, 5, EntryState.DONE)]
    assert [(row.arm, row.rungs) for row in rows] == [(now["arm"], now["rungs"])] * 2


def test_rung_values_end_at_the_sweeps_own_budget(ledger: LedgerFixture) -> None:
    long = LedgerFixture(ledger.engine, name="long", owner=BOB)
    long.plan(planned(images=1920))
    long.tell(long.begin(planned(images=1920)), *(Rung(images=at, values={"heldout_v_error": 0.5}) for at in (480, 960, 1920)))
    ledger.plan(planned())
    assert [rung.images for rung in ledger.reader.rung_values("mine")] == [480, 960]
    assert [rung.images for rung in ledger.reader.rung_values("long")] == [480, 960, 1920]


def test_a_sweep_under_its_name_with_other_facts_is_refused_by_path(ledger: LedgerFixture) -> None:
    facts = {**FACTS, "baseline": {"model": {"width": 64, "depth": 2}, "ema": 0.9}, "objective": "kid_efflite0_96"}
    before = contents(ledger.engine)
    with pytest.raises(UserError) as refusal:
        ledger.writer.register("mine", fingerprint="f2", identity=facts, spec={})
    assert str(refusal.value).splitlines() == [
        "a sweep keeps its baseline, data, objective and evaluation, and 'mine' has run with others; "
        "rename the sweep, or choose another home with --home:",
        "  baseline.model.width: 32 -> 64",
        "  baseline.batch_size: 48 -> (absent)",
        "  baseline.ema: (absent) -> 0.9",
        '  objective: "fd_efflite0_96" -> "kid_efflite0_96"',
    ]
    assert contents(ledger.engine) == before


def test_registering_again_keeps_the_sweep_and_takes_the_new_spec(ledger: LedgerFixture) -> None:
    ledger.writer.finish("mine", SweepState.INTERRUPTED)
    assert ledger.reader.sweep("mine").state is SweepState.INTERRUPTED
    ledger.clock.now += 10
    ledger.writer.register("mine", fingerprint="f1", identity=FACTS, spec={"name": "mine", "more": True})
    row = ledger.reader.sweep("mine")
    assert (row.state, row.spec, row.created_at, row.updated_at) == (
        SweepState.RUNNING,
        {"name": "mine", "more": True},
        1000.0,
        1010.0,
    )
    assert (row.identity, row.objective) == (FACTS, OBJECTIVE)


@pytest.mark.parametrize(("asked", "told"), [("mime", "did you mean 'mine'"), ("quite-different", "it has mine, other")])
def test_an_unknown_sweep_is_the_users_mistake(ledger: LedgerFixture, asked: str, told: str) -> None:
    LedgerFixture(ledger.engine, name="other")
    with pytest.raises(UserError, match=told):
        ledger.reader.sweep(asked)


def test_sweeps_written_at_the_same_time_all_get_through(ledger_uri: str) -> None:
    def sweep(number: int) -> list[EntryState]:
        own = LedgerFixture(open_engine(ledger_uri), name=f"sweep-{number}")
        for seed in range(10):
            own.train(planned(seed=100 * number + seed), VALUES)
        return [row.state for row in own.reader.entries(own.name)]

    open_engine(ledger_uri)
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(sweep, range(4))) == [[EntryState.DONE] * 10] * 4


def test_the_heldout_row_is_stored_once_and_shared_by_sweeps_of_the_data(ledger: LedgerFixture) -> None:
    first, second = planned(), planned(seed=1)
    ledger.plan(first, second)
    assert ledger.reader.heldout("mine") is None
    ledger.tell(ledger.begin(first), scored(first, VALUES, heldout={OBJECTIVE: 90.0}), ended(first))
    ledger.tell(ledger.begin(second), scored(second, VALUES, heldout={OBJECTIVE: 91.0}), ended(second))
    other = LedgerFixture(ledger.engine, name="other", owner=BOB)
    other.plan(first)
    for reader, name in ((ledger.reader, "mine"), (other.reader, "other")):
        row = reader.heldout(name)
        assert row is not None
        assert (row.n, row.values) == (64, {OBJECTIVE: 90.0})


def test_images_of_other_features_have_a_row_of_their_own_and_scores_keep_their_errors(ledger: LedgerFixture) -> None:
    entry = planned()
    ledger.plan(entry)
    parts, rows = [1.0, 2.0, 3.0, 4.0], {"white images": {OBJECTIVE: 1608.0}}
    told = scored(entry, VALUES, heldout={OBJECTIVE: 90.0}, without_each={OBJECTIVE: parts}, rows=rows)
    other = told.model_copy(update={"evaluation": "another", "heldout": {"fid": 5.0}})
    ledger.tell(ledger.begin(entry), other, told, ended(entry))
    row = ledger.reader.heldout("mine")
    assert row is not None
    assert (row.values, row.rows) == ({OBJECTIVE: 90.0}, rows)
    (score,) = ledger.reader.scores("mine")
    assert score.errors == pytest.approx({OBJECTIVE: (3 / 4 * 5) ** 0.5})


def test_cost_is_told_for_each_attempt_and_kind_and_covers_the_lost_and_other_sweeps(ledger: LedgerFixture) -> None:
    kept, lost = planned(seed=0), planned(seed=1)
    ledger.train(kept, VALUES)
    other = LedgerFixture(ledger.engine, name="other", owner=BOB, clock=ledger.clock)
    other.plan(lost)
    attempt = other.begin(lost)
    other.clock.now += 4
    other.tell(attempt, Progress(images=48, step=1, loss=1.0, images_per_second=12.0))
    other.clock.now += 100
    other.writer.fail(lost.trial_id, 1, cause=Cause.NODE_LOST, detail="gone")
    parts = {"train": 10.0, "evaluation": 2.0, "checkpoint": 1.0, "data": 0.0}
    spent = {(kept.trial_id, 1, kind, seconds) for kind, seconds in parts.items()}
    assert set(ledger.reader.cost("mine")) == spent
    assert set(other.reader.cost("other")) == {(lost.trial_id, 1, "train", 4.0)}
    ledger.plan(lost)
    assert set(ledger.reader.cost("mine")) == spent | {(lost.trial_id, 1, "train", 4.0)}


def test_events_tell_the_whole_story_in_order_and_in_pages(ledger: LedgerFixture) -> None:
    entry = planned()
    ledger.plan(entry)
    LedgerFixture(ledger.engine, name="other", owner=BOB)
    ledger.tell(ledger.begin(entry), *whole_life(entry))
    ledger.writer.finish("mine", SweepState.DONE)
    told = ledger.events()
    expected = "registered entries_added begun progress rung committed progress rung committed scored ended finished"
    assert [event.kind for event in told] == expected.split()
    assert {event.sweep for event in told} == {"mine"}
    pages: list[EventRow] = []
    while page := ledger.reader.events_since("mine", pages[-1].id if pages else 0, limit=5):
        assert len(page) <= 5
        pages += page
    assert pages == told
    scored_event = told[-3]
    assert (scored_event.attempt, scored_event.sequence, scored_event.data["values"]) == (1, 6, VALUES)


def test_reading_takes_as_many_queries_for_thirty_trials_as_for_one(ledger: LedgerFixture) -> None:
    counted: list[str] = []
    event.listen(ledger.engine, "before_cursor_execute", lambda *args: counted.append(args[2]))

    def queries() -> int:
        counted.clear()
        for read in (
            ledger.reader.entries,
            ledger.reader.scores,
            ledger.reader.rung_values,
            ledger.reader.cost,
            ledger.reader.sweep,
        ):
            read("mine")
        return sum(statement.startswith("SELECT") for statement in counted)

    ledger.train(planned(seed=0), VALUES)
    of_one = queries()
    for seed in range(1, 30):
        ledger.train(planned(seed=seed), VALUES)
    assert len(ledger.reader.entries("mine")) == 30
    assert queries() == of_one == 6


def test_a_failed_write_leaves_nothing_behind(ledger: LedgerFixture) -> None:
    entry = planned()
    ledger.plan(entry)
    attempt = ledger.begin(entry)
    before = contents(ledger.engine)
    unstorable: Any = Ended.model_construct(**{**ended(entry).model_dump(), "train_s": None})
    with pytest.raises(Exception, match=r"(?i)not.null"):
        ledger.writer.report(entry.trial_id, attempt.number, 0, unstorable)
    assert contents(ledger.engine) == before


@pytest.mark.parametrize(
    ("record", "table"),
    [(AttemptRow, schema.attempt), (ScoreRow, schema.score), (RungRow, schema.rung_value)],
)
def test_records_name_their_columns_in_the_tables_order(record: Any, table: Any) -> None:
    assert list(record._fields) == list(table.c.keys())


def test_how_far_a_trial_was_finished_is_known_up_to_any_budget(ledger: LedgerFixture) -> None:
    entry = planned(images=480)
    assert ledger.reader.finished_images(entry.trial_id, most=960) == 0
    ledger.train(entry, VALUES)
    assert [ledger.reader.finished_images(entry.trial_id, most=most) for most in (432, 480, 960)] == [0, 480, 480]


def test_a_trial_whose_checkpoint_is_gone_is_known_to_begin_anew(ledger: LedgerFixture) -> None:
    entry = planned()
    ledger.plan(entry)
    ledger.tell(ledger.begin(entry), Committed(images=480, uri="file:///c/480"), ended(entry, "paused", images=480))
    ledger.writer.reopen("mine")
    second = ledger.begin(entry)
    assert second.images == 480
    phase = Phase(images=0, start="seed", device="cpu", workers=1, micro_batch=48, activation_checkpointing=False)
    ledger.tell(second, phase)
    row = ledger.row(entry).attempt
    assert row is not None
    assert (row.number, row.images, row.checkpoint, row.checkpoint_images) == (2, 0, None, None)


def test_a_report_is_read_back_from_the_event_log_as_it_was_sent(ledger: LedgerFixture) -> None:
    entry = planned()
    ledger.plan(entry)
    sent: list[Report] = [
        Phase(images=0, start="seed", device="cpu", workers=1, micro_batch=48, activation_checkpointing=False),
        Progress(images=48, step=1, loss=1 / 3, images_per_second=7.0, system={"cpu": 0.1}),
        Rung(images=480, values={"heldout_v_error": 2 / 3}),
        Committed(images=480, uri="file:///c/480"),
        scored(entry, VALUES),
        ended(entry),
    ]
    ledger.tell(ledger.begin(entry), *sent)
    assert [event.content for event in ledger.events() if event.sequence is not None] == sent


def test_what_the_ledger_records_itself_is_read_back_by_its_kind(ledger: LedgerFixture) -> None:
    entry = planned()
    ledger.plan(entry)
    attempt = ledger.begin(entry)
    ledger.writer.fail(entry.trial_id, attempt.number, cause=Cause.WORKER_LOST, detail="gone")
    ledger.writer.finish(ledger.name, SweepState.INCOMPLETE, reason="spent")
    registered, added, begun, failed, finished = (event.content for event in ledger.events())
    assert registered == Registered(fingerprint="f1")
    assert isinstance(added, EntriesAdded)
    assert [row["key"] for row in added.planned] == [entry.key]
    assert begun == Begun(lane="lane-0", host="node", pid=11, target_images=entry.images, images=0)
    assert isinstance(failed, Failed)
    assert (failed.cause, failed.detail, failed.leaves) == (Cause.WORKER_LOST, "gone", EntryState.WAITING)
    assert finished == Finished(state=SweepState.INCOMPLETE, reason="spent")


def test_every_kind_of_event_has_one_record() -> None:
    reports = {get_args(record.model_fields["kind"].annotation)[0] for record in get_args(get_args(Report)[0])}
    own = [record.kind for record in LedgerRecord.__subclasses__()]
    assert sorted([*reports, *own]) == sorted(EventKind)


def test_a_sweep_is_run_until_its_lease_has_run_out_or_was_given_back(ledger: LedgerFixture) -> None:
    ledger.clock.now += TTL_S - 0.5
    assert ledger.reader.sweep(ledger.name).is_run
    ledger.clock.now += 0.5
    assert not ledger.reader.sweep(ledger.name).is_run
    ledger.lease.renew()
    assert ledger.reader.sweep(ledger.name).is_run
    ledger.lease.release()
    assert not ledger.reader.sweep(ledger.name).is_run
