"""Early stopping in the ledger: who is held, goes on or is pruned and why; the event log explains every verdict."""

import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import TypeAdapter
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DBAPIError

from jit_sweep.doctor.replay import every_event, judged, replayed
from jit_sweep.ledger.event_records import EventKind
from jit_sweep.ledger.records import AttemptRow, Cause, EntryState
from jit_sweep.ledger.writer import LedgerWriter, StaleAttempt
from jit_sweep.plan.entry import Entry
from jit_sweep.schedulers.decide import NEVER_STOP, Decider
from jit_sweep.spec.schedulers import Early, NoScheduler, SchedulerSpec
from tests.support.ledger import BOB, IMAGES, OBJECTIVE, LedgerFixture, ended, planned, scored
from trainables.evaluation.metrics.registry import RUNG_METRIC
from trainables.report import Committed, Decision, Rung, TrialOutcome

RECORDED = 20_251_123
"""Every random race below starts from it."""
GATES = (240, 480)
HALVING = {"kind": "halving", "mode": "asynchronous"}
SYNCHRONOUS = {"kind": "halving", "mode": "synchronous"}
PROMOTION = {"kind": "promotion"}
KINDS: tuple[dict[str, Any], ...] = (
    HALVING,
    SYNCHRONOUS,
    PROMOTION,
    {"kind": "hyperband", "mode": "asynchronous"},
    {"kind": "hyperband", "mode": "synchronous"},
    {"kind": "median", "startup_arms": 1},
    {"kind": "patient", "patience": 0},
)
EVENTFUL = 7
"""A seed by which everything that can happen to a race does, under every scheduler."""
VALUES = {OBJECTIVE: 1200.5}


def decider(values: Mapping[str, Any] = HALVING, **changes: Any) -> Decider:
    """Of a scheduler without noise; ladders halve."""
    early: dict[str, Any] = {"first_rung": {"images": GATES[0]}, "s_train": 0.0}
    if values["kind"] in ("halving", "promotion", "hyperband"):
        early["reduction"] = 2
    scheduler: Early | NoScheduler = TypeAdapter(SchedulerSpec).validate_python({**early, **values, **changes})
    return Decider(scheduler)


def racing(arm: int, seed: int = 0, **told: Any) -> Entry:
    """An entry of a race: arms are planned in the order of their numbers."""
    place: dict[str, Any] = {"gates": GATES, "race": "stage=0", "position": 10 * arm + seed, **told}
    return planned(arm={"learning_rate": (arm + 1) / 1000}, seed=seed, **place)


@dataclass
class Track:
    """A sweep whose trials race."""

    ledger: LedgerFixture
    sequences: dict[tuple[str, int], int] = field(default_factory=dict)

    def begin(self, *entries: Entry) -> list[AttemptRow]:
        """Plan the entries together and begin them all."""
        self.ledger.plan(*entries)
        return [self.ledger.begin(entry) for entry in entries]

    def rung(self, attempt: AttemptRow, images: int, value: float) -> Decision:
        self.sequences[attempt.trial_id, attempt.number] = sequence = (
            self.sequences.get((attempt.trial_id, attempt.number), 0) + 10
        )
        report = Rung(images=images, values={RUNG_METRIC: value})
        return self.ledger.writer.report(attempt.trial_id, attempt.number, sequence, report)

    def obey(self, entry: Entry, attempt: AttemptRow, images: int, decision: Decision) -> None:
        """Save and end where the answer is not to go on, as the trainer does."""
        if decision.verdict != "go_on":
            sequence = self.sequences[attempt.trial_id, attempt.number]
            outcome: TrialOutcome = "paused" if decision.verdict == "pause" else "stopped"
            reports = (Committed(images=images, uri=f"file:///c/{images}"), ended(entry, outcome, images=images))
            self.ledger.tell(attempt, *reports, first=sequence + 1)

    def arrive(self, entry: Entry, attempt: AttemptRow, value: float, *, at: int = GATES[0]) -> Decision:
        decision = self.rung(attempt, at, value)
        self.obey(entry, attempt, at, decision)
        return decision

    def finish(self, entry: Entry, attempt: AttemptRow) -> None:
        self.ledger.tell(attempt, scored(entry, VALUES), ended(entry), first=1000)

    def states(self) -> list[EntryState]:
        return [row.state for row in self.ledger.reader.entries(self.ledger.name)]

    def verdicts(self) -> dict[tuple[str, int], bool]:
        return {(row.racer, row.gate): row.go_on for row in self.ledger.reader.verdicts(self.ledger.name)}


