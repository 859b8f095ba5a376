"""A sweep file's faults are told all at once, and every mistyped name with what was probably meant."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from jit_sweep.errors import UserError
from jit_sweep.plan.plan import plan
from jit_sweep.spec.read import read_spec

SOUND: dict[str, Any] = {
    "name": "tiny",
    "data": {"name": "emoji32"},
    "baseline": {"preset": "jit-tiny"},
    "stages": [{"grid": {"axes": {"prediction": ["x", "v"]}}}],
    "objective": "fd_efflite0_96",
    "budget": {"images_per_trial": 256},
}
SEARCH = {"sampler": "tpe", "trials": 2, "axes": {"depth": [2, 4]}}
HALVING = {"kind": "halving", "first_rung": {"images": 128}}


def faults_of(folder: Path, **parts: Any) -> list[str]:
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump({**SOUND, **parts}))
    with pytest.raises(UserError) as refused:
        plan(read_spec(str(file)), source=str(file))
    return [line.removeprefix(f"{file}: ") for line in str(refused.value).splitlines()]


def test_overrides_are_checked_behind_a_wrong_axis(tmp_path: Path) -> None:
    baseline = {"preset": "jit-tiny", "model": {"dept": 2}, "optimiser": {"learning_rate": -1.0}}
    stages = [{"grid": {"axes": {"predictoin": ["x"], "norm": ["rmss", "batch"]}}}]
    lines = faults_of(tmp_path, baseline=baseline, stages=stages)
    assert [line.partition(": ")[0] for line in lines] == [
        "stages[0].grid.axes",
        "baseline.model.dept",
        "baseline.optimiser.learning_rate",
    ]
    for part in ("did you mean 'prediction'?", "got 'rmss'; did you mean 'rms'?", "got 'batch'"):
        assert part in lines[0]


def test_overrides_are_checked_where_the_data_is_missing(tmp_path: Path) -> None:
    lines = faults_of(tmp_path, data={"uri": str(tmp_path / "no.npz")}, baseline={"preset": "jit-tiny", "model": {"dept": 2}})
    assert [line.partition(": ")[0] for line in lines] == ["data", "baseline.model.dept"]


@pytest.mark.parametrize(
    ("parts", "meant"),
    [
        ({"stages": [{"grid": {"axes": {"predictoin": ["x"]}}}]}, ["prediction"]),
        ({"stages": [{"grid": {"axes": {"t_sampling": ["unifrom"]}}}]}, ["uniform"]),
        ({"stages": [{"gird": {"axes": {"prediction": ["x"]}}}]}, ["grid"]),
        ({"stages": [{"search": {**SEARCH, "sampler": "tpee"}}]}, ["tpe"]),
        ({"stages": [{"search": {**SEARCH, "objectives": ["fd_eflite0_96", "parametres"]}}]}, ["fd_efflite0_96", "parameters"]),
        ({"stages": [{"search": {**SEARCH, "limits": {"tokns": 3, "parametres": 4}}}]}, ["tokens", "parameters"]),
        ({"stages": [{"grid": {"axes": {"depth": [2]}, "contrasts": [{"axis": "dept"}]}}]}, ["depth"]),
        ({"scheduler": {**HALVING, "kind": "halfing"}}, ["halving"]),
        ({"scheduler": {**HALVING, "metric": "heldout_error"}}, ["heldout_v_error"]),
        ({"scheduler": {**HALVING, "compare_within": ["patchsize", "dept"]}}, ["patch_size", "depth"]),
        ({"baseline": {"preset": "jit-tinny"}}, ["jit-tiny"]),
        ({"baseline": {"preset": "jit-tiny", "optimiser": {"schedule": {"kind": "cosin"}}}}, ["cosine"]),
        ({"data": {"name": "emoji23"}}, ["emoji32"]),
        ({"data": {"nam": "emoji32"}}, ["name"]),
        ({"objective": "fd_eflite0_96"}, ["fd_efflite0_96"]),
        ({"evaluation": {"sampler": "eular"}}, ["euler"]),
        ({"bugdet": {}}, ["budget"]),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, list) else "",
)
def test_a_mistyped_name_is_answered_with_the_one_that_was_meant(
    tmp_path: Path, parts: dict[str, Any], meant: list[str]
) -> None:
    told = "\n".join(faults_of(tmp_path, **parts))
    assert all(f"did you mean {name!r}?" in told for name in meant)


def test_a_value_that_resembles_none_is_answered_with_the_rule_alone(tmp_path: Path) -> None:
    (line,) = faults_of(tmp_path, evaluation={"sampler": "dpm"})
    assert line == "evaluation.sampler: input should be 'euler' or 'heun', got 'dpm'"
