"""A stage whose classifier guides the samples of the next one, played over the real ledger."""

from pathlib import Path
from typing import Any

import pytest

from jit_sweep.ledger.records import EntryRow, SweepState
from jit_sweep.models.candidate import candidate_of
from jit_sweep.models.retention import needs_of
from jit_sweep.models.retraining import check_same, retraining
from jit_sweep.plan.plan import plan
from jit_sweep.results.findings import Outcome
from jit_sweep.results.leaderboard import read_results
from jit_sweep.spec.sweep import SweepSpec
from tests.support.played import PlayedHome, drawn
from tests.support.sweep_files import tiny_sweep
from trainables.config.evaluation import GuidingClassifier

CHANGES = {
    "free": {"guidance": 2.0},
    "classifier": {"classifier": "finder"},
    "strong": {"classifier": "finder", "classifier_scale": 4},
}


def score(row: EntryRow, metric: str) -> float:
    """Guided by a classifier is best, the more so the stronger."""
    level = 3.0 / row.evaluation.classifier_scale if row.evaluation.guide is not None else 4.0
    return level * (1 + 0.01 * drawn(f"{row.trial_id} {row.evaluation_id}", metric, 0))


def guided(**given: Any) -> dict[str, Any]:
    finder = {"name": "finder", "grid": {"axes": {"preset": ["classifier-tiny"], "batch_size": [8]}}}
    stages = [finder, {"ablation": {"kind": "one_at_a_time", "changes": CHANGES, "seeds": 3}}]
    baseline = {**tiny_sweep()["baseline"], "diffusion": {"label_drop": 0.5}}
    return tiny_sweep(**{"stages": stages, "baseline": baseline, **given})


@pytest.fixture
def home(tmp_path: Path) -> PlayedHome:
    found = PlayedHome(tmp_path, score=score)
    assert found.run(guided(retention={"best": 1})) is SweepState.DONE
    return found


def finder_of(home: PlayedHome) -> GuidingClassifier:
    [row] = [row for row in home.rows() if not row.trial.draws]
    return GuidingClassifier(trial=row.trial_id, images=row.images)


def test_the_classifier_is_trained_first_and_arms_that_it_guides_share_their_training(home: PlayedHome) -> None:
    order = [trial for trial, _ in dict.fromkeys(home.trained)]
    assert order[0] == finder_of(home).trial
    rows = [row for row in home.rows() if row.trial.draws]
    assert (len(rows), len({row.trial_id for row in rows})) == (12, 3)
    assert len(home.trained) == len({*home.trained})
    assert {row.evaluation.guide for row in rows} == {None, finder_of(home)}


def test_each_way_of_guiding_has_scores_and_a_verdict_of_its_own(home: PlayedHome) -> None:
    results = read_results(home.reader, home.name)
    found = {each.question.name: each for each in results.findings.planned}
    assert {*found} == {*CHANGES}
    assert found["strong"].outcome is Outcome.REAL
    assert [arm.scored for arm in results.arms] == [3, 3, 3, 3, 1]
    assert results.arms[0].arm["classifier_scale"] == 4


def test_the_checkpoint_that_guides_is_kept_however_few_a_sweep_keeps(home: PlayedHome) -> None:
    needs = needs_of(home.reader, (), ended=frozenset({home.name}))
    named = finder_of(home)
    assert named.images in needs[named.trial]
    assert len(needs) == 2


def test_a_winner_that_is_guided_is_trained_again_under_the_same_classifier(home: PlayedHome) -> None:
    candidate = candidate_of(read_results(home.reader, home.name))
    assert candidate.values == {"classifier": "finder", "classifier_scale": 4}
    spec = SweepSpec.model_validate(home.reader.sweep(home.name).spec)
    again = plan(retraining(spec, candidate, seeds=(1000, 1001, 1002), judged_by=spec, noise=1), source="a test")
    check_same(again, candidate)
    assert {(entry.evaluation.guide, entry.evaluation.classifier_scale) for entry in again.entries} == {(finder_of(home), 4.0)}


def test_a_winner_of_a_sweep_that_is_guided_as_a_whole_is_trained_again_so(tmp_path: Path) -> None:
    home = PlayedHome(tmp_path, score=score)
    stages = [guided()["stages"][0], {"grid": {"axes": {"prediction": ["x", "v"]}, "seeds": 3}}]
    evaluation = {**tiny_sweep()["evaluation"], "classifier": {"stage": "finder"}}
    home.run(guided(stages=stages, evaluation=evaluation))
    candidate = candidate_of(read_results(home.reader, home.name))
    spec = SweepSpec.model_validate(home.reader.sweep(home.name).spec)
    again = plan(retraining(spec, candidate, seeds=(1000, 1001), judged_by=spec, noise=1), source="a test")
    check_same(again, candidate)
    assert {entry.evaluation.guide for entry in again.entries} == {finder_of(home)}