@pytest.fixture
def track(engine: Engine) -> Iterator[Track]:
    """At its end the event log explains every verdict."""
    track = Track(LedgerFixture(engine, decider=decider()))
    yield track
    check_event_log(track.ledger)


@pytest.fixture
def synchronous(engine: Engine) -> Iterator[Track]:
    """As `track`, with whole cohorts."""
    track = Track(LedgerFixture(engine, decider=decider(SYNCHRONOUS)))
    yield track
    check_event_log(track.ledger)


def check_event_log(ledger: LedgerFixture, *, began_with: Decider | None = None) -> None:
    """What was judged follows from the log's other events, and what has not been taken back is what stands."""
    reader, name = ledger.reader, ledger.name
    events = every_event(reader, name)
    recorded = judged(events)
    assert replayed(events, (began_with or ledger.decider).scheduler) == recorded
    since = max((event.id for event in ledger.events() if event.kind is EventKind.RESCHEDULED), default=0)
    valid = [event.data for event in ledger.events() if event.kind is EventKind.JUDGED and event.id > since]
    rows = [
        {"race": row.race, "racer": row.racer, "gate": row.gate, "go_on": row.go_on, "reason": row.reason}
        for row in reader.verdicts(name)
    ]
    assert sorted(valid, key=repr) == sorted(rows, key=repr)


def test_a_report_that_was_undone_is_not_judged_by(track: Track) -> None:
    """The writer's memory of its races goes with the transaction."""
    good, bad = racing(0), racing(1)
    one, two = track.begin(good, bad)
    with track.ledger.engine.begin() as connection:
        connection.execute(text("ALTER TABLE decision RENAME TO gone"))
    with pytest.raises(DBAPIError):
        track.rung(one, GATES[0], 0.1)
    with track.ledger.engine.begin() as connection:
        connection.execute(text("ALTER TABLE gone RENAME TO decision"))
    assert track.verdicts() == {}
    assert track.arrive(bad, two, 0.9).reason.startswith("place 1 of 1 ")
    assert track.verdicts() == {(bad.racer, 0): True}


def test_a_report_costs_as_many_statements_in_a_large_race_as_in_a_small_one(track: Track) -> None:
    counts = []
    entries = [racing(arm) for arm in range(60)]
    for first, last in ((0, 3), (3, 60)):
        *_, attempt = track.begin(*entries[first:last])
        told: list[str] = []
        event.listen(track.ledger.engine, "before_cursor_execute", lambda *given, told=told: told.append(given[2]))
        track.rung(attempt, GATES[0], 0.5 + first)
        counts.append(len(told))
        read = [statement for statement in told if "FROM entry" in statement and "trial_id" not in statement.split("WHERE")[-1]]
        assert read == []
    assert counts[1] <= counts[0] + 1


def test_an_arm_of_two_seeds_is_held_until_both_have_arrived(track: Track) -> None:
    first, second = racing(0, 0), racing(0, 1)
    one, two = track.begin(first, second)
    answer = track.arrive(first, one, 0.5)
    assert (answer.verdict, answer.reason) == ("pause", "waits at 240 images for what it is compared with")
    held = track.ledger.row(first)
    assert (held.state, held.why) == (EntryState.HELD, answer.reason)
    assert track.arrive(second, two, 0.6).verdict == "go_on"
    promoted = track.ledger.row(first)
    assert (promoted.state, promoted.why) == (EntryState.WAITING, "goes on: place 1 of 1 at 240 images of stage=0, 1 go on")
    assert track.ledger.begin(first).images == 240


def test_the_verdict_prunes_every_seed_of_the_arm_with_its_reason(track: Track) -> None:
    good, bad = racing(0), [racing(1, seed) for seed in range(2)]
    attempts = track.begin(good, *bad)
    track.arrive(good, attempts[0], 0.1)
    track.arrive(bad[0], attempts[1], 0.8)
    answer = track.arrive(bad[1], attempts[2], 0.6)
    assert answer.verdict == "stop"
    assert answer.reason == "place 2 of 2 at 240 images of stage=0, 0.6 behind the last that goes on; luck explains 0"
    rows = [track.ledger.row(entry) for entry in bad]
    assert [(row.state, row.why) for row in rows] == [(EntryState.PRUNED, answer.reason)] * 2
    assert track.verdicts() == {(good.racer, 0): True, (bad[0].racer, 0): False}


