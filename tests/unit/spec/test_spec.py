"""A sweep file says what a user means, or one message says everything that is wrong with it."""

from pathlib import Path
from typing import Any

import pytest

from jit_sweep.errors import UserError
from jit_sweep.spec.read import of_form, read_spec, shipped_sweeps
from jit_sweep.spec.stages import SearchStage
from jit_sweep.spec.sweep import SweepSpec
from tests.support.sweep_files import tiny_sweep, write_sweep
from trainables.config.yaml import parsed


def complaint(folder: Path, **changes: Any) -> str:
    with pytest.raises(UserError) as error:
        read_spec(write_sweep(folder, **changes))
    return str(error.value)


def test_a_sound_file_reads_back_as_it_was_written(tmp_path: Path) -> None:
    spec = read_spec(write_sweep(tmp_path))
    assert SweepSpec.model_validate(spec.model_dump(mode="json", by_alias=True)) == spec


@pytest.mark.parametrize("name", shipped_sweeps())
def test_every_shipped_sweep_file_is_valid_in_each_of_its_forms(name: str) -> None:
    assert read_spec(name).name == name
    if name not in ("quickstart", "toy"):
        assert read_spec(of_form(name, full=True)).name == f"{name}-full"


def test_a_number_may_be_written_with_an_exponent_and_no_point(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    text = Path(write_sweep(tmp_path)).read_text()
    path.write_text(text.replace("learning_rate: 0.001", "learning_rate: 1e-3"))
    assert read_spec(str(path)).baseline.recipe().optimiser.learning_rate == 1e-3


def test_all_mistakes_are_told_at_once_each_with_its_key_path(tmp_path: Path) -> None:
    message = complaint(tmp_path, objective="fiid", budget={"images_per_trial": -1}, evaluation={"stepz": 3})
    assert len(message.splitlines()) == 3
    assert "objective: `objective` must be a registered metric, got" in message
    assert "budget.images_per_trial: must be greater than 0, got -1" in message
    assert "evaluation.stepz: unknown key 'stepz'; did you mean 'steps'?" in message


@pytest.mark.parametrize(
    ("changes", "meant"),
    [
        ({"objective": "fd_efflite_96"}, "fd_efflite0_96"),
        ({"baseline": {"preset": "jit-tyni"}}, "jit-tiny"),
        ({"stages": [{"search": {"trials": 2, "axes": {"patch_size": [8, 16]}, "sampler": "tpee"}}]}, "tpe"),
        ({"scheduler": {"kind": "median", "first_rung": {"images": 8}, "metric": "fd_efflite_96"}}, "fd_efflite0_96"),
        ({"scheduler": {"kind": "median", "first_rung": {"images": 8}, "compare_within": ["patchsize"]}}, "patch_size"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_one_that_was_meant(tmp_path: Path, changes: dict[str, Any], meant: str) -> None:
    assert f"did you mean {meant!r}?" in complaint(tmp_path, **changes)


def test_a_misspelt_shipped_sweep_is_answered_with_the_one_that_was_meant() -> None:
    with pytest.raises(UserError, match="quikstart: No such file or directory; did you mean 'quickstart'"):
        read_spec("quikstart")
    with pytest.raises(UserError, match="give a sweep file, or one of the shipped: .*quickstart"):
        read_spec("/nowhere/zzz.yaml")


def test_a_misspelt_key_deep_inside_a_stage_is_named_as_the_user_wrote_it(tmp_path: Path) -> None:
    grid = {"axes": {"patch_size": [16]}, "cells": [{"where": {"patch_size": 16}, "seds": 2}]}
    assert "stages[0].grid.cells[0].seds: unknown key 'seds'; did you mean 'seeds'?" in complaint(
        tmp_path, stages=[{"grid": grid}]
    )


@pytest.mark.parametrize(
    ("axes", "rule"),
    [
        ({}, "at least 1 item"),
        ({"patch_size": []}, "axis `patch_size` must have at least one value"),
        ({"patch_size": [4, 4]}, "axis `patch_size` must not repeat a value, got [4, 4]"),
        ({"patchsize": [4]}, "an axis must be a registered one, got"),
        ({"prediction": ["x", "w"]}, "`prediction` must be 'x', 'eps' or 'v', got 'w'"),
        ({"learning_rate": [-1.0]}, "`learning_rate` must be greater than 0, got -1.0"),
        ({"learning_rate": [float("nan")]}, "`learning_rate`"),
        ({"learning_rate": [float("inf")]}, "`learning_rate`"),
        ({"width": [True]}, "`width` must be a whole number, got true"),
    ],
)
def test_an_unsound_axis_is_refused_with_its_rule(tmp_path: Path, axes: dict[str, Any], rule: str) -> None:
    assert rule in complaint(tmp_path, stages=[{"grid": {"axes": axes}}])


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"name": "Has Spaces"}, "lower-case letters"),
        ({"data": {"name": "emoji33"}}, "data.name: must be 'emoji32' or 'spiral', got 'emoji33'"),
        ({"data": {}}, "data: must be a mapping with one of the keys name, uri"),
        ({"baseline": {"preset": "jit-x"}}, "`preset` must be a known one, got 'jit-x'"),
        ({"stages": [{"grids": {}}]}, "stages[0]: must be a mapping with one of the keys grid, ablation, search"),
        ({"stages": []}, "stages: must have at least 1 item"),
        ({"resources": {"gpus": 0.5}}, "`memory_gib` must be given where workers share a GPU, got gpus=0.5"),
        (
            {"resources": {"gpus": 1, "evaluators": {"gpus": 0.25}}, "evaluation": {"at": "separate"}},
            "`evaluators.memory_gib` must be given where workers share a GPU, got gpus=0.25",
        ),
        (
            {"resources": {"evaluators": {"gpus": 1}}, "evaluation": {"at": "separate"}},
            "`evaluators` must have GPUs only where trials have, got evaluators.gpus=1 and gpus=0",
        ),
        (
            {"resources": {"evaluators": {}}},
            "resources.evaluators: `evaluators` must be left out where trials score themselves",
        ),
        (
            {"stages": [{"grid": {"axes": {"patchsize": [1]}}}]},
            "an axis must be a registered one, got 'patchsize'; did you mean 'patch_size'?",
        ),
        ({"baseline": {"preset": "jit-tiny", "ema": {"kind": "decay"}}}, "baseline.ema: must be a list, got a mapping"),
        ({"baseline": {"preset": "jit-tiny", "parent": "x"}}, "baseline.parent: must be a mapping, got 'x'"),
        (
            {"baseline": {"preset": "jit-tiny", "parent": {"trial": "0" * 12, "image": 8}}},
            "baseline.parent.image: unknown key 'image'; did you mean 'images'?",
        ),
        ({"evaluation": {"shift": 0.0}}, "evaluation.shift: must be greater than or equal to 0.001, got 0.0"),
        ({"baseline": {"preset": "jit-tiny", "parent": {"trial": "x", "images": 8}}}, "baseline.parent.trial"),
        ({"budget": {"images_per_trial": 16.5}}, "budget.images_per_trial: must be a whole number, got 16.5"),
        ({"evaluation": {"interval": [0.9, 0.1]}}, "`interval` must be (low, high) with low < high"),
        (
            {"stages": [{"search": {"from": "best_cell", "trials": 2, "axes": {"depth": [1, 2]}}}]},
            "needs a grid or an ablation before it",
        ),
        ({"stages": [{"search": {"trials": 2, "axes": {"noise_scale": {"low": 2, "high": 1}}}}]}, "`low` must be below high"),
        ({"stages": [{"grid": {"axes": {"depth": [1]}, "seeds": [0, 0]}}]}, "`seeds` must not repeat"),
        (
            {"stages": [{"grid": {"axes": {"depth": [1]}, "seeds": -1}}]},
            "`seeds` must be a positive count or a list of seeds, got -1",
        ),
        ({"stages": [{"grid": {"axes": {"depth": [1]}, "seeds": 1_000_000}}]}, "`seeds` must be at most 1000, got 1000000"),
        (
            {"stages": [{"grid": {"axes": {"depth": [1]}, "seeds": list(range(1001))}}]},
            "at most 1000, got 1001",
        ),
        ({"stages": [{"search": {"axes": {"depth": [1]}, "trials": 10**7}}]}, "less than or equal to 50000, got 10000000"),
        ({"budget": {"images_per_trial": 16, "rungs": 10**6}}, "budget.rungs: must be less than or equal to 1000"),
        ({"evaluation": {"steps": 10**6}}, "evaluation.steps: must be less than or equal to 10000"),
        ({"tracking": "mlruns"}, "tracking: `tracking` must be http(s)://HOST:PORT, sqlite:///FILE or postgresql"),
        ({"tracking": "htp://mlflow:5000"}, "postgresql://HOST/DATABASE, got htp://mlflow:5000"),
        ({"tracking": "http://"}, "DATABASE, got http://"),
        ({"tracking": "sqlite:///"}, "DATABASE, got sqlite:///"),
        ({"ledger": "mysql://db/x"}, "ledger: `ledger` must be sqlite:///FILE or postgresql://HOST/DATABASE, got mysql://db/x"),
        ({"ledger": "ledger.db"}, "postgresql://HOST/DATABASE, got ledger.db"),
        ({"tracking": "http://mlflow:5000000"}, "DATABASE, got http://mlflow:5000000"),
        ({"tracking": "http://[::1"}, "DATABASE, got http://[::1"),
        ({"ledger": "postgresql:///db"}, "DATABASE, got postgresql:///db"),
        ({"storage": "s3://"}, "`storage` must name a place behind its protocol, got s3://; such as s3://BUCKET/PREFIX"),
        ({"storage": "s3:/bucket/x"}, "which has two slashes, got s3:/bucket/x; a path may begin with ./"),
        ({"storage": "s4://bucket/x"}, "storage: `storage` must be a path or a URI of a known protocol, got s4://bucket/x"),
        ({"stages": [{"grid": {"axes": {"depth": [1]}, "cells": [{"where": {"depth": 3}}]}}]}, "`where` must name a value"),
    ],
)
def test_a_mistake_is_refused_with_its_rule(tmp_path: Path, changes: dict[str, Any], rule: str) -> None:
    assert rule in complaint(tmp_path, **changes)


