"""What is said beside results: arms that are better than real images, verdicts that rest on the clamp, features that count."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from jit_sweep.ledger.records import HeldoutRow
from jit_sweep.report.answer import summary
from jit_sweep.results.as_json import contents
from jit_sweep.results.clamped import clamp_note, without_clamp
from jit_sweep.results.leaderboard import Results, marks_of, read_results
from jit_sweep.results.memorised import better_than_real
from tests.support.ledger import LedgerFixture, planned, scored
from tests.support.scored_arms import ERROR, FD, KID, train_arm
from trainables.config.evaluation import EvaluationConfig
from trainables.config.features import InceptionFeatures
from trainables.evaluation.metrics.jackknife import standard_error
from trainables.evaluation.metrics.registry import ScoreKinds, table_metrics, verdict_metrics

X, V = {"prediction": "x"}, {"prediction": "v"}
GOOD, BAD = [1.0, 1.01, 1.02, 1.01], [2.0, 2.05, 2.02, 2.01]
EVERY = dict.fromkeys((FD, KID, ERROR), 1.0)


def real(**values: float) -> HeldoutRow:
    return HeldoutRow(data_digest="d" * 12, n=64, values=values, rows={})


def of_arms(ledger: LedgerFixture) -> Results:
    return read_results(ledger.reader, "mine")


def test_an_arm_better_than_real_images_is_warned_of_and_one_within_its_error_is_not(ledger: LedgerFixture) -> None:
    entry = planned(arm=X)
    ledger.plan(entry)
    parts = [100.0 + (8 if group % 2 else -8) / 15 for group in range(16)]
    assert standard_error(parts) == pytest.approx(2.07, abs=0.01)
    ledger.tell(ledger.begin(entry), scored(entry, {**EVERY, FD: 100.0}, without_each={FD: parts}))
    arms = of_arms(ledger).arms
    (found,) = better_than_real(arms, real(**{FD: 103.0}), objective=FD)
    scores = "fd_efflite0_96 100, real held-out images 103"
    assert str(found) == f"prediction=x is better than new images can be ({scores}): it may repeat training images"
    assert better_than_real(arms, real(**{FD: 102.0}), objective=FD) == []
    assert better_than_real(arms, real(**{KID: 1.5}), objective=FD)[0].metric == KID
    assert better_than_real(arms, None, objective=FD) == []


def test_the_warning_stands_in_the_answer_and_in_the_json(ledger: LedgerFixture) -> None:
    train_arm(ledger, X, GOOD)
    results = replace(of_arms(ledger), heldout=real(**{FD: 5.0}))
    said = summary([], results, open_trials=0).best
    assert "real held-out images score 5" in said
    assert said.endswith("Warning: " + str(results.better_than_real[0]) + ".")
    assert contents(results, ())["better_than_real"][0]["label"] == "prediction=x"


def clamped(ledger: LedgerFixture, arm: dict[str, Any], values: Sequence[float], *, steps: int, t_eps: float) -> None:
    evaluation = EvaluationConfig(n=64, steps=steps, sampler="heun", t_eps_sample=t_eps)
    for seed, value in enumerate(values):
        entry = planned(arm={**arm, "t_eps_sample": t_eps}, seed=seed, position=len(ledger.reader.entries("mine")))
        ledger.train(entry.model_copy(update={"evaluation": evaluation}), dict.fromkeys(EVERY, value))


def notes(ledger: LedgerFixture) -> dict[str, str]:
    found = of_arms(ledger).findings
    unclamped = without_clamp(found)
    return {each.question.label: clamp_note(each, unclamped) for each in found.planned if each.question.axes == ("prediction",)}


def test_a_verdict_along_prediction_says_that_the_clamp_moves_samples_where_it_was_never_off(
    ledger: LedgerFixture,
) -> None:
    clamped(ledger, X, GOOD, steps=50, t_eps=0.05)
    clamped(ledger, V, BAD, steps=50, t_eps=0.05)
    (note,) = notes(ledger).values()
    moved, remedy = note.split("; ")
    assert moved == "the clamp of sampling alone sets exact networks' samples 2.0 % apart in their deviation"
    assert remedy == "`t_eps_sample: [0.05, 0]` among the axes says whether the verdict rests on it"


def test_few_steps_never_reach_the_clamp_and_nothing_is_said(ledger: LedgerFixture) -> None:
    clamped(ledger, X, GOOD, steps=16, t_eps=0.05)
    clamped(ledger, V, BAD, steps=16, t_eps=0.05)
    assert [*notes(ledger).values()] == [""]


@pytest.mark.parametrize(
    ("off", "said"),
    [
        (BAD, "the same with the clamp of sampling off (t_eps_sample=0.0: prediction="),
        ([1.03, 0.99, 1.01, 1.02], "the verdict rests on the clamp: it is another one with the clamp of sampling off (t_eps"),
    ],
    ids=["stands", "falls"],
)
def test_a_verdict_is_held_against_the_one_with_the_clamp_off(ledger: LedgerFixture, off: Sequence[float], said: str) -> None:
    clamped(ledger, X, GOOD, steps=50, t_eps=0.05)
    clamped(ledger, V, BAD, steps=50, t_eps=0.05)
    clamped(ledger, X, GOOD, steps=50, t_eps=0.0)
    clamped(ledger, V, off, steps=50, t_eps=0.0)
    (note,) = notes(ledger).values()
    assert note.startswith(said)


def test_an_objective_of_no_images_is_judged_with_the_metrics_of_the_sweeps_own_features(ledger: LedgerFixture) -> None:
    assert verdict_metrics(ERROR) == [FD, KID, ERROR]
    assert verdict_metrics(ERROR, ScoreKinds("inception")) == ["fid", "kid", ERROR]
    assert "fid" in table_metrics(ERROR, ScoreKinds("inception"))
    features = EvaluationConfig(n=64, features=InceptionFeatures(weights="weights.pth"))
    entry = planned(arm=X).model_copy(update={"evaluation": features})
    ledger.train(entry, {"fid": 1.0, "kid": 1.0, ERROR: 1.0})
    assert of_arms(ledger).scored.extractor == "inception"


def test_what_is_no_better_than_white_paper_is_seen_on_every_network() -> None:
    rows = {"white images": {"fid": 1608.0, "kid": 1.9}, "the mean image": {"kid": 2.5, "kid_efflite0_96": 3.0}}
    assert marks_of(HeldoutRow("d", 64, {}, rows)) == {"kid": 1.9, "kid_efflite0_96": 3.0}