def test_a_pruned_trial_is_not_begun_again_nor_reopened(track: Track) -> None:
    good, bad = racing(0), racing(1)
    one, two = track.begin(good, bad)
    track.arrive(good, one, 0.1)
    track.arrive(bad, two, 0.8)
    track.ledger.writer.reopen("mine")
    assert track.ledger.row(bad).state is EntryState.PRUNED
    assert track.ledger.writer.begin("mine", bad.trial_id, IMAGES, lane="l", host="h", pid=1) is None


def test_reopening_leaves_the_held_and_takes_up_the_promoted(track: Track) -> None:
    entries = [racing(arm, seed) for arm in range(2) for seed in range(2)]
    held, coming, promoted, partner = track.begin(*entries)
    track.arrive(entries[0], held, 0.5)
    track.arrive(entries[2], promoted, 0.4)
    assert track.arrive(entries[3], partner, 0.4).verdict == "go_on"
    track.ledger.begin(entries[2])
    # The command reopens before anything judges.
    LedgerWriter(track.ledger.engine, track.ledger.lease, clock=track.ledger.clock).reopen("mine")
    assert track.states() == [EntryState.HELD, EntryState.WAITING, EntryState.WAITING, EntryState.WAITING]
    with pytest.raises(StaleAttempt):
        track.rung(coming, 240, 0.5)


def test_a_seed_that_is_lost_frees_its_arm(track: Track) -> None:
    first, second = racing(0, 0), racing(0, 1)
    one, two = track.begin(first, second)
    track.arrive(first, one, 0.5)
    track.ledger.writer.fail(second.trial_id, two.number, cause=Cause.WORKER_LOST, detail="killed")
    assert track.states() == [EntryState.HELD, EntryState.WAITING]
    again = track.ledger.begin(second)
    track.ledger.writer.fail(second.trial_id, again.number, cause=Cause.BUG, detail="why")
    assert track.states() == [EntryState.WAITING, EntryState.FAILED]
    assert track.verdicts() == {(first.racer, 0): True}


def test_a_seed_that_diverges_frees_its_arm(track: Track) -> None:
    first, second = racing(0, 0), racing(0, 1)
    one, two = track.begin(first, second)
    track.arrive(first, one, 0.5)
    track.ledger.tell(two, ended(second, "diverged", images=96, first_bad_step=2))
    assert track.states() == [EntryState.WAITING, EntryState.DIVERGED]


def test_a_failed_seed_of_a_stopped_arm_is_pruned_with_it(track: Track) -> None:
    good, one, two = racing(0), racing(1, 0), racing(1, 1)
    attempts = track.begin(good, one, two)
    track.arrive(good, attempts[0], 0.1)
    track.ledger.writer.fail(one.trial_id, attempts[1].number, cause=Cause.BUG, detail="why")
    assert track.arrive(two, attempts[2], 0.9).verdict == "stop"
    assert track.states() == [EntryState.RUNNING, EntryState.PRUNED, EntryState.PRUNED]


def test_a_repeated_report_is_answered_as_before_though_the_arm_goes_on_by_now(track: Track) -> None:
    first, second = racing(0, 0), racing(0, 1)
    one, two = track.begin(first, second)
    report = Rung(images=240, values={RUNG_METRIC: 0.5})
    answer = track.ledger.writer.report(first.trial_id, one.number, 1, report)
    assert track.rung(two, 240, 0.5).verdict == "go_on"
    before = len(track.ledger.events())
    assert track.ledger.writer.report(first.trial_id, one.number, 1, report) == answer
    assert (answer.verdict, len(track.ledger.events())) == ("pause", before)
    track.ledger.tell(one, ended(first, "paused", images=240), first=2)
    assert track.ledger.row(first).state is EntryState.WAITING


def test_a_trial_paused_when_its_arm_is_stopped_is_pruned_as_it_ends(track: Track) -> None:
    good, one, two = racing(0), racing(1, 0), racing(1, 1)
    attempts = track.begin(good, one, two)
    track.arrive(good, attempts[0], 0.1)
    assert track.rung(attempts[1], 240, 0.9).verdict == "pause"
    assert track.rung(attempts[2], 240, 0.9).verdict == "stop"
    assert track.states() == [EntryState.RUNNING] * 3
    track.ledger.tell(attempts[1], ended(one, "paused", images=240), first=100)
    track.ledger.tell(attempts[2], ended(two, "stopped", images=240), first=100)
    assert track.states() == [EntryState.RUNNING, EntryState.PRUNED, EntryState.PRUNED]