def search_of(**keys: Any) -> list[dict[str, Any]]:
    return [{"search": {"trials": 2, "axes": {"depth": [1, 2]}, **keys}}]


@pytest.mark.parametrize(
    ("keys", "rule"),
    [
        ({"sampler": "tpee"}, "`sampler` must be one of bruteforce, cmaes, gp, nsgaii, nsgaiii, qmc, random, tpe, got 'tpee'"),
        ({"axes": {"seed": [0, 1]}}, "an axis must change what is compared, got 'seed'; write `seeds` beside the axes"),
        ({"seeds": 0}, "seeds: must be greater than 0, got 0"),
        ({"limits": {"parameter": 1.0}}, "must name registered quantities, got 'parameter'; did you mean 'parameters'?"),
        ({"limits": {"tokens": 0}}, "limits.tokens: must be greater than 0, got 0"),
        ({"objectives": ["fd_efflite0_96"]}, "`objectives` must be two or more, each once, with a metric among them"),
        ({"objectives": ["tokens", "parameters"]}, "`objectives` must be two or more, each once, with a metric among them"),
        ({"objectives": ["fd_efflite0_96"] * 2}, "`objectives` must be two or more, each once"),
        ({"objectives": ["fd_efflite0_96", "tflops"]}, "got 'tflops'; did you mean 'train_tflops'?"),
        ({"objectives": ["fd_efflite0_96", "tokens"], "sampler": "cmaes"}, "`sampler` cmaes has one objective"),
        (
            {"axes": {"t_mu": {"low": 0, "high": 1}}, "sampler": "bruteforce"},
            "`sampler` bruteforce needs axes of choices or whole numbers, got a range of t_mu",
        ),
        ({"warm_start": ["a", "a"]}, "`warm_start` must not repeat a sweep"),
    ],
)
def test_a_search_that_no_sampler_can_make_is_refused_with_its_rule(tmp_path: Path, keys: dict[str, Any], rule: str) -> None:
    assert rule in complaint(tmp_path, stages=search_of(**keys))


