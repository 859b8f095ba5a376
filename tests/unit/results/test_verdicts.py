"""What may be said of arms: a question's outcome, and everything that keeps it from being called real."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import pytest

from jit_sweep.ledger.records import Cause, HeldoutRow
from jit_sweep.plan.questions import Question
from jit_sweep.results.effects import StageScores
from jit_sweep.results.findings import Asking, Finding, Findings, Outcome, reply
from jit_sweep.results.leaderboard import marks_of, read_results
from jit_sweep.results.verdicts import findings
from jit_sweep.spec.stages import Grid
from jit_sweep.statistics.families import holm
from search_spaces.axes import AXES
from search_spaces.presets import preset
from tests.support.ledger import OBJECTIVE, LedgerFixture, planned, trial
from tests.support.scored_arms import ERROR, FD, KID, collapse_arm, train_arm
from tests.support.trials import trial_of_recipe
from trainables.config.trial import DataConfig
from trainables.evaluation.metrics.registry import METRICS
from trainables.networks.cost import training_flops

X, V, EPS = {"prediction": "x"}, {"prediction": "v"}, {"prediction": "eps"}
GOOD, BAD = [1.0, 1.01, 1.02, 1.01], [2.0, 2.05, 2.02, 2.01]


def found(ledger: LedgerFixture, **more: Any) -> Findings:
    """The findings of all arms, asked as `more` has it."""
    return findings(read_results(ledger.reader, "mine").arms, Asking(**{"objective": OBJECTIVE, **more}))


def only(ledger: LedgerFixture, **more: Any) -> Finding:
    (finding,) = found(ledger, **more).planned
    return finding


def with_metrics(fd: Sequence[float], kid: Sequence[float], error: Sequence[float]) -> list[dict[str, float]]:
    return [{FD: a, KID: b, ERROR: c} for a, b, c in zip(fd, kid, error, strict=True)]


def test_a_clear_gap_is_real_and_names_the_better_arm_its_effect_and_how_sure_that_is(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, GOOD)
    train_arm(ledger, V, BAD)
    finding = only(ledger)
    assert (finding.outcome, finding.winner) == (Outcome.REAL, "prediction=x")
    assert finding.effect is not None
    assert finding.question.label == "prediction=v against x"
    assert finding.effect.estimate == pytest.approx(sum(math.log(b / g) for b, g in zip(BAD, GOOD, strict=True)) / 4)
    assert finding.effect.interval.low < finding.effect.estimate < finding.effect.interval.high
    assert finding.adjusted_p == finding.effect.p < 0.001
    assert finding.line.startswith("prediction=v against x: +100.0 % [")
    assert finding.line.endswith("REAL: prediction=x is better")


def test_a_gap_within_the_spread_is_inconclusive_and_says_what_could_have_been_seen(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, [1.0, 1.3, 1.1, 1.6])
    train_arm(ledger, V, [1.2, 1.1, 1.5, 1.4])
    finding = only(ledger)
    assert finding.outcome is Outcome.INCONCLUSIVE
    assert finding.gap is not None
    assert finding.reason == f"a gap of {100 * math.expm1(finding.gap):.1f} % could have been seen"


def test_arms_within_the_margin_are_equivalent_even_where_they_differ(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, [1.0, 1.1, 1.2, 1.3])
    train_arm(ledger, V, [1.01001, 1.11102, 1.21204, 1.31299])
    assert only(ledger).outcome is Outcome.EQUIVALENT
    assert only(ledger).reason == "less than 3.0 % apart"
    assert only(ledger, margin=0.005).outcome is Outcome.REAL


def test_another_metric_may_veto_and_need_not_be_sure_itself(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, with_metrics(GOOD, BAD, GOOD))
    train_arm(ledger, V, with_metrics(BAD, GOOD, GOOD))
    finding = only(ledger)
    assert finding.outcome is Outcome.CONFLICT
    assert finding.reason.startswith(f"{KID} says otherwise: ")


def test_another_metric_that_says_neither_vetoes_nothing(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, with_metrics(GOOD, [1.0, 5.0, 2.0, 3.0], GOOD))
    train_arm(ledger, V, with_metrics(BAD, [2.0, 2.0, 4.0, 1.0], GOOD))
    assert only(ledger).outcome is Outcome.REAL


def test_a_metric_has_no_veto_along_an_axis_that_it_is_blind_to(ledger: LedgerFixture) -> None:
    """The learning rate tells the trials apart, which the fixture makes alike along noise_scale."""
    for scale, rate, values in ((1.0, 0.1, with_metrics(GOOD, GOOD, BAD)), (2.0, 0.2, with_metrics(BAD, BAD, GOOD))):
        train_arm(ledger, {"noise_scale": scale, "learning_rate": rate}, values)
    question = Question.pair(("noise_scale",), *(arm.arm for arm in read_results(ledger.reader, "mine").arms))
    scores = StageScores(read_results(ledger.reader, "mine").arms)
    assert METRICS[ERROR].blind_to >= {"noise_scale"}
    assert [effect.metric for effect in reply(question, scores, Asking(OBJECTIVE)).others] == [KID]


def test_every_axis_has_an_objective_and_blindness_is_to_registered_axes() -> None:
    assert all(axis not in METRICS[OBJECTIVE].blind_to for axis in AXES)
    for metric in METRICS.values():
        assert metric.blind_to <= AXES.keys()
        assert all(axis in metric.about for axis in metric.blind_to)


def test_an_objective_that_is_blind_along_the_axis_judges_nothing(ledger: LedgerFixture) -> None:
    for scale, rate, values in ((1.0, 0.1, GOOD), (2.0, 0.2, BAD)):
        train_arm(ledger, {"noise_scale": scale, "learning_rate": rate}, values)
    question = Question.pair(("noise_scale",), *(arm.arm for arm in read_results(ledger.reader, "mine").arms))
    scores = StageScores(read_results(ledger.reader, "mine").arms)
    assert reply(question, scores, Asking(ERROR)).refused == f"objective: {ERROR} says nothing along noise_scale"


def test_images_made_again_are_judged_by_no_verdict_with_drawn_ones(ledger: LedgerFixture) -> None:
    data = DataConfig(digest="d" * 12, image_size=32, num_classes=4)
    again = trial_of_recipe(preset("autoencoder-tiny"), data=data, batch_size=48)
    for name, values in (("jit-tiny", BAD), ("autoencoder-tiny", GOOD)):
        for seed, value in enumerate(values):
            entry = planned(arm={"preset": name}, seed=seed)
            own = again.model_copy(update={"seed": seed}) if name == "autoencoder-tiny" else entry.trial
            ledger.train(entry.model_copy(update={"trial": own}), dict.fromkeys((FD, KID), value))
    arms = read_results(ledger.reader, "mine").arms
    question = Question.pair(("preset",), *(arm.arm for arm in arms))
    refused = reply(question, StageScores(arms), Asking(OBJECTIVE)).refused
    assert refused == "images: drawn from noise and held-out ones made again"


def test_more_questions_ask_more_of_each(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, [1.0, 1.1, 1.05])
    train_arm(ledger, V, [1.3, 1.25, 1.45])
    alone = only(ledger)
    train_arm(ledger, EPS, [1.1, 1.0, 1.25])
    among = found(ledger).planned
    assert alone.adjusted_p is not None
    assert [finding.question.label for finding in among] == ["prediction=v against x", "prediction=eps against x"]
    assert among[0].effect is not None
    assert among[0].adjusted_p == pytest.approx(2 * among[0].effect.p)


@pytest.mark.parametrize("how", ["diverged", "unfinished"])
def test_a_question_that_lost_an_arm_keeps_its_place_among_the_others(ledger: LedgerFixture, how: str) -> None:
    train_arm(ledger, X, [1.0, 1.1, 1.05])
    train_arm(ledger, V, [1.3, 1.25, 1.45])
    for seed in range(3):
        lost = planned(arm=EPS, seed=seed, position=6 + seed)
        ledger.plan(lost) if how == "unfinished" else ledger.diverge(lost, images=480)
    first, second = found(ledger).planned
    assert first.effect is not None
    assert first.adjusted_p == pytest.approx(2 * first.effect.p)
    assert (second.outcome, second.adjusted_p) == (Outcome.NOT_COMPARABLE, 1.0)
    assert second.reason == ("unfinished: 3 trials" if how == "unfinished" else "seeds: 0 shared, and a verdict needs 3")


def test_two_shared_seeds_decide_nothing(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, GOOD)
    train_arm(ledger, V, BAD[:2])
    assert only(ledger).verdict == "NOT COMPARABLE: seeds: 2 shared, and a verdict needs 3"
    assert only(ledger).adjusted_p is None


def test_only_seeds_that_both_arms_have_are_compared(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, [*GOOD, 50.0, 60.0])
    train_arm(ledger, V, BAD)
    effect = only(ledger).effect
    assert effect is not None
    assert (effect.test.n, len(effect.by_seed)) == (4, 4)


def test_arms_of_different_budgets_are_not_compared_and_the_field_is_named(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, GOOD)
    train_arm(ledger, V, BAD, images=1920)
    assert only(ledger).verdict == "NOT COMPARABLE: images: 1,920 and 960"


def test_an_arm_that_lost_a_seed_may_lose_and_never_wins(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, GOOD)
    train_arm(ledger, V, BAD)
    ledger.diverge(planned(arm=X, seed=4, position=9), images=480)
    finding = only(ledger)
    assert finding.outcome is Outcome.INCONCLUSIVE
    assert finding.reason == "of the survivors: prediction=x has 1 diverged of 5 seeds"
    assert finding.rates is not None
    assert [(rate.events, rate.of) for rate in finding.rates.arms] == [(0, 4), (1, 5)]


def test_an_arm_that_lost_to_a_whole_one_has_lost_for_good(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, GOOD)
    train_arm(ledger, V, BAD)
    missing = planned(arm=V, seed=4, position=9)
    ledger.plan(missing)
    ledger.writer.fail(missing.trial_id, ledger.begin(missing).number, cause=Cause.BUG, detail="why")
    assert (only(ledger).outcome, only(ledger).winner) == (Outcome.REAL, "prediction=x")


def test_a_collapsed_arm_may_lose_and_never_wins(ledger: LedgerFixture) -> None:
    collapse_arm(ledger, V, GOOD)
    train_arm(ledger, X, BAD)
    assert only(ledger).reason == "of the survivors: prediction=v has 4 collapsed of 4 seeds"


def test_between_two_arms_that_learned_nothing_there_is_no_verdict(ledger: LedgerFixture) -> None:
    collapse_arm(ledger, V, GOOD)
    collapse_arm(ledger, X, BAD)
    reason = "trivial: neither prediction=x nor prediction=v is better than blank images"
    assert only(ledger).verdict == f"NOT COMPARABLE: {reason}"


def test_arms_no_better_than_a_mark_learned_nothing_and_one_that_is_better_can_win(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, GOOD)
    train_arm(ledger, V, BAD)
    assert only(ledger, marks={KID: 0.9}).outcome is Outcome.NOT_COMPARABLE
    assert only(ledger, marks={KID: 1.5}).outcome is Outcome.REAL


def test_the_network_s_own_error_is_judged_while_its_samples_are_noise_which_cannot_contradict_it(
    ledger: LedgerFixture,
) -> None:
    train_arm(ledger, X, with_metrics(BAD, BAD, GOOD))
    train_arm(ledger, V, with_metrics(GOOD, GOOD, BAD))
    assert only(ledger, objective=ERROR, marks={KID: 0.9}).outcome is Outcome.REAL
    assert only(ledger, objective=ERROR, marks={KID: 1.5}).outcome is Outcome.CONFLICT
    assert only(ledger, objective=FD, marks={KID: 0.9}).outcome is Outcome.NOT_COMPARABLE


def test_arms_with_equal_scores_on_every_shared_seed_are_the_same_run(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, [1.0, 2.0])
    train_arm(ledger, V, [1.0, 2.0, 3.0])
    assert only(ledger).verdict == "SAME RUN: prediction changed nothing"
    assert found(ledger).same_runs


@pytest.mark.parametrize("other", [[1.0, 2.000001], [{FD: 1.0, KID: 1.0}, 2.0]])
def test_arms_that_differ_in_the_last_bit_or_in_which_scores_they_have_are_not(ledger: LedgerFixture, other: list[Any]) -> None:
    train_arm(ledger, X, [1.0, 2.0])
    train_arm(ledger, V, other)
    assert not found(ledger).same_runs


def test_what_is_asked_after_its_arms_were_scored_is_never_real(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, GOOD)
    train_arm(ledger, V, BAD)
    key, scored_at = only(ledger).question.key, ledger.clock.now
    planned_then, explored = found(ledger, asked_at={key: scored_at + 1})
    assert not planned_then
    assert [finding.outcome for finding in explored] == [Outcome.POST_HOC]
    assert only(ledger, asked_at={key: scored_at - 1}).outcome is Outcome.REAL


def test_pairs_that_were_not_planned_are_exploratory(ledger: LedgerFixture) -> None:
    for arm, values in ((X, GOOD), (V, BAD), (EPS, [9.0, 9.1, 9.2, 9.0])):
        train_arm(ledger, arm, values)
    asked, explored = found(ledger)
    assert [finding.outcome for finding in asked] == [Outcome.REAL] * 2
    assert [(each.question.label, each.outcome) for each in explored] == [("prediction=v against eps", Outcome.POST_HOC)]
    assert explored[0].adjusted_p is None


def crossed(ledger: LedgerFixture, *, small: Sequence[float], seeds: int = 4) -> None:
    """x and v at two patch sizes, equally good but for v at the large patch."""
    for patch, prediction in itertools.product((16, 8), ("x", "v")):
        values = [1.0, 1.02, 1.01, 0.99] if (patch, prediction) != (16, "v") else BAD
        values = list(small) if (patch, prediction) == (8, "v") else values
        train_arm(ledger, {"patch_size": patch, "prediction": prediction}, values[:seeds])


def test_an_interaction_is_the_difference_of_differences_and_part_of_the_family(ledger: LedgerFixture) -> None:
    crossed(ledger, small=[1.01, 1.0, 1.02, 1.0])
    at_16, at_8, interaction = found(ledger).planned
    assert interaction.question.label == "prediction=v against x, patch_size=8 against 16"
    assert all(finding.effect is not None for finding in (at_16, at_8, interaction))
    assert interaction.effect is not None
    assert at_16.effect is not None
    assert at_8.effect is not None
    assert interaction.effect.estimate == pytest.approx(at_8.effect.estimate - at_16.effect.estimate)
    assert [each.outcome for each in (at_16, interaction)] == [Outcome.REAL, Outcome.REAL]
    assert at_8.outcome is not Outcome.REAL


def test_what_the_file_plans_replaces_the_default(ledger: LedgerFixture) -> None:
    crossed(ledger, small=GOOD)
    grid = Grid.model_validate(
        {
            "axes": {"patch_size": [16, 8], "prediction": ["x", "v"]},
            "contrasts": [{"axis": "prediction", "where": {"patch_size": 16}, "against": "v"}],
        }
    )
    asked, explored = found(ledger, designs={0: grid})
    assert [finding.question.label for finding in asked] == ["patch_size=16: prediction=x against v"]
    assert [finding.question.label for finding in explored] == ["patch_size=8: prediction=x against v"]


def test_the_marks_are_the_best_kernel_distances_of_images_that_no_model_made() -> None:
    rows = {"white images": {KID: 1.9, FD: 1608.0}, "the mean image": {KID: 8.2, FD: 2240.0}}
    assert marks_of(HeldoutRow(data_digest="d", n=384, values={}, rows=rows)) == {KID: 1.9}
    assert marks_of(None) == {}


def test_questions_that_are_tested_together_get_the_p_of_each_alone(ledger: LedgerFixture) -> None:
    for rate, seeds in ((0.001, 4), (0.002, 4), (0.003, 3), (0.004, 5)):
        for sign, prediction in ((1, "x"), (2, "v")):
            values = [sign + 0.1 * seed + 100 * rate * seed**sign for seed in range(seeds)]
            train_arm(ledger, {"learning_rate": rate, "prediction": prediction}, values)
    planned = found(ledger).planned
    own = [each.effect.p if each.effect and each.outcome is not Outcome.NOT_COMPARABLE else math.nan for each in planned]
    assert len({each.question.kind for each in planned}) == 2
    assert [each.adjusted_p for each in planned] == pytest.approx(holm(own).tolist(), rel=1e-9)


def test_a_stage_at_equal_flops_is_judged_by_them_and_asks_questions_of_its_own(ledger: LedgerFixture) -> None:
    """The deeper arm has fewer images there, which is what the stage is for; other rates, so that no trial is had twice."""
    shallow, deep = (training_flops(trial(depth=depth), images=9600) for depth in (2, 4))
    for stage, rate, images in ((0, 0.1, 9600), (1, 0.2, round(9600 * shallow / deep / 48) * 48)):
        train_arm(ledger, {"depth": 2, "learning_rate": rate}, GOOD, stage=stage, images=9600)
        train_arm(ledger, {"depth": 4, "learning_rate": rate}, BAD, stage=stage, images=images)
    unsaid = found(ledger).planned
    assert [each.outcome for each in unsaid] == [Outcome.REAL, Outcome.NOT_COMPARABLE]
    assert unsaid[1].reason.startswith("images: ")
    said = found(ledger, matched_in={0: "images", 1: "flops"}).planned
    assert [(each.question.label, each.outcome) for each in said] == [
        ("learning_rate=0.1: depth=4 against 2, at equal images", Outcome.REAL),
        ("learning_rate=0.2: depth=4 against 2, at equal FLOPs", Outcome.REAL),
    ]
    assert said[0].question.key == unsaid[0].question.key, "it was asked already where nothing else could be meant"
    assert said[1].question.key != unsaid[1].question.key