@pytest.mark.parametrize("how", ["fails", "loses its driver"])
def test_a_trial_of_a_stopped_arm_that_dies_on_its_way_out_is_not_started_again(track: Track, how: str) -> None:
    good, one, two = racing(0), racing(1, 0), racing(1, 1)
    attempts = track.begin(good, one, two)
    track.arrive(good, attempts[0], 0.1)
    track.rung(attempts[1], 240, 0.9)
    track.arrive(two, attempts[2], 0.9)
    if how == "fails":
        track.ledger.writer.fail(one.trial_id, attempts[1].number, cause=Cause.WORKER_LOST, detail="killed")
    else:
        track.ledger.writer.reopen("mine")
    row = track.ledger.row(one)
    assert (row.state, row.why) == (EntryState.PRUNED, track.ledger.row(two).why)


def test_a_trial_that_dies_after_its_rung_waits_for_the_verdict_before_it_goes_on(track: Track) -> None:
    first, second = racing(0, 0), racing(0, 1)
    one, two = track.begin(first, second)
    track.rung(one, 240, 0.5)
    track.ledger.writer.fail(first.trial_id, one.number, cause=Cause.NODE_LOST, detail="gone")
    assert track.ledger.row(first).state is EntryState.HELD
    track.arrive(second, two, 0.5)
    assert track.ledger.row(first).state is EntryState.WAITING


def test_a_trial_asked_to_stop_at_a_gate_it_has_no_value_for_is_paused_and_reopened(track: Track) -> None:
    entry = racing(0)
    (attempt,) = track.begin(entry)
    track.ledger.tell(attempt, Committed(images=240, uri="file:///c/240"), ended(entry, "paused", images=240))
    assert track.ledger.row(entry).state is EntryState.PAUSED
    track.ledger.writer.reopen("mine")
    assert track.ledger.row(entry).state is EntryState.WAITING


def test_reports_that_come_at_once_give_each_verdict_once(engine: Engine) -> None:
    track = Track(LedgerFixture(engine, decider=decider(SYNCHRONOUS)))
    entries = [racing(arm) for arm in range(8)]
    attempts = track.begin(*entries)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda pair: track.rung(pair[1], 240, pair[0] / 10), enumerate(attempts)))
    assert sum(answer.verdict == "pause" for answer in answers) == 7
    assert track.verdicts() == {(entry.racer, 0): arm < 4 for arm, entry in enumerate(entries)}
    assert len(judged(every_event(track.ledger.reader, "mine"))) == 8
    for entry, attempt in zip(entries, attempts, strict=True):
        track.ledger.tell(attempt, ended(entry, "paused", images=240), first=100)
    assert track.states() == [EntryState.WAITING] * 4 + [EntryState.PRUNED] * 4
    check_event_log(track.ledger)


def test_what_another_sweep_has_measured_judges_an_entry_as_it_is_planned(engine: Engine) -> None:
    other = Track(LedgerFixture(engine, name="other", owner=BOB))
    entries = [racing(arm) for arm in range(2)]
    for arm, (entry, attempt) in enumerate(zip(entries, other.begin(*entries), strict=True)):
        assert other.rung(attempt, 240, 0.1 + arm).verdict == "go_on"
        other.ledger.writer.fail(entry.trial_id, attempt.number, cause=Cause.BUG, detail="why")
    track = Track(LedgerFixture(engine, decider=decider()))
    track.ledger.plan(*entries)
    assert track.states() == [EntryState.WAITING, EntryState.PRUNED]
    known = [event.data for event in track.ledger.events() if event.kind is EventKind.KNOWN_RUNGS]
    assert [sorted(data["values"]) for data in known] == [
        sorted([entry.trial_id, 240, 0.1 + arm] for arm, entry in enumerate(entries))
    ]
    check_event_log(track.ledger)


def test_what_another_sweep_measures_later_is_told_once_and_counts(engine: Engine) -> None:
    track = Track(LedgerFixture(engine, decider=decider(SYNCHRONOUS)))
    shared, own = racing(0), racing(1)
    track.ledger.plan(shared, own)
    attempt = track.ledger.begin(own)
    assert track.arrive(own, attempt, 0.5).verdict == "pause"
    other = Track(LedgerFixture(engine, name="other", owner=BOB, clock=track.ledger.clock))
    (theirs,) = other.begin(shared)
    other.rung(theirs, 240, 0.1)
    for _ in range(2):
        track.ledger.writer.settle("mine")
    assert track.states() == [EntryState.WAITING, EntryState.PRUNED]
    assert sum(event.kind is EventKind.KNOWN_RUNGS for event in track.ledger.events()) == 1
    check_event_log(track.ledger)


