"""Two sweeps, arms or trials beside each other."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from jit_sweep.cli.compare import compare, print_comparison
from jit_sweep.cli.output import console
from jit_sweep.errors import UserError
from jit_sweep.ledger.records import SweepState
from jit_sweep.plan.foundations import built_on
from jit_sweep.results.compare import read_comparison
from jit_sweep.results.findings import Outcome
from jit_sweep.results.leaderboard import read_results
from tests.support.ledger import FACTS, LedgerFixture, planned
from tests.support.played import PlayedHome, drawn
from tests.support.scored_arms import ERROR, FD, KID, train_arm
from tests.support.sweep_files import tiny_sweep

X, V = {"prediction": "x"}, {"prediction": "v"}
SCORES = {"x": (1000.0, 1010.0, 1021.0, 1029.0), "v": (1300.0, 1315.0, 1322.0, 1341.0)}


@pytest.fixture
def ledger(ledger: LedgerFixture) -> LedgerFixture:
    """Two arms of four seeds."""
    for prediction, values in SCORES.items():
        train_arm(ledger, {"prediction": prediction}, values)
    return ledger


def another(ledger: LedgerFixture, name: str = "other", **facts: Any) -> LedgerFixture:
    """A second sweep in the same ledger."""
    return LedgerFixture(ledger.engine, name, facts={**FACTS, **facts})


def test_two_arms_have_the_numbers_and_the_verdict_of_the_question_that_asks_of_them(ledger: LedgerFixture) -> None:
    (asked,) = read_results(ledger.reader, "mine").findings.planned
    found = read_comparison(ledger.reader, "mine:prediction=x", "mine:prediction=v")
    assert [change.path for change in found.configuration] == ["diffusion.prediction"]
    (finding,) = found.findings
    assert asked.effect
    assert finding.effect
    assert abs(finding.effect.estimate) == pytest.approx(abs(asked.effect.estimate))
    assert (finding.outcome, finding.reason, finding.adjusted_p) == (asked.outcome, asked.reason, asked.adjusted_p)
    assert finding.winner == "prediction=x"
    rows = {row.metric: row for row in found.rows}
    assert rows.keys() == {FD, KID, ERROR}
    mean = rows[FD].first
    assert mean is not None
    assert mean.mean == 1015.0
    turned = read_comparison(ledger.reader, "mine:prediction=v", "mine:prediction=x")
    assert turned.findings[0].effect is not None
    assert turned.findings[0].effect.estimate == pytest.approx(-finding.effect.estimate)


def test_arms_of_other_budgets_are_refused_by_field_and_have_no_effect(ledger: LedgerFixture) -> None:
    train_arm(ledger, {**V, "patch_size": 8}, SCORES["v"], images=480)
    found = read_comparison(ledger.reader, "mine:prediction=x", "mine:patch_size=8")
    assert found.is_refused
    assert found.findings[0].verdict == "NOT COMPARABLE: images: 960 and 480"
    assert {row.effect for row in found.rows} == {None}
    assert "images" in [change.path for change in found.configuration]


def test_two_sweeps_are_compared_arm_by_arm_after_the_fact(ledger: LedgerFixture) -> None:
    other = another(ledger)
    train_arm(other, {**X, "learning_rate": 1e-3}, (1.0, 1.0, 1.0))
    train_arm(other, X, [value * 1.1 for value in SCORES["x"]], n=65)
    found = read_comparison(ledger.reader, "mine", "other")
    assert [row.label for row in found.rows] == ["prediction=x"]
    assert found.rows[0].effect is None  # another n: scores of fewer images are larger
    assert found.findings[0].reason == "evaluation.n: 64 and 65"
    assert (found.only_first, found.only_second) == (("prediction=v",), ("prediction=x learning_rate=0.001",))
    assert found.is_refused


def test_a_comparison_that_nobody_planned_is_no_evidence(ledger: LedgerFixture) -> None:
    other = another(ledger)
    train_arm(other, {**V, "learning_rate": 1e-3}, [value * 1.1 for value in SCORES["v"]])
    (finding,) = read_comparison(ledger.reader, "mine:prediction=v", "other:learning_rate=1e-3").findings
    assert finding.question.label == "prediction=v: learning_rate=none against 0.001, sweep=mine against other"
    assert finding.outcome is Outcome.POST_HOC
    assert finding.effect is not None
    assert finding.effect.interval.high < 0


def test_trials_that_two_sweeps_share_are_one_run(ledger: LedgerFixture) -> None:
    other = another(ledger)
    other.plan(*(planned(arm=V, seed=seed) for seed in range(4)))
    (finding,) = read_comparison(ledger.reader, "mine:prediction=v", "other:prediction=v").findings
    assert finding.outcome is Outcome.SAME_RUN


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"data": {"digest": "e" * 12, "flip": True}}, f"data.digest: {'d' * 12} and {'e' * 12}"),
        ({"objective": KID}, f"objective: {FD} and {KID}"),
        ({"evaluation": {"n": 128, "steps": 10, "labels": "proportional"}}, "evaluation.n: 64 and 128"),
    ],
)
def test_sweeps_of_other_images_or_scores_are_refused_by_field(
    ledger: LedgerFixture, capsys: pytest.CaptureFixture[str], facts: dict[str, Any], said: str
) -> None:
    another(ledger, **facts)
    address = ledger.engine.url.render_as_string()
    assert compare("mine", "other", address, as_json=False) == 1
    assert f"results do not compare: {said}" in capsys.readouterr().out
    assert compare("mine", "other", address, as_json=True) == 1
    assert json.loads(capsys.readouterr().out)["refused"] == said


def test_two_trials_have_bare_differences_and_say_that_they_may_be_luck(
    ledger: LedgerFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [read_results(ledger.reader, "mine").arms[arm].trials[0].entry.trial_id for arm in (0, 1)]
    found = read_comparison(ledger.reader, f"mine:{ids[0]}", f"mine:{ids[1][:8]}")
    print_comparison(found, console())
    shown = capsys.readouterr().out
    assert "one seed each: what differs may be luck" in shown
    assert re.search(rf"{FD} +1000 +1300 +-23.1 %", shown)
    assert found.findings == ()


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("mine", "mine:prediction=x", "got sweep 'mine' and arm 'mine: prediction=x'; name two of a kind"),
        ("mine", "mine", "got 'mine' twice"),
        ("mine:patch_size=8", "mine:prediction=x", "which fits none of those of 'mine'; there are prediction=x; prediction=v"),
        ("mine:predictoin=x", "mine", "did you mean 'prediction'"),
        ("mine:zz", "mine", "`SWEEP:TRIAL` must name a trial"),
        ("mina", "mine", "did you mean 'mine'"),
    ],
)
def test_a_name_that_means_no_one_thing_is_told_by_rule_and_remedy(
    ledger: LedgerFixture, first: str, second: str, said: str
) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        read_comparison(ledger.reader, first, second)


CODES = {"preset": ["autoencoder-tiny"], "code": ["kl", "vq"]}
FINDER = {"preset": ["classifier-tiny"]}
PAIR = {"prediction": ["x", "v"]}


def built(name: str, first: dict[str, Any], axis: str, value: str, *, batch_size: int = 8, **given: Any) -> dict[str, Any]:
    """A sweep whose second stage builds on its first."""
    stages = [
        {"name": "first", "grid": {"axes": {**first, "batch_size": [batch_size]}, "seeds": [3]}},
        {"name": "then", "grid": {"axes": {axis: [value], "learning_rate": [1e-3]}, "seeds": 3}},
    ]
    baseline = {**tiny_sweep()["baseline"], "preset": "jit-tiny/2" if axis == "encoder" else "jit-tiny"}
    return tiny_sweep(**{"name": name, "stages": stages, "baseline": baseline, **given})


@pytest.mark.parametrize(
    ("first", "axis", "value", "said"),
    [
        (CODES, "encoder", "first best", "encoder first best"),
        (CODES, "encoder", "first code=kl", "encoder first code=kl"),
        (PAIR, "parent", "first prediction=x", "parent first prediction=x"),
        (FINDER, "classifier", "first", "classifier first"),
    ],
)
def test_arms_that_build_on_other_trials_by_the_same_words_do_not_compare(
    tmp_path: Path, first: dict[str, Any], axis: str, value: str, said: str
) -> None:
    home = PlayedHome(tmp_path, score=lambda row, metric: drawn(f"{row.trial_id} {row.evaluation_id}", metric, 0))
    for name, batch_size in (("one", 8), ("same", 8), ("other", 16)):
        assert home.run(built(name, first, axis, value, batch_size=batch_size)) is SweepState.DONE
    same, other = (read_comparison(home.reader, "one", name) for name in ("same", "other"))
    of = {name: next(arm for arm in read_results(home.reader, name).arms if arm.stage == 1) for name in ("one", "other")}
    one, two = (
        next(each[1:] for each in built_on(arm.trials[0].entry.trial, arm.trials[0].entry.evaluation)) for arm in of.values()
    )
    assert one != two
    [finding] = [each for each in other.findings if all(arm.stage == 1 for arm in each.arms)]
    assert finding.verdict == f"NOT COMPARABLE: {said}: {one[0]} at {one[1]} images and {two[0]} at {two[1]} images"
    assert finding.effect is None
    assert {each.outcome for each in same.findings} == {Outcome.SAME_RUN}


def test_a_baseline_that_names_a_stage_is_told_by_the_trial_that_it_means_too(tmp_path: Path) -> None:
    home, child = PlayedHome(tmp_path), {"grid": {"axes": {"learning_rate": [1e-3]}, "seeds": 3}}
    for name, batch_size in (("one", 8), ("other", 16)):
        first = {"name": "first", "grid": {"axes": {"parent": [None], "batch_size": [batch_size]}}}
        baseline = {**tiny_sweep()["baseline"], "parent": {"stage": "first"}}
        assert home.run(tiny_sweep(name=name, stages=[first, child], baseline=baseline)) is SweepState.DONE
    [finding] = read_comparison(home.reader, "one", "other").findings
    assert finding.verdict.startswith("NOT COMPARABLE: parent first: ")
