"""What follows from a failure: each cause's rule as a table, and the ledger that goes by it."""

import pytest

from jit_sweep.ledger.failures import EQUAL_BUGS, follow_up
from jit_sweep.ledger.records import AttemptRow, Cause, EntryState
from jit_sweep.schedulers.decide import NEVER_STOP
from tests.support.attempts import attempt
from tests.support.ledger import ALICE, HandClock, LedgerFixture, planned
from trainables.report import Committed, Phase

WAITS_S = {
    Cause.DIVERGED: [],
    Cause.OUT_OF_MEMORY: [0],
    Cause.INFEASIBLE: [],
    Cause.WORKER_LOST: [1, 2, 4],
    Cause.NODE_LOST: [2, 4, 8, 16, 32],
    Cause.DATA_ERROR: [],
    Cause.STORAGE_ERROR: [5, 10, 20, 40, 80, 160, 300, 300],
    Cause.STALLED: [0],
    Cause.BUG: [],
    Cause.CANCELLED: [],
}
"""Before each further attempt of a trial that makes no progress."""
GIVEN_UP = {
    Cause.DIVERGED: EntryState.DIVERGED,
    Cause.STORAGE_ERROR: EntryState.PAUSED,
    Cause.CANCELLED: EntryState.PAUSED,
}
"""What its entries are after the last; failed where not named."""
ENDLESS = {Cause.PREEMPTED: [2, 4, 8, 16, 32, 64, 128, 256, 300, 300], Cause.DRIVER_LOST: [0, 0]}

KEY_ERROR = """Traceback (most recent call last):
  File "/code/trainables/learner.py", line 12, in update
    return self.weights[name]
KeyError: 'block.{number}'"""


def failed(cause: Cause, times: int, *, images: int = 0) -> list[AttemptRow]:
    return [attempt(number=number, cause=cause, checkpoint_images=images or None) for number in range(1, times + 1)]


def fail(ledger: LedgerFixture, seed: int, *, cause: Cause = Cause.BUG, detail: str = "why") -> str:
    """Let the next attempt at a trial fail; the sweep's answer."""
    entry = planned(seed=seed)
    ledger.plan(entry)
    return ledger.writer.fail(entry.trial_id, ledger.begin(entry).number, cause=cause, detail=detail)


def test_the_table_has_every_cause() -> None:
    assert {*WAITS_S, *ENDLESS} == set(Cause)


@pytest.mark.parametrize("cause", WAITS_S)
def test_a_cause_is_tried_again_after_its_waits_and_then_left(cause: Cause) -> None:
    waits = WAITS_S[cause]
    sequels = [follow_up(cause, failed(cause, times), images=0) for times in range(len(waits) + 2)]
    again, given_up = sequels[: len(waits)], sequels[len(waits) :]
    assert [then.wait_s for then in again] == waits
    assert {then.leaves for then in again} <= {EntryState.WAITING}
    assert {then.leaves for then in given_up} == {GIVEN_UP.get(cause, EntryState.FAILED)}
    assert {(then.wait_s, then.alone) for then in given_up} == {(0.0, False)}


@pytest.mark.parametrize("cause", ENDLESS)
def test_what_is_nobodys_fault_is_tried_without_end_at_capped_waits(cause: Cause) -> None:
    waits = ENDLESS[cause]
    assert [follow_up(cause, failed(cause, times), images=0).wait_s for times in range(len(waits))] == waits
    long_after = follow_up(cause, failed(cause, 5000), images=0)
    assert (long_after.leaves, long_after.wait_s) == (EntryState.WAITING, waits[-1])


@pytest.mark.parametrize("cause", [cause for cause, waits in WAITS_S.items() if waits])
def test_progress_between_two_failures_begins_the_count_anew(cause: Cause) -> None:
    before = failed(cause, len(WAITS_S[cause]), images=480)
    assert follow_up(cause, before, images=480).leaves is not EntryState.WAITING
    onward = follow_up(cause, before, images=481)
    assert (onward.leaves, onward.wait_s) == (EntryState.WAITING, WAITS_S[cause][0])


