"""A stage whose trials draw nothing beside one by whose samples the sweep is judged, played over the real ledger."""

from pathlib import Path
from typing import Any

import pytest

from jit_sweep.cli.output import console
from jit_sweep.cli.power import print_power
from jit_sweep.cli.verdicts import print_verdicts
from jit_sweep.ledger.records import EntryRow, EntryState, SweepState
from jit_sweep.models.candidate import candidate_of
from jit_sweep.models.retention import needs_of
from jit_sweep.plan.power import prospects
from jit_sweep.results.as_json import contents
from jit_sweep.results.findings import Outcome
from jit_sweep.results.leaderboard import read_results
from tests.support.played import PlayedHome, drawn, planned_file
from tests.support.sweep_files import tiny_sweep

EARLY = {"kind": "halving", "first_rung": {"images": 16}, "reduction": 2, "s_train": 0.01}


def score(row: EntryRow, metric: str) -> float:
    """x is better than v; a classifier's score is better than both as a number."""
    level = 0.1 if not row.trial.draws else 1.0 if row.trial.diffusion.prediction == "x" else 2.0
    return level * (1 + 0.01 * drawn(row.trial_id, metric, 0))


def mixed(**given: Any) -> dict[str, Any]:
    finders = {"preset": ["classifier-tiny"], "pool": ["attention", "adaptive"], "batch_size": [8]}
    denoisers = {"grid": {"axes": {"prediction": ["x", "v"]}, "seeds": 3}}
    stages = [{"name": "finder", "grid": {"axes": finders, "seeds": 3}}, denoisers]
    return tiny_sweep(**{"stages": stages, "budget": {"images_per_trial": 64, "rungs": 2}, **given})


@pytest.fixture
def home(tmp_path: Path) -> PlayedHome:
    return PlayedHome(tmp_path, score=score)


def test_what_draws_nothing_is_last_and_never_the_best_whatever_its_own_score(home: PlayedHome) -> None:
    assert home.run(mixed()) is SweepState.DONE
    results = read_results(home.reader, home.name)
    assert [arm.arm.get("prediction", "none") for arm in results.arms] == ["x", "v", "none", "none"]
    assert candidate_of(results).arm.arm == {"prediction": "x"}
    assert [row["cell"].get("prediction") for row in contents(results, ())["rows"]] == ["x", "v", None, None]


def test_its_arms_are_asked_nothing_that_samples_answer(home: PlayedHome) -> None:
    home.run(mixed())
    found = {each.question.labels[0].split()[0]: each for each in read_results(home.reader, home.name).findings.planned}
    assert found["prediction=v"].outcome is Outcome.REAL
    undrawn = found["preset=classifier-tiny"]
    assert undrawn.outcome is Outcome.NOT_COMPARABLE
    assert undrawn.reason == "objective: fd_efflite0_96 is of samples, and these draw none"
    assert undrawn.effect is None


@pytest.mark.parametrize("objective", ["fd_efflite0_96", "heldout_v_error"])
def test_what_no_score_can_answer_makes_no_other_answer_weaker(
    home: PlayedHome, capsys: pytest.CaptureFixture[str], objective: str
) -> None:
    planned = planned_file(mixed(objective=objective))
    assert home.run_plan(planned) is SweepState.DONE
    results = read_results(home.reader, home.name)
    asked = {each.question.axes[0]: each for each in results.findings.planned}
    assert asked["prediction"].effect is not None
    assert asked["prediction"].adjusted_p == asked["prediction"].effect.p
    assert (asked["pool"].outcome, asked["pool"].adjusted_p) == (Outcome.NOT_COMPARABLE, None)
    print_verdicts(results, console(), most=None)
    print_power(planned, None, console())
    said = " ".join(capsys.readouterr().out.split())
    assert "p by Holm over 1 planned question" in said
    assert f"1 question without a verdict: {objective} is no score of an arm's trials" in said
    assert f"cannot be decided at all, since {objective} is no score of an arm's trials: preset=classifier-tiny" in said
    assert {each.question.axes[0]: (each.is_decidable, each.family) for each in prospects(planned)} == {
        "prediction": (True, 1),
        "pool": (False, 1),
    }


def test_what_has_not_ended_keeps_its_place_in_the_family(home: PlayedHome) -> None:
    more = {"grid": {"axes": {"prediction": ["x", "v"], "learning_rate": [2e-3, 3e-3]}, "seeds": 3, "interactions": []}}
    assert home.run(mixed(stages=[mixed()["stages"][1], more]), most=5) is SweepState.INTERRUPTED
    found = read_results(home.reader, home.name).findings.planned
    assert {each.outcome for each in found} == {Outcome.NOT_COMPARABLE}
    assert {each.adjusted_p for each in found} == {1.0}


def test_it_goes_to_its_end_where_others_are_stopped(home: PlayedHome) -> None:
    axes = {"prediction": ["x", "v"], "learning_rate": [1e-3, 2e-3, 3e-3]}
    others = {"grid": {"axes": axes, "contrasts": []}}
    assert home.run(mixed(stages=[mixed()["stages"][0], others], scheduler=EARLY)) is SweepState.DONE
    states = {row.trial.draws: set[EntryState]() for row in home.rows()}
    for row in home.rows():
        states[row.trial.draws].add(row.state)
    assert states == {False: {EntryState.DONE}, True: {EntryState.DONE, EntryState.PRUNED}}


def test_a_search_starts_from_no_cell_that_draws_nothing(home: PlayedHome) -> None:
    search = {"from": "best_cell", "trials": 2, "sampler": "random", "axes": {"learning_rate": [1e-3, 2e-3, 4e-3]}}
    home.run(mixed(stages=[*mixed()["stages"], {"search": search}]))
    proposed = [row for row in home.rows() if row.origin == "search"]
    assert [dict(row.base) for row in proposed] == [{"prediction": "x"}] * 2


def test_its_checkpoints_are_none_of_the_best(home: PlayedHome) -> None:
    home.run(mixed(retention={"best": 3}))
    needs = needs_of(home.reader, (), ended=frozenset({home.name}))
    assert {row.trial.diffusion.prediction for row in home.rows() if row.trial_id in needs} == {"x"}
    assert all(row.trial.draws for row in home.rows() if row.trial_id in needs)