def test_a_search_reads_back_as_it_was_written(tmp_path: Path) -> None:
    keys = {
        "sampler": "nsgaii",
        "options": {"population_size": 8},
        "seeds": 2,
        "limits": {"parameters": 5.0e6},
        "objectives": ["fd_efflite0_96", "train_tflops"],
        "warm_start": ["earlier"],
    }
    spec = read_spec(write_sweep(tmp_path, stages=search_of(**keys)))
    assert SweepSpec.model_validate(spec.model_dump(mode="json", by_alias=True)) == spec


@pytest.mark.parametrize(
    ("values", "inside"),
    [
        ({"depth": 2}, True),
        ({"depth": 3}, False),
        ({"t_mu": 0.5}, True),
        ({"t_mu": 1.5}, False),
        ({"width": 32}, True),
        ({"width": 32.0}, False),
        ({"rope": True}, True),
        ({"rope": 1}, False),
        ({"grad_clip": None}, True),
        ({"noise_scale": 1.0}, False),
        ({}, True),
    ],
)
def test_a_search_knows_what_lies_in_its_space(tmp_path: Path, values: dict[str, Any], inside: bool) -> None:
    axes = {
        "depth": [1, 2],
        "t_mu": {"low": 0, "high": 1},
        "width": {"low": 16, "high": 64},
        "rope": [True],
        "grad_clip": [None],
    }
    (stage,) = read_spec(write_sweep(tmp_path, stages=search_of(axes=axes))).stages
    assert isinstance(stage, SearchStage)
    assert stage.search.holds(values) is inside


