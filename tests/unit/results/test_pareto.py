"""The Pareto front: what nothing beats in every objective at once, and where the leaderboard shows it."""

import itertools
import json
import random
from typing import Any

import pytest

from jit_sweep.cli.leaderboard import print_results
from jit_sweep.results.arms import TrialResult, with_scores
from jit_sweep.results.objectives import direction_of
from jit_sweep.results.pareto import front_of, pareto_front
from jit_sweep.spec.sweep import SweepSpec
from search_spaces.quantities import QUANTITIES
from tests.support.ledger import FACTS, OBJECTIVE, LedgerFixture, planned
from tests.support.sweep_files import tiny_sweep
from trainables.evaluation.metrics.registry import METRICS, Direction

DOWN: tuple[Direction, Direction] = ("minimize", "minimize")


def test_a_point_that_another_beats_in_one_objective_and_equals_in_the_rest_is_off_the_front() -> None:
    assert pareto_front([(1, 3), (2, 2), (3, 1), (2, 3), (3, 3)], DOWN) == [True, True, True, False, False]


def test_each_objective_has_its_own_direction() -> None:
    points = [(1.0, 1.0), (1.0, 2.0), (2.0, 3.0)]
    assert pareto_front(points, ("minimize", "maximize")) == [False, True, True]
    assert pareto_front(points, ("maximize", "minimize")) == [True, False, True]


def test_equal_points_stand_together() -> None:
    assert pareto_front([(1, 1), (1, 1)], DOWN) == [True, True]


@pytest.mark.parametrize(("points", "front"), [([], []), ([(1.0, 2.0)], [True])])
def test_a_front_of_few_points(points: list[tuple[float, float]], front: list[bool]) -> None:
    assert pareto_front(points, DOWN) == front


def test_the_front_is_what_is_first_for_some_price_and_hides_nothing_from_any_other() -> None:
    """Whatever the weights, the best weighted sum is on the front; and what is off it is beaten by a point that is on it."""
    draw = random.Random(0)
    points = [(draw.random(), draw.random(), draw.random()) for _ in range(60)]
    stands = pareto_front(points, ("minimize",) * 3)
    for weights in itertools.product((0.1, 1.0, 7.0), repeat=3):
        best = min(range(60), key=lambda index: sum(w * v for w, v in zip(weights, points[index], strict=True)))
        assert stands[best]
    on = [point for point, stand in zip(points, stands, strict=True) if stand]
    off = [point for point, stand in zip(points, stands, strict=True) if not stand]
    assert off
    assert all(any(all(a <= b for a, b in zip(winner, loser, strict=True)) for winner in on) for loser in off)


def test_every_cost_is_minimised_and_has_a_name_of_its_own() -> None:
    assert not METRICS.keys() & QUANTITIES.keys()
    assert {direction_of(name) for name in QUANTITIES} == {"minimize"}


# In a sweep


def two_objectives(**changes: Any) -> dict[str, Any]:
    axes = {"patch_size": [4, 8, 16], "learning_rate": {"low": 1e-4, "high": 1e-1}}
    return {"search": {"trials": 4, "axes": axes, "objectives": [OBJECTIVE, "train_tflops"], "seeds": 2, **changes}}


@pytest.fixture
def ledger(ledger: LedgerFixture) -> LedgerFixture:
    """Small patches cost more: of four arms, one is both worse and dearer than another, and one has lost a seed."""
    spec = SweepSpec.model_validate(tiny_sweep(name="mine", stages=[two_objectives()]))
    ledger.writer.register("mine", fingerprint="f1", identity=FACTS, spec=spec.model_dump(mode="json", by_alias=True))
    arms = [({"patch_size": 16}, (5.0, 5.0)), ({"patch_size": 8}, (1.0, 9.0)), ({"patch_size": 4}, (4.0, 4.0))]
    for position, (arm, values) in enumerate(arms):
        for seed, value in enumerate(values):
            ledger.train(planned(arm=arm, seed=seed, position=2 * position + seed, origin="search"), {OBJECTIVE: value})
    half = {"patch_size": 16, "learning_rate": 1e-3}
    ledger.train(planned(arm=half, position=6, origin="search"), {OBJECTIVE: 0.1})
    ledger.diverge(planned(arm=half, seed=1, position=7, origin="search"), images=480)
    return ledger


def trials(ledger: LedgerFixture) -> list[TrialResult]:
    return with_scores(ledger.reader.entries("mine"), ledger.reader.scores("mine"))


def test_the_front_of_a_stage_is_of_arms_by_their_means_and_of_whole_ones_only(ledger: LedgerFixture) -> None:
    stages = SweepSpec.model_validate(ledger.reader.sweep("mine").spec).stages
    front = front_of(trials(ledger), stages)
    marked = {trial.entry.arm["patch_size"] for trial in trials(ledger) if trial.entry.key in front}
    assert marked == {16, 4}  # 8 has the best single seed, and as a mean is beaten by the cheaper 16
    assert len(front) == 4
    assert not any(trial.entry.key in front for trial in trials(ledger) if "learning_rate" in trial.entry.arm)


def test_an_arm_of_which_a_seed_collapsed_is_on_no_front(ledger: LedgerFixture) -> None:
    arm = {"patch_size": 16, "learning_rate": 1e-2}
    for seed in range(2):
        entry = planned(arm=arm, seed=seed, position=8 + seed, origin="search")
        ledger.train(entry, {OBJECTIVE: 0.01}, collapsed=seed == 0)
    front = front_of(trials(ledger), SweepSpec.model_validate(ledger.reader.sweep("mine").spec).stages)
    assert not any(trial.entry.key in front for trial in trials(ledger) if trial.entry.arm == arm)


def test_a_stage_of_one_objective_has_no_front(ledger: LedgerFixture) -> None:
    single = SweepSpec.model_validate(tiny_sweep(stages=[two_objectives(objectives=None)])).stages
    assert front_of(trials(ledger), single) == frozenset()


def test_the_leaderboard_marks_the_front(ledger: LedgerFixture, capsys: pytest.CaptureFixture[str]) -> None:
    print_results(ledger.reader, "mine", as_json=True)
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {(row["cell"]["patch_size"], row["pareto"]) for row in rows} == {(16, True), (4, True), (8, False), (16, False)}
    print_results(ledger.reader, "mine", as_json=False)
    shown = capsys.readouterr().out
    assert "* stands on the Pareto front" in shown
    on = {row["trial"] for row in rows if row["pareto"]}
    assert {line.split("*")[0] for line in shown.splitlines() if "* " in line and "=" in line} == on
