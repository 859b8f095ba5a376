"""What a sweep found: means that hide nothing, verdicts that need agreement, choices that need seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from jit_sweep.ledger.records import Cause
from jit_sweep.results.arms import Arm
from jit_sweep.results.leaderboard import NoBestArm, best_arm, best_cell, median_seed, read_results
from jit_sweep.results.verdicts import Contrast, judges
from search_spaces.axes import AXES
from tests.support.ledger import OBJECTIVE, LedgerFixture, ended, planned, scored
from trainables.evaluation.metrics.registry import METRICS
from trainables.networks.cost import training_flops

FD, KID, ERROR = "fd_efflite0_96", "kid_efflite0_96", "heldout_v_error"
X, V, EPS = {"prediction": "x"}, {"prediction": "v"}, {"prediction": "eps"}


def train_arm(
    ledger: LedgerFixture, arm: Mapping[str, Any], values: Sequence[float | Mapping[str, float]], **more: Any
) -> None:
    """One trial a seed, scored with its value in every metric of the verdict, or with the metrics given."""
    for seed, value in enumerate(values):
        scores = value if isinstance(value, Mapping) else dict.fromkeys((FD, KID, ERROR), value)
        ledger.train(planned(arm=arm, seed=seed, position=len(ledger.reader.entries("mine")), **more), scores)


def collapse_arm(ledger: LedgerFixture, arm: Mapping[str, Any], values: Sequence[float]) -> None:
    """Trials with scores that are an accident: each has collapsed."""
    for seed, value in enumerate(values):
        entry = planned(arm=arm, seed=seed, position=len(ledger.reader.entries("mine")))
        ledger.train(entry, dict.fromkeys((FD, KID, ERROR), value), collapsed=True)


def only_contrast(ledger: LedgerFixture) -> Contrast:
    (contrast,) = read_results(ledger.reader, "mine").contrasts
    return contrast


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


def test_a_verdict_needs_all_metrics_to_prefer_one_arm(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, [1.0, 1.1, 1.2])
    train_arm(ledger, V, [2.0, 2.15, 2.1])
    contrast = only_contrast(ledger)
    assert contrast.axis == "prediction"
    assert contrast.preferred is not None
    assert contrast.preferred.arm == X
    half = 4.302653 * 0.07637626 / 3**0.5  # of the differences -1, -1.05 and -0.9
    assert contrast.differences[0].interval == pytest.approx((-0.9833333 - half, -0.9833333 + half))
    shown = ", ".join(f"{metric} -0.983 [-1.17, -0.794] n=3" for metric in (FD, KID, ERROR))
    assert contrast.verdict == f"prediction=x better ({shown})"
    assert [difference.prefers for difference in contrast.differences] == ["a", "a", "a"]
    assert contrast.differences[0].mean == pytest.approx(-0.9833333)


def test_metrics_that_disagree_leave_it_undecided_and_say_what_each_says(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, [{FD: 9.0, KID: 1.0, ERROR: 1.0 + seed / 10} for seed in range(3)])
    train_arm(ledger, V, [{FD: 1.0, KID: 1.0 - (-2) ** seed, ERROR: 5.0} for seed in range(3)])
    contrast = only_contrast(ledger)
    assert contrast.preferred is None
    says = "fd_efflite0_96 +8 [8, 8] n=3 says prediction=v, kid_efflite0_96 +1 [-6.45, 8.45] n=3 says neither"
    assert contrast.verdict.startswith(f"undecided ({says}, heldout_v_error -3.9 ")
    assert contrast.verdict.endswith("n=3 says prediction=x)")


def test_a_metric_that_says_neither_is_not_outvoted(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, [{FD: 1.0, KID: 1.0 - (-2) ** seed, ERROR: 1.0} for seed in range(3)])
    train_arm(ledger, V, [{FD: 9.0, KID: 1.0, ERROR: 9.0} for seed in range(3)])
    assert [difference.prefers for difference in only_contrast(ledger).differences] == ["a", None, "a"]
    assert only_contrast(ledger).preferred is None


@pytest.mark.parametrize("axis", ["noise_scale", "t_eps_sample"])
def test_a_metric_is_not_asked_along_an_axis_that_it_is_blind_to(ledger: LedgerFixture, axis: str) -> None:
    train_arm(ledger, {axis: 0.1}, [{FD: 1.0, KID: 1.0, ERROR: 9.0}] * 3)
    train_arm(ledger, {axis: 0.2}, [{FD: 2.0, KID: 2.0, ERROR: 1.0}] * 3, n=128)
    contrast = only_contrast(ledger)
    assert [difference.metric for difference in contrast.differences] == [FD, KID]
    assert contrast.verdict == f"{axis}=0.1 better ({FD} -1 [-1, -1] n=3, {KID} -1 [-1, -1] n=3)"


def test_the_metrics_that_can_judge_an_axis_must_still_agree(ledger: LedgerFixture) -> None:
    train_arm(ledger, {"t_eps_sample": 0.1}, [{FD: 1.0, KID: 3.0, ERROR: 1.0}] * 3)
    train_arm(ledger, {"t_eps_sample": 0.2}, [{FD: 2.0, KID: 2.0, ERROR: 1.0}] * 3, n=128)
    says = f"{FD} -1 [-1, -1] n=3 says t_eps_sample=0.1, {KID} +1 [1, 1] n=3 says t_eps_sample=0.2"
    assert only_contrast(ledger).verdict == f"undecided ({says})"


def test_every_axis_has_a_judge_and_blindness_is_to_registered_axes() -> None:
    assert all(judges(axis) for axis in AXES)
    for metric in METRICS.values():
        assert metric.blind_to <= AXES.keys()
        assert all(axis in metric.about for axis in metric.blind_to)


def test_a_difference_within_the_spread_is_no_preference(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, [1.0, 2.0, 3.0])
    train_arm(ledger, V, [1.5, 2.1, 3.9])  # differences -0.5, -0.1, -0.9: the interval is -1.49 to 0.49
    assert [difference.prefers for difference in only_contrast(ledger).differences] == [None] * 3


def test_only_seeds_that_both_arms_have_are_compared(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, [1.0, 1.0, 50.0])
    train_arm(ledger, V, [2.0, 2.0])
    (difference, *_) = only_contrast(ledger).differences
    assert (difference.n, difference.mean) == (2, -1.0)


@pytest.mark.parametrize(("seeds", "shown"), [(1, "n=1"), (2, "-8 [-8, -8] n=2")])
def test_one_or_two_shared_seeds_decide_nothing(ledger: LedgerFixture, seeds: int, shown: str) -> None:
    train_arm(ledger, X, [1.0, 1.0, 1.0])
    train_arm(ledger, V, [9.0] * seeds)
    assert only_contrast(ledger).preferred is None
    assert f"{FD} {shown} has too few seeds" in only_contrast(ledger).verdict


def test_nothing_is_decided_before_every_planned_seed_has_ended(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, [1.0, 1.0])
    train_arm(ledger, V, [9.0, 9.0])
    ledger.plan(planned(arm=V, seed=2))
    assert only_contrast(ledger).verdict == "undecided (1 trials have not ended)"


def test_an_arm_that_lost_seeds_is_not_called_better_for_its_survivors(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, [1.0, 1.0, 1.0])
    train_arm(ledger, V, [9.0, 9.0, 9.0, 9.0])
    ledger.diverge(planned(arm=X, seed=3), images=480)
    assert only_contrast(ledger).verdict == "undecided (prediction=x lost 1 of its 4 seeds)"


def test_arms_of_different_budgets_are_not_judged(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, [1.0, 1.0])
    train_arm(ledger, V, [9.0, 9.0], images=1920)
    assert only_contrast(ledger).verdict == "undecided (they trained on 960 and 1920 images)"


def test_arms_are_contrasted_within_a_patch_size_and_one_axis_at_a_time(ledger: LedgerFixture) -> None:
    for patch in (16, 8):
        for prediction in ("x", "v"):
            for rate in (0.1, 0.2):
                ledger.plan(planned(arm={"patch_size": patch, "prediction": prediction, "learning_rate": rate}))
    found = read_results(ledger.reader, "mine").contrasts
    assert len(found) == 8
    for contrast in found:
        differing = {axis for axis in contrast.a.arm if contrast.a.arm[axis] != contrast.b.arm[axis]}
        assert differing == {contrast.axis}
        assert contrast.axis != "patch_size"
    assert "patch_size=16 learning_rate=0.1" in {contrast.context for contrast in found}


def test_conditional_axes_do_not_count_as_differences_of_their_own(ledger: LedgerFixture) -> None:
    arms: list[dict[str, Any]] = [{"t_sampling": "logit_normal", "t_mu": mu} for mu in (-0.8, 0.0)]
    for seed, arm in enumerate([*arms, {"t_sampling": "uniform"}]):
        ledger.plan(planned(arm=arm, seed=seed, position=seed))
    found = [(contrast.axis, contrast.a.label, contrast.b.label) for contrast in read_results(ledger.reader, "mine").contrasts]
    assert found == [
        ("t_sampling", "t_sampling=logit_normal t_mu=-0.8", "t_sampling=uniform"),
        ("t_sampling", "t_sampling=logit_normal t_mu=0.0", "t_sampling=uniform"),
        ("t_mu", "t_sampling=logit_normal t_mu=-0.8", "t_sampling=logit_normal t_mu=0.0"),
    ]


def test_arms_that_differ_in_a_conditional_axis_too_are_not_contrasted(ledger: LedgerFixture) -> None:
    arms: list[dict[str, Any]] = [
        {"prediction": "x", "t_sampling": "logit_normal", "t_mu": -0.8},
        {"prediction": "v", "t_sampling": "logit_normal", "t_mu": 0.0},
        {"prediction": "x", "t_sampling": "uniform"},
    ]
    for position, arm in enumerate(arms):
        ledger.plan(planned(arm=arm, seed=position, position=position))
    found = [(contrast.axis, contrast.a.arm, contrast.b.arm) for contrast in read_results(ledger.reader, "mine").contrasts]
    assert found == [("t_sampling", arms[0], arms[2])]


def test_the_best_arm_is_the_best_mean_among_those_with_most_seeds(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, [2.0, 4.0, 3.0])
    train_arm(ledger, V, [5.0, 5.0, 5.0])
    train_arm(ledger, EPS, [1.0, 1.0])
    assert best_arm(read_results(ledger.reader, "mine").arms, objective=OBJECTIVE).arm == X


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


def test_a_collapsed_arm_may_lose_a_verdict_and_never_wins_one(ledger: LedgerFixture) -> None:
    collapse_arm(ledger, V, [1.0, 1.1, 1.2])
    train_arm(ledger, X, [5.0, 5.1, 5.2])
    train_arm(ledger, EPS, [0.1, 0.2, 0.3])
    contrasts = read_results(ledger.reader, "mine").contrasts
    assert [(contrast.line.partition(": ")[0], contrast.preferred and contrast.preferred.arm) for contrast in contrasts] == [
        ("prediction=v against prediction=x", None),
        ("prediction=v against prediction=eps", EPS),
        ("prediction=x against prediction=eps", EPS),
    ]
    assert contrasts[0].verdict == "undecided (prediction=v collapsed in 3 of its 3 seeds)"


def test_a_collapsed_search_trial_stands_behind_those_that_learned(ledger: LedgerFixture) -> None:
    for seed, (value, collapsed) in enumerate([(3.0, False), (1.0, True), (2.0, False)]):
        ledger.train(planned(seed=seed, position=seed, origin="search"), {FD: value}, collapsed=collapsed)
    assert [trial.value(FD) for trial in read_results(ledger.reader, "mine").searched] == [2.0, 3.0, 1.0]


def test_arms_with_equal_scores_on_every_shared_seed_are_the_same_run(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, [1.0, 2.0])
    train_arm(ledger, V, [1.0, 2.0, 3.0])
    contrast = only_contrast(ledger)
    assert contrast.verdict == "undecided (prediction changed nothing: these arms are the same run)"
    assert not contrast.hopeless


@pytest.mark.parametrize("other", [[1.0, 2.000001], [{FD: 1.0, KID: 1.0}, 2.0]])
def test_arms_that_differ_in_the_last_bit_or_in_which_scores_they_have_are_not(ledger: LedgerFixture, other: list[Any]) -> None:
    train_arm(ledger, X, [1.0, 2.0])
    train_arm(ledger, V, other)
    assert "same run" not in only_contrast(ledger).verdict


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


def test_contrasts_that_no_seed_to_come_could_decide_are_known_as_such(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, [1.0])
    train_arm(ledger, V, [2.0])
    assert only_contrast(ledger).hopeless == "an arm has fewer than 3 seeds"
    for arm in (X, V):
        ledger.plan(*(planned(arm=arm, seed=seed, position=9) for seed in (1, 2)))
    assert only_contrast(ledger).hopeless == ""