def test_a_divergence_in_another_sweep_frees_its_race(engine: Engine) -> None:
    track = Track(LedgerFixture(engine, decider=decider(SYNCHRONOUS)))
    doomed, own = racing(0), racing(1)
    track.ledger.plan(doomed, own)
    track.arrive(own, track.ledger.begin(own), 0.5)
    other = LedgerFixture(engine, name="other", owner=BOB, clock=track.ledger.clock)
    other.diverge(doomed, images=96)
    assert track.ledger.writer.begin("mine", doomed.trial_id, IMAGES, lane="l", host="h", pid=1) is None
    assert track.states() == [EntryState.DIVERGED, EntryState.WAITING]
    told = [event.data["keys"] for event in track.ledger.events() if event.kind is EventKind.DIVERGED]
    assert told == [[doomed.key]]
    check_event_log(track.ledger)


def test_a_score_of_another_sweep_frees_its_race(engine: Engine) -> None:
    track = Track(LedgerFixture(engine, decider=decider(SYNCHRONOUS)))
    theirs, own = racing(0), racing(1)
    track.ledger.plan(theirs, own)
    track.arrive(own, track.ledger.begin(own), 0.5)
    LedgerFixture(engine, name="other", owner=BOB, clock=track.ledger.clock).train(theirs, VALUES)
    track.ledger.writer.settle("mine")
    assert track.states() == [EntryState.DONE, EntryState.WAITING]
    check_event_log(track.ledger)


def test_a_cohort_is_judged_once_nothing_more_can_arrive(synchronous: Track) -> None:
    entries = [racing(arm) for arm in range(4)]
    attempts = synchronous.begin(*entries)
    for arm in range(3):
        assert synchronous.arrive(entries[arm], attempts[arm], 0.1 * arm).verdict == "pause"
    synchronous.ledger.writer.fail(entries[3].trial_id, attempts[3].number, cause=Cause.BUG, detail="why")
    assert synchronous.states() == [EntryState.WAITING, EntryState.PRUNED, EntryState.PRUNED, EntryState.FAILED]


def test_a_race_of_a_search_is_judged_once_the_search_has_proposed_all(synchronous: Track) -> None:
    entries = [racing(arm, origin="search") for arm in range(2)]
    attempts = synchronous.begin(*entries)
    for arm in range(2):
        synchronous.arrive(entries[arm], attempts[arm], 0.1 * arm)
    assert synchronous.states() == [EntryState.HELD] * 2
    synchronous.ledger.writer.searched("mine", "1")
    assert synchronous.states() == [EntryState.HELD] * 2
    synchronous.ledger.writer.searched("mine", "0")
    assert synchronous.states() == [EntryState.WAITING, EntryState.PRUNED]


def test_a_search_may_propose_more_in_a_new_run(synchronous: Track) -> None:
    synchronous.ledger.writer.searched("mine", "0")
    synchronous.ledger.judged_by(synchronous.ledger.decider)
    for arm in range(2):
        entry = racing(arm, origin="search")
        (attempt,) = synchronous.begin(entry)
        synchronous.arrive(entry, attempt, 0.9 - arm / 2)
    assert synchronous.states() == [EntryState.HELD] * 2
    synchronous.ledger.writer.searched("mine", "0")
    assert synchronous.states() == [EntryState.PRUNED, EntryState.WAITING]


def test_another_scheduler_takes_back_every_verdict_and_lets_the_pruned_go_on(engine: Engine) -> None:
    track = Track(LedgerFixture(engine, decider=decider()))
    good, bad, held, partner = racing(0), racing(1), racing(2, 0), racing(2, 1)
    attempts = track.begin(good, bad, held, partner)
    track.arrive(good, attempts[0], 0.1)
    track.arrive(bad, attempts[1], 0.9)
    track.arrive(held, attempts[2], 0.9)
    assert track.states() == [EntryState.RUNNING, EntryState.PRUNED, EntryState.HELD, EntryState.RUNNING]
    track.ledger.writer.reopen("mine")
    track.ledger.judged_by(decider(SYNCHRONOUS))
    assert track.verdicts() == {}
    assert track.states() == [EntryState.WAITING] * 4
    (changed,) = [event for event in track.ledger.events() if event.kind is EventKind.RESCHEDULED]
    assert changed.data["scheduler"] == track.ledger.decider.scheduler.model_dump(mode="json")
    track.ledger.writer.plan_entries("mine", [good, bad, held, partner])
    assert track.states() == [EntryState.HELD] * 3 + [EntryState.WAITING]
    track.arrive(partner, track.ledger.begin(partner), 0.9)
    assert track.verdicts() == {(good.racer, 0): True, (bad.racer, 0): False, (held.racer, 0): False}
    check_event_log(track.ledger, began_with=decider())