def test_a_password_in_a_uri_is_refused_and_not_repeated(tmp_path: Path) -> None:
    message = complaint(tmp_path, ledger="postgresql://me:hunter2@db/ledger", storage="s3://key:hunter2@bucket/x")
    assert "must not carry a password" in message
    assert "hunter2" not in message
    assert "must not carry a password" in complaint(tmp_path, ledger="postgresql://db/ledger?password=hunter2")


def test_every_number_that_is_not_decimal_is_named_with_its_line_at_once(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("budget:\n  wall_hours: 1:30\n  money: 0x10\n  trials: 190:20:30\n  trials: 2024-01-01 10:00:00\n")
    with pytest.raises(UserError) as error:
        read_spec(str(path))
    assert [line.removeprefix(f"{path}: ").partition(": ")[0] for line in str(error.value).splitlines()] == [
        f"line {number}" for number in (2, 3, 4, 5, 5)
    ]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a: [1", "not YAML"),
        ("- 1", "must be a YAML mapping, got a list"),
        ("name: a\nname: b", "line 2: a key must not repeat, got 'name' twice"),
        ("name: {{ x }}", "a key must be a word"),
        (
            "name: 2024-12-24",
            "line 1: a plain value must be a number or a text, not a date, got 2024-12-24; write it out, or quote",
        ),
        (
            "name: a\nbudget: {wall_hours: 1:30}",
            "line 2: a plain value must be decimal, got 1:30; write it out, or quote a text",
        ),
        ("budget: {wall_hours: 1:30.5}", "must be decimal, got 1:30.5"),
        ("budget: {wall_hours: 0x10}", "must be decimal, got 0x10"),
        ("budget: {wall_hours: 010}", "must be decimal, got 010"),
        ("budget: {wall_hours: 0b11}", "must be decimal, got 0b11"),
        ("a: 1\nfull:\n  stages:\n  - grid: {axes: {noise_scale: [1, 010]}}", "line 4: a plain value must be decimal, got 010"),
        ("x-mine: &hours 1:30\nbudget: {wall_hours: *hours}", "line 1: a plain value must be decimal, got 1:30"),
    ],
)
def test_what_is_no_sweep_file_is_refused_with_the_reason(tmp_path: Path, text: str, rule: str) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match="sweep.yaml") as error:
        read_spec(str(path))
    assert rule in str(error.value)


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("-7", -7), ("1_000", 1000), ("1.5", 1.5), (".5", 0.5), ("2e3", 2000.0)]
)
def test_a_decimal_number_is_what_it_says(text: str, number: float) -> None:
    assert parsed(f"key: {text}") == {"key": number}


