"""What a sweep found: means that hide nothing, verdicts that need agreement, choices that need seeds."""

from collections.abc import Mapping
from typing import Any

import pytest

from jit_sweep.ledger.records import Cause
from jit_sweep.results.arms import Arm
from jit_sweep.results.leaderboard import (
    NoBestArm,
    best_arm,
    best_cell,
    best_first,
    leaderboard,
    median_seed,
    read_results,
    rivals_of,
)
from search_spaces.presets import preset
from tests.support.ledger import OBJECTIVE, LedgerFixture, ended, planned, scored
from tests.support.scored_arms import ERROR, FD, KID, collapse_arm, train_arm
from tests.support.trials import trial_of_recipe
from trainables.config.trial import DataConfig
from trainables.evaluation.metrics.registry import table_metrics, verdict_metrics
from trainables.networks.cost import training_flops

X, V, EPS = {"prediction": "x"}, {"prediction": "v"}, {"prediction": "eps"}


def arm_of(ledger: LedgerFixture, arm: Mapping[str, Any]) -> Arm:
    return next(found for found in read_results(ledger.reader, "mine").arms if found.arm == arm)


def test_an_arm_is_its_mean_spread_count_images_and_flops(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, [1.0, 2.0, 4.5])
    arm = arm_of(ledger, X)
    assert arm.label == "prediction=x"
    assert arm.metrics[FD] == pytest.approx((2.5, 3.25**0.5, 3))
    assert (arm.seeds, arm.scored, arm.diverged, arm.failed, arm.unfinished) == ((0, 1, 2), 3, 0, 0, 0)
    assert arm.images == 960
    assert arm.training_flops == training_flops(planned(arm=X).trial, images=960)


def test_a_missing_score_is_missing_and_never_a_number_in_a_mean(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, [{FD: 1.0, KID: 5.0}, {FD: 3.0}])
    ledger.diverge(planned(arm=X, seed=2), images=480)
    failed, waiting = planned(arm=X, seed=3), planned(arm=X, seed=4)
    ledger.plan(failed, waiting)
    ledger.writer.fail(failed.trial_id, ledger.begin(failed).number, cause=Cause.BUG, detail="why")
    arm = arm_of(ledger, X)
    assert (arm.metrics[FD].mean, arm.metrics[FD].n) == (2.0, 2)
    assert arm.metrics[KID] == (5.0, None, 1)
    assert ERROR not in arm.metrics
    assert (arm.scored, arm.diverged, arm.failed, arm.unfinished) == (2, 1, 1, 1)
    assert [trial.value(KID) for trial in arm.trials] == [5.0, None, None, None, None]


def test_an_arm_says_how_many_of_its_seeds_the_budget_does_not_hold(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, [1.0])
    left = planned(arm=X, seed=1, position=1)
    ledger.plan(left)
    ledger.writer.end_budget("mine", [left.key], why="it is spent")
    arm = arm_of(ledger, X)
    assert (arm.unfinished, arm.remarks) == (1, ["1 out_of_budget", "unreplicated"])


def test_arms_are_grouped_by_stage_cell_and_budget(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, [1.0, 2.0])
    train_arm(ledger, X, [1.0], images=1920, n=128)
    ledger.plan(planned(arm=X, stage=1))
    arms = read_results(ledger.reader, "mine").arms
    assert sorted((arm.stage, arm.images, len(arm.trials)) for arm in arms) == [(0, 960, 2), (0, 1920, 1), (1, 960, 1)]


def test_search_trials_stand_in_a_table_of_their_own_best_first(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, [5.0])
    for position, value in enumerate((3.0, 1.0, 2.0)):
        arm = {"learning_rate": 10.0 ** -(position + 2)}
        ledger.train(planned(arm=arm, origin="search", stage=1, position=position), {FD: value})
    ledger.plan(planned(arm={"learning_rate": 0.5}, origin="search", stage=1, position=3))
    results = read_results(ledger.reader, "mine")
    assert [trial.value(FD) for trial in results.searched] == [1.0, 2.0, 3.0, None]
    assert [arm.label for arm in results.arms] == ["prediction=x"]


def test_the_heldout_row_comes_with_the_results(ledger: LedgerFixture) -> None:
    entry = planned()
    ledger.plan(entry)
    ledger.tell(ledger.begin(entry), scored(entry, {FD: 2.0}, heldout={FD: 0.5}), ended(entry))
    row = read_results(ledger.reader, "mine").heldout
    assert row is not None
    assert row.values == {FD: 0.5}