def test_without_a_scheduler_what_was_pruned_or_proposed_under_one_goes_to_its_end(engine: Engine) -> None:
    track = Track(LedgerFixture(engine, decider=decider()))
    good, bad = racing(0, origin="search"), racing(1, origin="search")
    one, two = track.begin(good, bad)
    track.arrive(good, one, 0.1)
    track.arrive(bad, two, 0.9)
    track.ledger.judged_by(NEVER_STOP)
    attempt = track.ledger.begin(bad)
    assert track.rung(attempt, 480, 0.9).verdict == "go_on"
    track.finish(bad, attempt)
    assert track.ledger.row(bad).state is EntryState.DONE
    check_event_log(track.ledger, began_with=decider())


def test_the_same_scheduler_keeps_its_verdicts_over_runs(track: Track) -> None:
    good, bad = racing(0), racing(1)
    one, two = track.begin(good, bad)
    track.arrive(good, one, 0.1)
    track.arrive(bad, two, 0.9)
    before = track.verdicts()
    track.ledger.judged_by(track.ledger.decider)
    track.ledger.writer.reopen("mine")
    track.ledger.writer.plan_entries("mine", [good, bad])
    assert track.verdicts() == before != {}
    assert track.states() == [EntryState.WAITING, EntryState.PRUNED]


def test_an_attempt_for_two_stages_goes_on_where_one_of_them_says_so(track: Track) -> None:
    rival, loses, wins = racing(0), racing(1), racing(1, stage=1, race="stage=1")
    track.ledger.plan(rival, loses, wins)
    first, shared = track.ledger.begin(rival), track.ledger.begin(loses)
    track.arrive(rival, first, 0.1)
    answer = track.rung(shared, 240, 0.9)
    assert (answer.verdict, answer.reason) == ("go_on", "place 1 of 1 at 240 images of stage=1, 1 go on")
    assert [row.go_on for row in track.ledger.reader.verdicts("mine") if row.racer == loses.racer] == [False, True]
    assert track.rung(shared, 480, 0.9).verdict == "go_on"
    track.finish(loses, shared)
    assert [track.ledger.row(entry).state for entry in (loses, wins)] == [EntryState.DONE] * 2


def test_an_attempt_for_two_stages_leaves_each_entry_as_its_own_race_says(synchronous: Track) -> None:
    rival, loses = racing(0), racing(1)
    partner, waits = racing(2, stage=1, race="stage=1"), racing(1, stage=1, race="stage=1")
    synchronous.ledger.plan(rival, loses, partner, waits)
    first, shared = synchronous.ledger.begin(rival), synchronous.ledger.begin(loses)
    synchronous.arrive(rival, first, 0.1)
    assert synchronous.arrive(loses, shared, 0.9).verdict == "pause"
    assert [synchronous.ledger.row(entry).state for entry in (loses, waits)] == [EntryState.PRUNED, EntryState.HELD]


def test_an_arm_stopped_in_one_stage_stays_so_at_later_gates_of_a_shared_trial(track: Track) -> None:
    rival, loses = racing(0), racing(1)
    also, better = racing(1, stage=1, race="stage=1"), racing(3, stage=1, race="stage=1")
    track.ledger.plan(rival, loses, also, better)
    first, shared, ahead = (track.ledger.begin(entry) for entry in (rival, loses, better))
    track.arrive(rival, first, 0.1)
    assert track.rung(shared, 240, 0.9).verdict == "go_on"
    assert [track.rung(ahead, gate, 0.2).verdict for gate in GATES] == ["go_on", "go_on"]
    assert track.arrive(loses, shared, 0.9, at=480).verdict == "stop"
    assert [track.ledger.row(entry).state for entry in (loses, also)] == [EntryState.PRUNED] * 2


