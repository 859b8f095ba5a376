"""Many trials with failures in between: each ends as it should, once, and the ledger adds up."""

import json
import subprocess
import sys
from collections import Counter, defaultdict
from typing import Any, NamedTuple

import pytest

from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import AttemptRow, Cause, EntryRow, EntryState
from tests.support.cli import environment
from tests.support.paths import TOP

pytestmark = pytest.mark.timeout(1200)

MIB = 2**20
TRIALS = 80
MOST_GROWTH = 14 * MIB
"""A driver's memory, from the fortieth trial to the last: a third of a megabyte for each."""


class Fates(NamedTuple):
    """What a trial's attempts and its entry must say."""

    attempts: list[tuple[str | None, str | None]]
    """Outcome and cause of each."""
    state: EntryState


LOST, DONE = ("failed", Cause.WORKER_LOST), ("done", None)
ENDS = {
    "scored": Fates([DONE], EntryState.DONE),
    "diverged": Fates([("diverged", Cause.DIVERGED)], EntryState.DIVERGED),
    "raises": Fates([LOST, DONE], EntryState.DONE),
    "exits": Fates([LOST, DONE], EntryState.DONE),
    "stalls": Fates([LOST, DONE], EntryState.DONE),
}


def by_trial(reader: LedgerReader, sweep: str) -> dict[str, list[AttemptRow]]:
    found: defaultdict[str, list[AttemptRow]] = defaultdict(list)
    for attempt in reader.attempts(sweep):
        found[attempt.trial_id].append(attempt)
    return dict(found)


def check_books(reader: LedgerReader, sweep: str, rows: list[EntryRow]) -> None:
    """Every attempt is closed and has its cost; what has no score has a cause; nothing is trained after its end."""
    attempts = by_trial(reader, sweep)
    assert reader.open_attempts(sweep) == []
    costs = {(cost.trial_id, cost.attempt) for cost in reader.cost(sweep)}
    assert costs == {(attempt.trial_id, attempt.number) for each in attempts.values() for attempt in each}
    scores = Counter(score.trial_id for score in reader.scores(sweep))
    for row in rows:
        assert (scores[row.trial_id], row.cause is None) in ((1, True), (0, False)), row
    for each in attempts.values():
        assert [attempt.number for attempt in each] == list(range(1, len(each) + 1))
        assert all(attempt.outcome == "failed" for attempt in each[:-1])
        assert each[-1].outcome in ("done", "diverged")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], LedgerReader]:
    """What a process says that has driven the trials, and their ledger."""
    folder = tmp_path_factory.mktemp("many")
    command = [sys.executable, "-m", "tests.support.sham_lanes", str(folder), str(TRIALS)]
    done = subprocess.run(command, cwd=TOP, env=environment(folder), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-5000:]
    return json.loads(done.stdout.splitlines()[-1]), LedgerReader(open_engine(f"sqlite:///{folder}/ledger.db"))


def test_each_of_many_trials_ends_as_its_fate_has_it_and_once(run: tuple[dict[str, Any], LedgerReader]) -> None:
    from tests.support.sham_lanes import NAME, fate_of  # starts Ray's import

    said, reader = run
    assert (said["state"], said["reason"]) == ("done", "")
    rows, attempts = reader.entries(NAME), by_trial(reader, NAME)
    assert len(rows) == len(attempts) == TRIALS
    assert Counter(fate_of(row.trial_id) for row in rows).keys() == ENDS.keys()
    for row in rows:
        expected = ENDS[fate_of(row.trial_id)]
        assert [(attempt.outcome, attempt.cause) for attempt in attempts[row.trial_id]] == expected.attempts, row
        assert row.state is expected.state
    check_books(reader, NAME, rows)


def test_many_trials_go_over_few_lanes_but_for_those_that_died(run: tuple[dict[str, Any], LedgerReader]) -> None:
    attempts = run[1].attempts("many")
    died = {attempt.lane for attempt in attempts if attempt.outcome == "failed"}
    assert len({attempt.lane for attempt in attempts} - died) <= 8


def test_a_driver_holds_little_more_after_eighty_trials_than_after_forty(
    run: tuple[dict[str, Any], LedgerReader],
) -> None:
    said = run[0]
    assert 0 < said["growth_bytes"] < MOST_GROWTH, f"{said['growth_bytes'] / MIB:.0f} MiB"
