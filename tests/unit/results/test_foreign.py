"""Verdicts on runs that somebody else has trained: the paired t test, and what keeps runs from being compared."""

from dataclasses import replace

import pytest
from scipy.stats import ttest_rel

from jit_sweep.errors import UserError
from jit_sweep.results.findings import Outcome
from jit_sweep.results.foreign import ForeignComparison, ForeignRun, judge

HOW = ForeignComparison(("optimizer",), "seed", "loss")
ADAM = [1.00, 1.10, 1.05, 1.20, 1.12]
LION = [0.80, 0.93, 0.84, 1.01, 0.92]


def runs(optimizer: str, values: list[float], **columns: str) -> list[ForeignRun]:
    return [
        ForeignRun(f"{optimizer}{seed}", {"optimizer": optimizer, "seed": str(seed), **columns}, {"loss": value})
        for seed, value in enumerate(values)
    ]


def test_two_arms_are_compared_by_the_paired_t_test() -> None:
    [found] = judge(runs("adam", ADAM) + runs("lion", LION), HOW).findings
    assert found.test is not None
    assert found.adjusted_p == pytest.approx(ttest_rel(LION, ADAM).pvalue)
    assert (found.outcome, found.reason, found.test.n) == (Outcome.REAL, "optimizer=lion is better", 5)
    [other] = judge(runs("adam", ADAM) + runs("lion", LION), replace(HOW, maximize=True)).findings
    assert other.reason == "optimizer=adam is better"


def test_ratios_are_told_in_percent() -> None:
    [found] = judge(runs("adam", ADAM) + runs("lion", [0.5 * v for v in ADAM]), replace(HOW, scale="log")).findings
    assert found.effect == "-50.0 % [-50.0, -50.0]"


def test_what_differs_beside_the_arm_is_named_and_the_batch_size_first() -> None:
    found = judge(runs("adam", ADAM, batch_size="32", amp="no") + runs("lion", LION, batch_size="64", amp="yes"), HOW)
    assert found.findings[0].verdict.startswith("NOT COMPARABLE: batch_size: 64 and 32")
    assert found.findings[0].adjusted_p == 1


def test_what_every_run_has_for_itself_and_what_follows_the_seed_is_no_confound() -> None:
    made = [
        replace(run, columns={**run.columns, "folder": f"/out/{index}", "data_order": run.columns["seed"]})
        for index, run in enumerate(runs("adam", ADAM) + runs("lion", LION))
    ]
    found = judge(made, HOW)
    assert found.findings[0].outcome is Outcome.REAL
    assert found.remarks == ("different in every run, and not looked at: folder",)


def test_an_arm_that_wins_by_its_lost_runs_does_not_win() -> None:
    lion = runs("lion", LION)
    lion[4] = replace(lion[4], scores={})
    found = judge(runs("adam", ADAM) + lion, HOW)
    assert found.findings[0].verdict == "INCONCLUSIVE: of the survivors: optimizer=lion lost 1 of 5 runs"
    assert "ended without loss: 1 of 5 of optimizer=lion" in found.remarks


@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        (runs("lion", LION[:2]), "NOT COMPARABLE: seeds: 2 shared, and a verdict needs 3"),
        (runs("lion", ADAM), "SAME RUN: optimizer changed nothing"),
        ([replace(run, ended=False) for run in runs("lion", LION)], "NOT COMPARABLE: unfinished: 5 runs"),
    ],
)
def test_what_cannot_be_judged_is_said(more: list[ForeignRun], verdict: str) -> None:
    assert judge(runs("adam", ADAM) + more, HOW).findings[0].verdict == verdict


def test_questions_are_corrected_together_and_a_refused_one_keeps_its_place() -> None:
    three = runs("adam", ADAM) + runs("lion", LION) + runs("sgd", LION[:2])
    alone, beside = (judge(of, HOW).findings[0] for of in (three[:10], three))
    assert alone.test is not None
    assert beside.test is not None
    assert beside.adjusted_p == pytest.approx(2 * float(beside.test.p))


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (replace(HOW, arm=("optimiser",)), "did you mean 'optimizer'"),
        (replace(HOW, metric="los"), "did you mean 'loss'"),
        (replace(HOW, arm=("batch",)), "there are optimizer, seed"),
    ],
)
def test_a_column_that_is_not_there_is_refused_with_the_nearest(how: ForeignComparison, told: str) -> None:
    with pytest.raises(UserError, match=told):
        judge(runs("adam", ADAM) + runs("lion", LION), how)