def test_an_arm_planned_at_two_budgets_races_by_the_longer_ladder(synchronous: Track) -> None:
    short, long = racing(0, gates=(240,), images=480, position=0), racing(0, position=1)
    rival = racing(1)
    synchronous.ledger.plan(short, long, rival)
    one, two = synchronous.ledger.begin(long), synchronous.ledger.begin(rival)
    synchronous.arrive(long, one, 0.1)
    synchronous.arrive(rival, two, 0.2)
    assert synchronous.ledger.row(long).state is EntryState.WAITING
    again = synchronous.ledger.begin(long)
    synchronous.arrive(long, again, 0.1, at=480)
    assert synchronous.verdicts()[long.racer, 1] is True


def test_a_seed_planned_later_shares_its_arms_fate(track: Track) -> None:
    good, bad, late = racing(0), racing(1), racing(1, 1)
    one, two = track.begin(good, bad)
    track.arrive(good, one, 0.1)
    track.arrive(bad, two, 0.9)
    track.ledger.plan(late)
    assert (track.ledger.row(late).state, track.ledger.row(late).why) == (EntryState.PRUNED, track.ledger.row(bad).why)


def test_an_arm_in_another_race_is_judged_there_anew(track: Track) -> None:
    good, bad = racing(0), racing(1)
    one, two = track.begin(good, bad)
    track.arrive(good, one, 0.1)
    track.arrive(bad, two, 0.9)
    track.ledger.writer.plan_entries("mine", [good, bad.model_copy(update={"race": "stage=0 patch_size=8"})])
    assert track.ledger.row(bad).state is EntryState.WAITING
    assert [row.go_on for row in track.ledger.reader.verdicts("mine") if row.racer == bad.racer] == [False, True]


def test_a_protected_arm_goes_on_however_bad(track: Track) -> None:
    good, bad = racing(0), racing(1, protected=True)
    one, two = track.begin(good, bad)
    track.arrive(good, one, 0.1)
    answer = track.arrive(bad, two, 0.9)
    assert (answer.verdict, "planned contrast" in answer.reason) == ("go_on", True)


def test_what_does_not_race_is_never_stopped(track: Track) -> None:
    good, plain = racing(0), planned(arm={"learning_rate": 0.5})
    one, two = track.begin(good, plain)
    track.arrive(good, one, 0.1)
    assert track.rung(two, 480, 9.0) == Decision(verdict="go_on", reason="nothing is decided at 480 images")


LADDER = (192, 384, 576)
MOST_PROPOSED = 9
CAUSES = (Cause.WORKER_LOST, Cause.NODE_LOST, Cause.PREEMPTED, Cause.OUT_OF_MEMORY, Cause.BUG, Cause.STORAGE_ERROR)


