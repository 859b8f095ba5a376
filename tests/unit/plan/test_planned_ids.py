"""What was planned before keeps its identity: ids, keys and fingerprints as commit ce5615d planned them."""

import json
from typing import Any

import pytest

from jit_sweep.plan.plan import plan
from jit_sweep.spec.sweep import SweepSpec
from tests.support.paths import GOLDEN
from tests.support.sweep_files import tiny_sweep
from trainables.config.trial import id_by_seed

LABELS: tuple[dict[str, str], ...] = ({"labels": "drawn"}, {})
RECORDED: dict[str, dict[str, Any]] = json.loads((GOLDEN / "planned_ids.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", RECORDED)
def test_a_sweep_that_was_planned_before_keeps_every_id(name: str) -> None:
    recorded = RECORDED[name]
    spec = SweepSpec.model_validate(recorded["sweep"])
    spec = spec.model_copy(update={"evaluation": spec.evaluation.model_copy(update={"labels": "drawn"})})
    planned = plan(spec, source="golden")
    assert planned.fingerprint == recorded["fingerprint"]
    expected = [[_without_stage(key), seed, racer] for key, seed, racer in recorded["entries"]]
    assert [[_without_stage(entry.key), entry.seed, entry.racer] for entry in planned.entries] == expected


def _without_stage(key: str) -> str:
    """Trial, evaluation and images: what a stage is known by was its place."""
    return key.partition(":")[2]


def test_exact_labels_are_another_evaluation_of_the_same_trials() -> None:
    """So that scores of drawn labels and of exact ones never stand in one table."""
    drawn, exact = (plan(SweepSpec.model_validate(tiny_sweep(evaluation={"n": 8, **labels})), source="") for labels in LABELS)
    assert [entry.trial_id for entry in drawn.entries] == [entry.trial_id for entry in exact.entries]
    assert {entry.evaluation.id for entry in drawn.entries}.isdisjoint(entry.evaluation.id for entry in exact.entries)
    assert drawn.fingerprint != exact.fingerprint
    assert "labels" not in drawn.identity["evaluation"]


def test_an_id_that_is_made_for_another_seed_is_that_trials_own() -> None:
    entry = plan(SweepSpec.model_validate(tiny_sweep()), source="").entries[0]
    id_of = id_by_seed(entry.trial)
    assert [id_of(seed) for seed in (0, 7)] == [entry.with_seed(seed, position=0).trial_id for seed in (0, 7)]
    assert id_of(0) != id_of(7)