def test_two_causes_in_turn_without_progress_end_too() -> None:
    before = [row for _ in range(3) for row in (*failed(Cause.WORKER_LOST, 1), *failed(Cause.NODE_LOST, 1))]
    assert follow_up(Cause.WORKER_LOST, before, images=0).leaves is EntryState.FAILED
    assert follow_up(Cause.NODE_LOST, before, images=0).wait_s == WAITS_S[Cause.NODE_LOST][3]


def test_an_attempt_that_paused_is_no_failure() -> None:
    paused = [attempt(number=number, outcome="paused") for number in range(1, 9)]
    assert follow_up(Cause.STALLED, paused, images=0).leaves is EntryState.WAITING


@pytest.mark.parametrize("cause", [cause for cause in Cause if cause not in (Cause.DIVERGED,)])
def test_every_sequel_says_why_and_how_often(cause: Cause) -> None:
    for times in range(10):
        then = follow_up(cause, failed(cause, times), images=0)
        assert then.why.startswith(str(cause))
        if then.leaves is EntryState.WAITING:
            assert f"(try {times + 1}" in then.why
            assert (f" in {then.wait_s:g} s" in then.why) == (then.wait_s > 0)
        else:
            assert "not tried again" in then.why
            assert (f"{times + 1} times" in then.why) == (times > 0)


def test_only_what_ran_out_of_memory_is_tried_alone() -> None:
    alone = {cause for cause in Cause if follow_up(cause, [], images=0).alone}
    assert alone == {Cause.OUT_OF_MEMORY}


def test_out_of_memory_is_tried_alone_with_half_the_micro_batch(ledger: LedgerFixture) -> None:
    entry = planned()
    ledger.plan(entry)
    assert ledger.reader.most_micro_batch(entry.trial_id) is None
    for micro_batch, most in ((24, 12), (9, 4)):
        attempt = ledger.begin(entry)
        ledger.tell(attempt, running(micro_batch), Committed(images=48 * attempt.number, uri="file:///c"))
        ledger.writer.fail(entry.trial_id, attempt.number, cause=Cause.OUT_OF_MEMORY, detail="out of memory")
        row = ledger.row(entry)
        assert (row.state, row.alone, ledger.reader.most_micro_batch(entry.trial_id)) == (EntryState.WAITING, True, most)


def test_out_of_memory_with_one_image_at_a_time_is_final(ledger: LedgerFixture) -> None:
    entry = planned()
    ledger.plan(entry)
    attempt = ledger.begin(entry)
    ledger.tell(attempt, running(1))
    ledger.writer.fail(entry.trial_id, attempt.number, cause=Cause.OUT_OF_MEMORY, detail="out of memory")
    row = ledger.row(entry)
    assert (row.state, row.cause, row.alone) == (EntryState.FAILED, Cause.OUT_OF_MEMORY, False)
    assert "one image at a time" in row.why
    assert ledger.reader.most_micro_batch(entry.trial_id) == 1


def test_another_trials_micro_batch_says_nothing_of_this_one(ledger: LedgerFixture) -> None:
    first, second = planned(seed=0), planned(seed=1)
    ledger.plan(first, second)
    attempt = ledger.begin(first)
    ledger.tell(attempt, running(24))
    ledger.writer.fail(first.trial_id, attempt.number, cause=Cause.OUT_OF_MEMORY, detail="out of memory")
    assert ledger.reader.most_micro_batch(second.trial_id) is None


