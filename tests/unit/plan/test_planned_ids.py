"""What was planned before keeps its identity: ids, keys and fingerprints as commit ce5615d planned them."""

import json
from typing import Any

import pytest

from jit_sweep.plan.plan import plan
from jit_sweep.spec.read import read_spec
from jit_sweep.spec.sweep import SweepSpec
from tests.support.paths import GOLDEN

RECORDED: dict[str, dict[str, Any]] = json.loads((GOLDEN / "planned_ids.json").read_text())


@pytest.mark.parametrize("name", RECORDED)
def test_a_sweep_that_was_planned_before_keeps_every_id(name: str) -> None:
    recorded = RECORDED[name]
    sweep = recorded["sweep"]
    spec = read_spec(sweep) if isinstance(sweep, str) else SweepSpec.model_validate(sweep)
    planned = plan(spec, source="golden")
    assert planned.fingerprint == recorded["fingerprint"]
    expected = [[_without_stage(key), seed, racer] for key, seed, racer in recorded["entries"]]
    assert [[_without_stage(entry.key), entry.seed, entry.racer] for entry in planned.entries] == expected


def _without_stage(key: str) -> str:
    """Trial, evaluation and images: what a stage is known by was its place."""
    return key.partition(":")[2]