def test_the_leaderboard_puts_survivors_means_below_whole_arms_and_unscored_arms_last(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, [3.0, 3.0])
    train_arm(ledger, EPS, [2.0, 2.0])
    train_arm(ledger, V, [1.0])
    ledger.diverge(planned(arm=V, seed=1), images=480)
    ledger.plan(planned(arm={"prediction": "x", "learning_rate": 0.1}))
    labels = [arm.label for arm in read_results(ledger.reader, "mine").arms]
    assert labels == ["prediction=eps", "prediction=x", "prediction=v", "prediction=x learning_rate=0.1"]


def test_the_best_arm_is_the_best_mean_of_those_with_the_seeds_that_their_own_cell_planned(ledger: LedgerFixture) -> None:
    """So that six seeds at 1500 do not beat five at 300."""
    train_arm(ledger, X, [2.0, 4.0, 3.0])
    train_arm(ledger, V, [5.0, 5.0, 5.0])
    train_arm(ledger, EPS, [1.0, 1.0])
    arms = read_results(ledger.reader, "mine").arms
    assert best_arm(arms, objective=OBJECTIVE).arm == EPS
    assert best_arm(arms, objective=OBJECTIVE, least_seeds=3).arm == X


def test_images_made_again_are_no_rivals_of_images_that_are_drawn(ledger: LedgerFixture) -> None:
    again = {"preset": "autoencoder-tiny"}
    for seed in (0, 1):
        data = DataConfig(digest="d" * 12, image_size=32, num_classes=4)
        own = trial_of_recipe(preset("autoencoder-tiny"), data=data, seed=seed)
        ledger.train(planned(arm=again, seed=seed, images=960).model_copy(update={"trial": own}), {OBJECTIVE: 0.1})
    alone = read_results(ledger.reader, "mine").arms
    assert best_arm(alone, objective=OBJECTIVE).arm == again
    train_arm(ledger, V, [5.0, 5.0])
    arms = read_results(ledger.reader, "mine").arms
    assert best_arm(arms, objective=OBJECTIVE).arm == V
    assert [arm.arm for arm in leaderboard(arms, objective=OBJECTIVE)] == [V, again]
    cell = best_cell(ledger.reader.entries("mine"), ledger.reader.scores("mine"), objective=OBJECTIVE)
    assert cell is not None
    assert cell.arm == V


def test_trials_that_draw_no_images_are_ranked_behind_those_that_do_and_never_the_best(ledger: LedgerFixture) -> None:
    finder = {"preset": "classifier-tiny"}
    data = DataConfig(digest="d" * 12, image_size=32, num_classes=4)
    for seed in (0, 1, 2):
        own = trial_of_recipe(preset("classifier-tiny"), data=data, seed=seed)
        entry = planned(arm=finder, seed=seed, position=9 + seed, images=960).model_copy(update={"trial": own})
        ledger.train(entry, {"heldout_cross_entropy": 0.1})
    train_arm(ledger, V, [{}, {}])  # whose objective is missing too
    results = read_results(ledger.reader, "mine")
    assert [arm.arm for arm in results.arms] == [V, finder]
    assert rivals_of(results.arms) == [results.arms[0]]
    assert {"heldout_cross_entropy"} <= {*table_metrics(OBJECTIVE, results.scored)}
    with pytest.raises(NoBestArm):
        best_arm(results.arms, objective=OBJECTIVE, least_seeds=1)
    trials = [trial for arm in results.arms[::-1] for trial in arm.trials]
    assert [trial.entry.draws for trial in best_first(trials, objective=OBJECTIVE)] == [True] * 2 + [False] * 3


def test_tables_have_the_errors_of_the_kinds_that_are_there(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, [{OBJECTIVE: 1.0, "heldout_latent_error": 0.7}])
    train_arm(ledger, V, [{OBJECTIVE: 2.0, "heldout_reconstruction_error": 0.02}])
    results = read_results(ledger.reader, "mine")
    assert results.scored.kinds == {"latent", "autoencoder"}
    assert {"heldout_latent_error", "heldout_reconstruction_error"} <= {*table_metrics(OBJECTIVE, results.scored)}
    assert "heldout_v_error" not in table_metrics(OBJECTIVE, results.scored)
    assert "heldout_latent_error" in verdict_metrics(OBJECTIVE, results.scored)