@dataclass
class Weekend:
    """A long race in which everything happens: failures, restarts, divergences, a search, another sweep at the same trials."""

    track: Track
    other: Track
    luck: random.Random
    entries: dict[str, Entry] = field(default_factory=dict)
    running: dict[str, AttemptRow] = field(default_factory=dict)
    proposed: int = 0

    @property
    def ledger(self) -> LedgerFixture:
        return self.track.ledger

    def plan(self, entries: Sequence[Entry]) -> None:
        self.entries |= {entry.key: entry for entry in entries}
        self.ledger.plan(*entries)

    def run(self, *, steps: int) -> None:
        grid = [racing(arm, seed, gates=LADDER, protected=arm == 5) for arm in range(9) for seed in range(2)]
        self.plan(grid + [racing(arm, gates=LADDER, stage=1, race="stage=1") for arm in (1, 2, 11, 12)])
        deeds = (self.begin, self.arrive, self.fail, self.restart, self.propose, self.measure_elsewhere, self.settle)
        for _ in range(steps):
            self.ledger.clock.now += 1
            self.luck.choices(deeds, weights=(12, 20, 3, 1, 3, 1, 1))[0]()
        self.end()

    def end(self) -> None:
        """No more accidents: what can still run does."""
        while self.proposed < MOST_PROPOSED:
            self.propose()
        self.ledger.writer.searched("mine", "2")
        self.restart()
        self.ledger.writer.searched("mine", "2")
        while self.running or any(row.state is EntryState.WAITING for row in self.ledger.reader.entries("mine")):
            self.begin()
            self.arrive()

    def begin(self) -> None:
        waiting = [row.key for row in self.ledger.reader.entries("mine") if row.state is EntryState.WAITING]
        if waiting:
            entry = self.entries[self.luck.choice(waiting)]
            attempt = self.ledger.writer.begin("mine", entry.trial_id, IMAGES, lane="lane-0", host="node", pid=11)
            if attempt is not None:
                self.running[entry.key] = attempt

    def taken(self) -> tuple[Entry, AttemptRow] | None:
        """One of those that run."""
        if not self.running:
            return None
        key = self.luck.choice(sorted(self.running))
        return self.entries[key], self.running.pop(key)

    def arrive(self) -> None:
        """A trial reaches its next gate, or its end, or diverges on the way."""
        if (taken := self.taken()) is None:
            return
        entry, attempt = taken
        gate = next((gate for gate in LADDER if gate > attempt.images), None)
        if gate is None:
            self.track.finish(entry, attempt)
        elif self.luck.random() < 0.02:
            self.ledger.tell(attempt, ended(entry, "diverged", images=gate, first_bad_step=1), first=1000)
        elif self.track.arrive(entry, attempt, value_of(entry, gate), at=gate).verdict == "go_on":
            self.running[entry.key] = attempt._replace(images=gate)

    def fail(self) -> None:
        if (taken := self.taken()) is not None:
            _, attempt = taken
            if self.luck.random() < 0.5 and attempt.images in LADDER:
                self.ledger.tell(attempt, Committed(images=attempt.images, uri="file:///c"), first=2000)
            cause = self.luck.choice(CAUSES)
            self.ledger.writer.fail(attempt.trial_id, attempt.number, cause=cause, detail=f"{cause} of {attempt.trial_id}")

    def restart(self) -> None:
        self.running.clear()
        self.ledger.judged_by(self.ledger.decider)
        self.ledger.writer.reopen("mine")
        self.ledger.writer.plan_entries("mine", [entry for entry in self.entries.values() if entry.origin == "grid"])

    def propose(self) -> None:
        if self.proposed < MOST_PROPOSED:
            arm, self.proposed = 20 + self.proposed, self.proposed + 1
            self.plan([racing(arm, seed, gates=LADDER, stage=2, race="stage=2", origin="search") for seed in range(2)])
        else:
            self.ledger.writer.searched("mine", "2")

    def measure_elsewhere(self) -> None:
        """Another sweep brings a trial that nobody has begun here to its first gate."""
        rows = [row for row in self.ledger.reader.entries("mine") if row.attempt is None and row.state is EntryState.WAITING]
        if rows:
            entry = self.entries[self.luck.choice(rows).key]
            (attempt,) = self.other.begin(entry)
            self.other.rung(attempt, LADDER[0], value_of(entry, LADDER[0]))
            self.other.ledger.tell(attempt, Committed(images=LADDER[0], uri="file:///c"), first=500)
            self.other.ledger.writer.fail(attempt.trial_id, attempt.number, cause=Cause.CANCELLED, detail="why")

    def settle(self) -> None:
        self.ledger.writer.settle("mine")


def value_of(entry: Entry, gate: int) -> float:
    """What a trial shows at a gate, whenever it gets there."""
    return random.Random(f"{entry.trial_id} {gate}").random()


ON_BOTH_DATABASES = (PROMOTION, SYNCHRONOUS)
"""Other schedulers decide otherwise by the same queries."""


def long_races() -> Iterator[Any]:
    """Parameters: a database, and a scheduler's kind."""
    for database in ("sqlite", "postgresql"):
        for kind in KINDS if database == "sqlite" else ON_BOTH_DATABASES:
            yield pytest.param(database, kind, id="-".join([database, *(str(value) for value in kind.values())]))


@pytest.mark.parametrize(("ledger_uri", "kind"), list(long_races()), indirect=["ledger_uri"])
def test_a_long_random_race_ends_and_its_event_log_gives_the_same_verdicts_again(engine: Engine, kind: dict[str, Any]) -> None:
    track = Track(LedgerFixture(engine, decider=decider(kind, first_rung={"images": LADDER[0]})))
    other = Track(LedgerFixture(engine, name="other", owner=BOB, clock=track.ledger.clock))
    Weekend(track, other, random.Random(EVENTFUL)).run(steps=250)
    check_event_log(track.ledger)
    assert set(track.states()) <= {EntryState.DONE, EntryState.PRUNED, EntryState.DIVERGED, EntryState.FAILED}
    told = [event.kind for event in track.ledger.events()]
    assert len(told) > 300
    happened = {EventKind.FAILED, EventKind.REOPENED, EventKind.DIVERGED, EventKind.KNOWN_RUNGS, EventKind.SEARCHED}
    assert happened <= set(told)
    assert {verdict.go_on for _, verdict in judged(every_event(track.ledger.reader, "mine"))} == {True, False}
