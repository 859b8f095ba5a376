"""One report of several sweeps."""

from pathlib import Path
from typing import Any

import pytest

from jit_sweep.errors import UserError
from jit_sweep.report.contents import Report
from jit_sweep.report.joint import read_reports
from jit_sweep.report.markdown import markdown
from jit_sweep.report.page.render import page
from jit_sweep.report.table_set import tables_of
from tests.support.ledger import FACTS, LedgerFixture, ended, planned, scored
from trainables.report import Rung

FD, KID, ERROR = "fd_efflite0_96", "kid_efflite0_96", "heldout_v_error"
X, V = {"prediction": "x"}, {"prediction": "v"}


def train(ledger: LedgerFixture, cell: dict[str, Any], *, seeds: int, score: float) -> None:
    """An arm whose held-out error falls to a ten-thousandth of its score."""
    for seed in range(seeds):
        entry = planned(arm=cell, seed=seed, position=len(ledger.reader.entries(ledger.name)))
        ledger.plan(entry)
        rungs = [Rung(images=images, values={ERROR: score / part}) for images, part in ((480, 5000), (960, 10000))]
        values = {FD: score + seed, KID: score / 1000, ERROR: score / 10000}
        ledger.tell(ledger.begin(entry), *rungs, scored(entry, values), ended(entry))


@pytest.fixture
def other(ledger: LedgerFixture) -> LedgerFixture:
    """A second sweep of the same images and evaluation, with an arm that the first one lacks."""
    train(ledger, X, seeds=3, score=1000)
    train(ledger, V, seeds=3, score=2000)
    second = LedgerFixture(ledger.engine, name="other")
    train(second, {"prediction": "x", "learning_rate": 3e-3}, seeds=3, score=900)
    train(second, {"prediction": "v", "learning_rate": 3e-3}, seeds=3, score=1800)
    return second


@pytest.fixture
def both(ledger: LedgerFixture, other: LedgerFixture) -> Report:
    return read_reports(ledger.reader, [ledger.name, other.name])


def test_the_arms_of_all_sweeps_stand_in_one_table_with_their_sweep_as_an_axis(both: Report) -> None:
    assert both.sweep.name == "mine + other"
    assert [(arm.arm["sweep"], arm.arm["prediction"]) for arm in both.results.arms] == [
        ("other", "x"),
        ("mine", "x"),
        ("other", "v"),
        ("mine", "v"),
    ]
    assert both.answer.best.startswith("The best arm, sweep=other prediction=x learning_rate=0.003, has")
    assert len(both.entries) == 12
    assert both.costs.total.attempts == 0
    assert both.costs.total.seconds == pytest.approx(sum(cost.seconds for cost in both.costs.by_outcome.values()))


def test_each_sweep_answers_its_own_questions_and_says_whose_they_are(both: Report) -> None:
    assert {card.question.partition(":")[0] for card in both.cards} == {"mine", "other"}
    labels = {arm.label for arm in both.results.arms}
    assert all({*card.arms} <= labels for card in both.cards)
    assert "mine: " in both.answer.found


def test_curves_and_time_to_quality_have_one_goal(both: Report) -> None:
    labels = {arm.label for arm in both.results.arms}
    assert {curve.label for curve in both.curves} == labels
    assert {row.label for row in both.quality} == labels
    assert len({row.goal for row in both.quality}) == 1


def test_a_sweep_whose_trials_stand_in_another_is_shown_once(ledger: LedgerFixture, other: LedgerFixture) -> None:
    third = LedgerFixture(ledger.engine, name="third")
    third.plan(*(planned(arm=X, seed=seed, position=seed) for seed in range(3)))
    arms = read_reports(ledger.reader, [ledger.name, "third"]).results.arms
    assert [arm.arm["sweep"] for arm in arms if arm.arm["prediction"] == "x"] == ["mine"]
    assert other.name not in {arm.arm["sweep"] for arm in arms}


def test_page_and_markdown_name_both_files(both: Report) -> None:
    text = page(both, [])
    assert "<h1>mine + other</h1>" in text
    assert "save each file below as <code>mine.yaml</code>, <code>other.yaml</code> and run" in text
    assert "sweep=other prediction=x" in markdown(both)
    assert len(tables_of(both).arms.rows) >= len(both.results.arms)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"data": {"digest": "e" * 12, "flip": True}}, "data.digest"),
        ({"evaluation": {"n": 8, "steps": 10, "labels": "proportional"}}, "evaluation.n"),
        ({"objective": ERROR}, "objective"),
    ],
)
def test_sweeps_that_do_not_compare_are_refused_by_the_field(
    ledger: LedgerFixture, changed: dict[str, Any], named: str
) -> None:
    LedgerFixture(ledger.engine, name="unlike", facts={**FACTS, **changed})
    with pytest.raises(UserError, match=rf"must share `{named}`, got .* of mine and .* of unlike; report them one by one"):
        read_reports(ledger.reader, [ledger.name, "unlike"])


def test_a_sweep_named_twice_is_refused(ledger: LedgerFixture, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must differ, got mine twice"):
        read_reports(ledger.reader, ["mine", "mine"])