def test_top_level_keys_of_the_users_own_hold_anchors(tmp_path: Path) -> None:
    path = Path(write_sweep(tmp_path))
    path.write_text(f"x-rates: &rates [1.0e-3, 1.0e-4]\n{path.read_text()}")
    assert read_spec(str(path)) == read_spec(str(write_sweep(tmp_path)))
    path.write_text(f"y-rates: 1\n{path.read_text()}")
    with pytest.raises(UserError, match="unknown key 'y-rates'"):
        read_spec(str(path))


def test_a_missing_file_names_the_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file or directory.*quickstart"):
        read_spec(str(tmp_path / "none.yaml"))


def test_a_whole_override_section_is_checked_against_the_configuration() -> None:
    tree = tiny_sweep()
    tree["baseline"]["model"]["norm"] = "batch"
    with pytest.raises(ValueError, match="rms"):
        SweepSpec.model_validate(tree).baseline.recipe()


@pytest.mark.parametrize(
    ("kind", "key", "valid"),
    [("promotion", "patience", "reduction"), ("median", "reduction", "startup_arms"), ("patient", "mode", "min_delta")],
)
def test_an_unknown_key_of_a_scheduler_is_told_the_keys_of_its_own_kind(
    tmp_path: Path, kind: str, key: str, valid: str
) -> None:
    message = complaint(tmp_path, scheduler={"kind": kind, "first_rung": {"images": 8}, key: 3})
    assert f"unknown key '{key}'" in message
    keys = message.split("valid keys:")[1].split(";")[0]
    assert valid in keys
    assert key not in keys


def test_a_database_behind_a_socket_is_an_address(tmp_path: Path) -> None:
    uri = "postgresql:///ledger?host=/var/run/postgresql"
    assert read_spec(write_sweep(tmp_path, ledger=uri)).ledger == uri


def test_the_full_form_s_keys_take_the_place_of_the_file_s_own(tmp_path: Path) -> None:
    file = write_sweep(tmp_path, full={"name": "large", "budget": {"images_per_trial": 64000}})
    small, plain, full = (read_spec(of_form(file, full=form)) for form in (False, None, True))
    assert small == plain == read_spec(write_sweep(tmp_path))
    assert full == small.model_copy(update={"name": "large", "budget": full.budget})
    assert full.budget.images_per_trial == 64000


def test_a_form_that_a_file_has_not_is_refused_with_the_remedy() -> None:
    with pytest.raises(UserError, match="--full needs a file with a `full` form, got none; leave --full out"):
        read_spec(of_form("quickstart", full=True))


def test_a_full_form_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    assert "`full` must be a mapping of the keys that the full form replaces, got" in complaint(tmp_path, full=3)
