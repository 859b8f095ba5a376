"""What a sweep of many trials asks of those who read it: only what has changed, and only what a person can take in."""

from pathlib import Path

import pytest

from jit_sweep.cli.status import MOST_ROWS, most_interesting
from jit_sweep.ledger.live_entries import LiveEntries
from jit_sweep.ledger.records import Cause, EntryState
from jit_sweep.results.leaderboard import read_results
from jit_sweep.results.pairs import MOST_ALIKE
from tests.support.attempts import entry as entry_row
from tests.support.cli import jit_sweep
from tests.support.ledger import OBJECTIVE, LedgerFixture, ended, planned, scored


def test_followed_entries_are_those_that_the_ledger_has_after_everything_that_happens(
    tmp_path: Path, ledger: LedgerFixture
) -> None:
    first, second, third = (planned(seed=seed, position=seed) for seed in range(3))
    followed = LiveEntries(ledger.reader, ledger.name)

    def same() -> bool:
        return list(followed.rows()) == ledger.reader.entries(ledger.name)

    ledger.plan(first, second)
    assert same()
    attempt = ledger.begin(first)
    assert same()
    ledger.tell(attempt, scored(first, {OBJECTIVE: 1.0}), ended(first))
    assert same()
    failed = ledger.begin(second)
    ledger.writer.fail(failed.trial_id, failed.number, cause=Cause.WORKER_LOST, detail="gone")
    assert same()
    ledger.plan(third)
    assert same()
    ledger.diverge(third, images=480)
    assert same()
    ledger.writer.plan_entries(ledger.name, [second])
    assert same()
    assert [row.seed for row in followed.rows()] == [1]


def test_rows_of_trials_that_nothing_happened_to_are_not_read_again(tmp_path: Path, ledger: LedgerFixture) -> None:
    first, second = planned(seed=0), planned(seed=1, position=1)
    ledger.plan(first, second)
    followed = LiveEntries(ledger.reader, ledger.name)
    before = followed.rows()
    ledger.begin(first)
    after = followed.rows()
    assert after[0] is not before[0]
    assert after[1] is before[1]
    ledger.plan(planned(seed=2, position=2))
    assert followed.rows()[1] is before[1]


def test_status_shows_what_runs_and_what_failed_before_what_ended_last() -> None:
    rows = [entry_row(f"t{n}", "done", key=str(n), updated_at=float(n)) for n in range(100)]
    rows[3] = entry_row("t3", "failed", key="3", updated_at=0.0)
    rows[7] = entry_row("t7", "running", key="7", updated_at=0.0)
    shown = most_interesting(rows, most=4)
    assert [row.trial_id for row in shown] == ["t3", "t7", "t98", "t99"]
    assert most_interesting(rows, most=1)[0].state is EntryState.RUNNING


@pytest.mark.slow
def test_tables_of_a_large_sweep_are_cut_and_say_so_and_all_shows_all(tmp_path: Path, ledger: LedgerFixture) -> None:
    ledger.plan(*(planned(arm={"learning_rate": 1e-5 * (1 + n)}, position=n) for n in range(MOST_ROWS + 10)))
    for command in ("status", "leaderboard"):
        arguments = (command, ledger.name, "--ledger", f"sqlite:///{tmp_path}/ledger.db")
        cut, whole = (jit_sweep(*arguments, *more, cwd=tmp_path).stdout for more in ([], ["--all"]))
        assert cut.count("learning_rate=") < whole.count("learning_rate=")
        assert "--all shows every one" in cut
        assert "--all" not in whole
        assert whole.count("learning_rate=") >= MOST_ROWS + 10


@pytest.mark.parametrize(("arms", "pairs"), [(MOST_ALIKE, MOST_ALIKE * (MOST_ALIKE - 1) // 2), (40, 39 + 38)])
def test_of_an_axis_of_many_values_neighbours_alone_are_explored(ledger: LedgerFixture, arms: int, pairs: int) -> None:
    ledger.plan(*(planned(arm={"learning_rate": 1e-5 * (1 + n)}, position=n) for n in range(arms)))
    asked, explored = read_results(ledger.reader, ledger.name).findings
    assert (len(asked), len(explored)) == (arms - 1, pairs - (arms - 1))
    assert [cell["learning_rate"] for cell in explored[0].question.cells] == pytest.approx([2e-5, 3e-5])
