"""The file that a report prints makes the ledger's trials again."""

import json
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from jit_sweep.cli.plan import planned
from jit_sweep.home import Home
from jit_sweep.plan.entry import Plan
from jit_sweep.spec.again import file_again
from tests.support.paths import GOLDEN
from tests.support.sweep_files import write_sweep


def plan_of(folder: Path, tree: Any) -> Plan:
    file = folder / "again.yaml"
    file.write_text(yaml.safe_dump(tree, sort_keys=False))
    return planned(str(file), Home(folder))


def keys_of(plan: Plan) -> set[tuple[str, str]]:
    return {(entry.trial_id, entry.evaluation.id) for entry in plan.entries}


@pytest.mark.parametrize("sweep", ["ended", "begun"])
def test_the_file_of_a_sweep_of_former_defaults_has_its_ledger_s_ids(tmp_path: Path, sweep: str) -> None:
    """Labels were drawn before `evaluation.labels` joined, and the home of that time does not say so."""
    with tarfile.open(GOLDEN / "home_ce5615d.tar.xz") as archive:
        archive.extract("./ledger.db" if "./ledger.db" in archive.getnames() else "ledger.db", tmp_path, filter="data")
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        (spec, facts) = connection.execute("SELECT spec, facts FROM sweep WHERE name = ?", (sweep,)).fetchone()
        query = "SELECT trial_id, evaluation_id FROM entry WHERE sweep = ? AND origin = 'grid'"
        recorded = set(connection.execute(query, (sweep,)).fetchall())
    plan = plan_of(tmp_path / ".", file_again(json.loads(spec), json.loads(facts)))
    assert keys_of(plan) == recorded
    assert plan.identity == json.loads(facts)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"baseline": {"preset": "jit-tiny", "ema": [], "batch_size": 8, "optimiser": {"warmup_images": 0}}},
        {"stages": [{"grid": {"axes": {"prediction": ["x", "v"]}, "seeds": [0], "contrasts": []}}]},
        {"baseline": {"preset": "jit-tiny", "batch_size": 8, "optimiser": {"warmup_images": 0, "grad_clip": None}}},
    ],
)
def test_what_was_chosen_to_be_empty_stays_in_the_file(tmp_path: Path, changes: dict[str, Any]) -> None:
    plan = planned(write_sweep(tmp_path, **changes), Home(tmp_path))
    again = plan_of(tmp_path, file_again(plan.spec.model_dump(mode="json", by_alias=True), plan.identity))
    assert keys_of(again) == keys_of(plan)
    assert again.spec == plan.spec


def test_a_preset_that_was_another_recipe_is_written_with_what_differs(tmp_path: Path) -> None:
    plan = planned(write_sweep(tmp_path), Home(tmp_path))
    facts = json.loads(json.dumps(plan.identity))
    facts["baseline"]["model"]["mlp_ratio"], facts["baseline"]["diffusion"]["label_drop"] = 3.0, 0.25
    again = plan_of(tmp_path, file_again(plan.spec.model_dump(mode="json", by_alias=True), facts))
    assert again.identity == facts
    assert again.spec.baseline.diffusion == {"label_drop": 0.25}