def test_a_search_starts_from_one_seed_only_where_no_arm_has_more(ledger: LedgerFixture) -> None:
    train_arm(ledger, V, [1.0])
    train_arm(ledger, X, [5.0, 5.0])
    cell = best_cell(ledger.reader.entries("mine"), ledger.reader.scores("mine"), objective=OBJECTIVE)
    assert cell is not None
    assert cell.arm == X


def test_a_search_starts_from_no_cell_that_is_worse_than_blank_images(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, [3.0, 3.0])
    train_arm(ledger, V, [5.0, 5.0])
    rows, scores = ledger.reader.entries("mine"), ledger.reader.scores("mine")
    best, none = (best_cell(rows, scores, objective=OBJECTIVE, marks={"kid_efflite0_96": mark}) for mark in (4.0, 2.0))
    assert best is not None
    assert (best.arm, none) == (X, None)


@pytest.mark.parametrize("how", ["diverged", "failed", "unfinished"])
def test_an_arm_with_a_seed_that_has_no_score_is_not_chosen(ledger: LedgerFixture, how: str) -> None:
    train_arm(ledger, X, [1.0, 1.0])
    train_arm(ledger, V, [5.0, 5.0, 5.0])
    missing = planned(arm=X, seed=2)
    ledger.plan(missing)
    if how == "diverged":
        ledger.diverge(missing, images=480)
    elif how == "failed":
        ledger.writer.fail(missing.trial_id, ledger.begin(missing).number, cause=Cause.BUG, detail="why")
    assert best_arm(read_results(ledger.reader, "mine").arms, objective=OBJECTIVE).arm == V


def test_one_seed_is_never_chosen_unasked_but_a_search_may_start_from_it(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, [1.0])
    train_arm(ledger, V, [5.0])
    with pytest.raises(NoBestArm, match=r"2 or more seeds.*prediction=x: 1 of 1 scored.*name a trial with --trial"):
        best_arm(read_results(ledger.reader, "mine").arms, objective=OBJECTIVE)
    cell = best_cell(ledger.reader.entries("mine"), ledger.reader.scores("mine"), objective=OBJECTIVE)
    assert cell is not None
    assert cell.arm == X


def test_an_arm_with_a_collapsed_seed_stands_behind_and_is_never_the_best(ledger: LedgerFixture) -> None:
    collapse_arm(ledger, V, [1.0, 1.0])
    train_arm(ledger, X, [5.0, 6.0])
    arms = read_results(ledger.reader, "mine").arms
    assert [(arm.arm, arm.remarks) for arm in arms] == [(X, []), (V, ["2 collapsed"])]
    assert best_arm(arms, objective=OBJECTIVE).arm == X


def test_where_every_arm_collapsed_none_is_the_best_and_no_search_starts_from_one(ledger: LedgerFixture) -> None:
    collapse_arm(ledger, V, [1.0, 1.0])
    with pytest.raises(NoBestArm, match=r"none collapsed, and there is none \(prediction=v: 2 of 2 scored, 2 collapsed\)"):
        best_arm(read_results(ledger.reader, "mine").arms, objective=OBJECTIVE)
    assert best_cell(ledger.reader.entries("mine"), ledger.reader.scores("mine"), objective=OBJECTIVE) is None


def test_a_collapsed_search_trial_stands_behind_those_that_learned(ledger: LedgerFixture) -> None:
    for seed, (value, collapsed) in enumerate([(3.0, False), (1.0, True), (2.0, False)]):
        ledger.train(planned(seed=seed, position=seed, origin="search"), {FD: value}, collapsed=collapsed)
    assert [trial.value(FD) for trial in read_results(ledger.reader, "mine").searched] == [2.0, 3.0, 1.0]


def test_without_a_score_nothing_is_chosen(ledger: LedgerFixture) -> None:
    ledger.plan(planned())
    with pytest.raises(NoBestArm, match="no grid trial has fd_efflite0_96 yet"):
        best_arm(read_results(ledger.reader, "mine").arms, objective=OBJECTIVE)
    assert best_cell(ledger.reader.entries("mine"), [], objective=OBJECTIVE) is None


@pytest.mark.parametrize(("values", "middle"), [([4.0, 1.0, 2.0], 2.0), ([4.0, 1.0, 3.0, 2.0], 3.0), ([1.0], 1.0)])
def test_the_median_seed_is_the_middle_one_and_of_two_the_worse(
    ledger: LedgerFixture, values: list[float], middle: float
) -> None:
    train_arm(ledger, X, values)
    assert median_seed(arm_of(ledger, X), objective=OBJECTIVE).value(OBJECTIVE) == middle