def test_a_lost_worker_waits_twice_as_long_each_time_and_is_then_given_up(ledger: LedgerFixture) -> None:
    entry = planned()
    ledger.plan(entry)
    waits = []
    for _ in range(4):
        ledger.clock.now += 1000
        fail(ledger, entry.seed, cause=Cause.WORKER_LOST)
        waits.append(ledger.row(entry).not_before - ledger.clock.now)
    assert waits[:3] == WAITS_S[Cause.WORKER_LOST]
    assert ledger.row(entry).state is EntryState.FAILED


def test_failures_of_an_earlier_run_do_not_count(ledger: LedgerFixture) -> None:
    for _ in range(3):
        fail(ledger, 0, cause=Cause.WORKER_LOST)
    later = taken_up_again(ledger)
    assert later.row(planned()).not_before == 0.0
    fail(later, 0, cause=Cause.WORKER_LOST)
    assert later.row(planned()).not_before == later.clock.now + 1.0


def test_a_new_run_neither_waits_nor_keeps_a_trial_alone(ledger: LedgerFixture) -> None:
    fail(ledger, 0, cause=Cause.OUT_OF_MEMORY)
    fail(ledger, 1, cause=Cause.NODE_LOST)
    later = taken_up_again(ledger)
    rows = later.reader.entries("mine")
    assert [(row.state, row.not_before, row.alone, row.why) for row in rows] == [(EntryState.WAITING, 0.0, False, "")] * 2


def test_equal_bugs_of_three_trials_stop_the_sweep(ledger: LedgerFixture) -> None:
    said = [fail(ledger, seed, detail=KEY_ERROR.format(number=seed)) for seed in range(4)]
    assert said[:2] == ["", ""]
    assert said[2].startswith(f"{EQUAL_BUGS} trials ended in the same error (")
    assert said[2].endswith("KeyError: 'block.2'")
    assert all(planned(seed=seed).trial_id in said[2] for seed in range(3))
    assert said[3].startswith("4 trials")


@pytest.mark.parametrize(
    "details",
    [
        ["KeyError: 'a'", "KeyError: 'a'", "ValueError: 'a'"],
        [KEY_ERROR, KEY_ERROR, KEY_ERROR.replace("line 12", "line 21")],
        [KEY_ERROR, KEY_ERROR, KEY_ERROR.replace("learner.py", "ema.py")],
    ],
    ids=["another error", "another line", "another file"],
)
def test_bugs_that_differ_do_not_stop_the_sweep(ledger: LedgerFixture, details: list[str]) -> None:
    assert [fail(ledger, seed, detail=detail) for seed, detail in enumerate(details)] == ["", "", ""]


def test_the_same_trial_three_times_is_one_bug(ledger: LedgerFixture) -> None:
    assert [fail(ledger, 0) for _ in range(3)] == ["", "", ""]


def test_equal_failures_that_are_no_bugs_do_not_stop_the_sweep(ledger: LedgerFixture) -> None:
    assert {fail(ledger, seed, cause=Cause.DATA_ERROR) for seed in range(4)} == {""}


def test_equal_bugs_of_an_earlier_run_or_another_sweep_do_not_count(ledger: LedgerFixture) -> None:
    assert [fail(ledger, seed) for seed in range(2)] == ["", ""]
    other = LedgerFixture(ledger.engine, name="other", clock=ledger.clock)
    assert fail(other, 5) == ""
    later = taken_up_again(ledger)
    assert [fail(later, seed) for seed in (2, 3)] == ["", ""]
    assert fail(later, 4) != ""


def running(micro_batch: int) -> Phase:
    return Phase(images=0, start="seed", device="cpu", workers=1, micro_batch=micro_batch, activation_checkpointing=False)


def taken_up_again(ledger: LedgerFixture) -> LedgerFixture:
    """The same sweep in a new run, later."""
    ledger.lease.release()
    clock = HandClock(ledger.clock.now + 60)
    later = LedgerFixture(ledger.engine, owner=ALICE._replace(started_at=clock.now), clock=clock, decider=NEVER_STOP)
    later.writer.reopen(later.name)
    return later
