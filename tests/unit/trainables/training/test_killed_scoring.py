"""A process that is killed while it scores loses no score: what it had drawn is not drawn again, and the score is the same."""

import multiprocessing
import os
import signal
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import pytest

from tests.unit.trainables.test_train import assignment, run
from trainables.assignment import Assignment
from trainables.report import Activity, Ended, Report, Scored

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
STEPS = 2


def killed_at(work: Assignment, look: int) -> None:
    """Train and score, and die without a word when it is asked for the so many-th time whether to stop."""
    looks = count(1)

    def interrupted() -> bool:
        if next(looks) == look:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    run(work, interrupted=interrupted)


def scores(reports: Sequence[Report]) -> list[tuple[dict[str, float], dict[str, float]]]:
    return [(each.values, each.raw_values) for each in reports if isinstance(each, Scored)]


@pytest.mark.parametrize(
    ("look", "still_drawn"),
    [(STEPS + 1, [0, 4, 8, 8, 12, 16]), (STEPS + 2, [0, 8, 12, 16])],
    ids=["before the first sample", "between the weights that it names and the raw ones"],
)
def test_a_killed_scoring_is_made_again_to_the_same_score_without_training_and_without_what_it_had_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: int, still_drawn: list[int]
) -> None:
    monkeypatch.setattr("trainables.training.telling.INTERVAL_S", 0.0)
    work = assignment(tmp_path / "killed", steps=STEPS, scored=True, checkpoint_interval_s=1e-9)
    process = multiprocessing.get_context("spawn").Process(target=killed_at, args=(work, look))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    told: list[Activity] = []
    again = run(work, attempt=2, tell=told.append)
    assert [type(report) for report in again] == [Scored, Ended]
    assert [each.done for each in told if each.what == "drawing samples"] == still_drawn
    assert scores(again) == scores(run(assignment(tmp_path / "whole", steps=STEPS, scored=True)))
    assert not list(tmp_path.glob("killed/trials/*/drawn/*"))
