"""A stage whose seeds race, played over the real ledger: who gets more seeds, and that nothing is decided twice."""

from pathlib import Path
from typing import Any

import pytest

from jit_sweep.doctor.looks import of_looks
from jit_sweep.edits.difference import read_difference
from jit_sweep.ledger.records import EntryRow, SweepState
from jit_sweep.results.findings import Findings, Outcome
from jit_sweep.results.leaderboard import read_results
from tests.support.played import PlayedHome, drawn, planned_file
from tests.support.sweep_files import tiny_sweep

LEVEL = {"x": 1.0, "v": 2.0, "eps": 1.0}
"""Of the first two predictions every seed says so; the third is as good as the first."""


def score(row: EntryRow, metric: str) -> float:
    """About the level of its prediction, a seed's luck shared by all arms."""
    own, of_seed = drawn(row.trial_id, metric, row.images), drawn(str(row.seed), metric, 0)
    spread = 0.2 if row.arm["prediction"] == "eps" else 0.001
    return LEVEL[str(row.arm["prediction"])] * (1 + 0.01 * of_seed + spread * (own - 1.5))


def raced(least: int = 3, most: int = 5, **more: Any) -> dict[str, Any]:
    grid = {"axes": {"prediction": ["x", "v", "eps"]}, "seeds": {"min": least, "max": most}, **more}
    return tiny_sweep(stages=[{"grid": grid}], alpha=0.2)


@pytest.fixture
def home(tmp_path: Path) -> PlayedHome:
    return PlayedHome(tmp_path, score=score)


def seeds(home: PlayedHome) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row in home.rows():
        found.setdefault(str(row.arm["prediction"]), []).append(row.seed)
    return found


def verdicts(home: PlayedHome) -> Findings:
    return read_results(home.reader, home.name).findings


def test_an_arm_without_an_open_question_gets_no_more_seeds(home: PlayedHome) -> None:
    assert home.run(raced()) is SweepState.DONE
    assert seeds(home) == {"x": [0, 1, 2, 3, 4], "v": [0, 1, 2], "eps": [0, 1, 2, 3, 4]}
    of_v, of_eps = verdicts(home).planned
    assert (of_v.outcome, of_eps.outcome) == (Outcome.REAL, Outcome.INCONCLUSIVE)
    assert of_v.effect is not None
    assert (of_v.effect.test.n, len(of_v.arms[1].trials)) == (3, 3)
    assert of_v.effect.level > 0.97, "an early look's interval is wider than one of 95 %"


def test_a_race_that_was_cut_short_goes_on_to_the_same_trials_and_verdicts(home: PlayedHome, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole = PlayedHome(tmp_path / "whole", score=score)
    whole.run(raced())
    for _ in range(3):
        home.run(raced(), most=4, cut=True)
    home.run(raced())
    assert [(row.key, row.state) for row in home.rows()] == [(row.key, row.state) for row in whole.rows()]
    assert [each.line for each in verdicts(home).planned] == [each.line for each in verdicts(whole).planned]
    assert len(set(home.trained)) == len(home.trained), "nothing was trained twice"


def test_a_file_that_has_not_changed_is_not_said_to_retire_the_further_seeds(home: PlayedHome) -> None:
    home.run(raced())
    assert read_difference(home.reader, planned_file(raced())) == []


def test_more_seeds_than_were_planned_are_another_question(home: PlayedHome) -> None:
    home.run(raced())
    home.run(raced(most=6))
    assert verdicts(home).planned == ()
    assert {each.outcome for each in verdicts(home).exploratory} == {Outcome.POST_HOC}


def test_the_looks_follow_from_the_events_and_a_seed_that_nobody_was_due_is_found(home: PlayedHome) -> None:
    home.run(raced())
    assert list(of_looks(home.reader, home.name)) == []
    planned = planned_file(raced())
    stray = next(entry for entry in planned.entries if entry.arm["prediction"] == "v").with_seed(3, position=20)
    with home.writing(planned) as writer:
        writer.add_entries(home.name, [stray])
    [found] = of_looks(home.reader, home.name)
    assert "prediction=v" in found.found
