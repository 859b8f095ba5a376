"""The shipped JSON schema is the program's own, takes what the program takes, and sees the usual mistakes."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from pydantic import ValidationError

from jit_sweep.spec.json_schema import schema_text
from jit_sweep.spec.sweep import SweepSpec
from search_spaces.axes import AXES
from search_spaces.presets import PRESETS
from tests.support.documents import SCHEMA
from tests.support.paths import TOP
from tests.support.sweep_files import write_sweep
from trainables.config.yaml import parsed
from trainables.evaluation.metrics.registry import METRICS

SWEEPS = [*(TOP / "search_spaces" / "sweeps").glob("*.yaml"), *(TOP / "deploy" / "sweeps").glob("*.yaml")]
RUNG = {"images": 8}


@cache
def validator() -> Draft7Validator:
    return Draft7Validator(json.loads(SCHEMA.read_text()))


def faults(tree: Any) -> list[str]:
    """What the schema finds wrong, down to the deepest reason."""
    errors = list(validator().iter_errors(tree))
    while any(error.context for error in errors):
        errors = [deeper for error in errors for deeper in (error.context or [error])]
    return [error.message for error in errors]


def sweep(folder: Path, **changes: Any) -> dict[str, Any]:
    tree = parsed(Path(write_sweep(folder, **changes)).read_text())
    assert isinstance(tree, dict)
    return tree


def test_the_shipped_schema_is_what_the_command_prints() -> None:
    rule = "the models or the registries have changed: python -m tests.support.documents"
    assert SCHEMA.read_text() == schema_text(), rule


def test_the_schema_is_one_of_draft_7() -> None:
    Draft7Validator.check_schema(json.loads(schema_text()))


@pytest.mark.parametrize("file", SWEEPS, ids=lambda file: file.stem)
def test_every_shipped_sweep_is_valid_by_the_schema(file: Path) -> None:
    assert faults(parsed(file.read_text())) == []


ACCEPTED: list[dict[str, Any]] = [
    {"baseline": {"preset": f"{next(iter(PRESETS))}/8", "batch_size": 8}},
    {"baseline": {"preset": "jit-b", "model": {"embedding": {"dim": 64}, "depth": 8}, "ema": []}},
    {"baseline": {"preset": "jit-tiny", "optimiser": {"schedule": {"kind": "cosine", "final": 0.1}}}},
    {"baseline": {"preset": "jit-tiny", "diffusion": {"t_sampling": {"mu": -1.0}}}},
    {"data": {"uri": "images.npz", "holdout": 8}},
    {"stages": [{"grid": {"axes": {"bottleneck": [None, 8]}, "seeds": [3, 5], "limits": {"tokens": 64}}}]},
    {"stages": [{"grid": {"axes": {"depth": [1]}, "seeds": 2, "cells": [{"where": {"depth": 1}, "seeds": 4}]}}]},
    {"stages": [{"search": {"trials": 2, "axes": {"t_mu": {"low": -2, "high": 1}, "norm": ["rms"]}}}]},
    {"stages": [{"search": {"trials": 2, "axes": {"depth": [1, 2]}, "objectives": [next(iter(METRICS)), "tokens"]}}]},
    {"scheduler": {"kind": "halving", "first_rung": RUNG, "compare_within": ["depth"]}},
    {"scheduler": {"kind": "median", "first_rung": {"flops": 1e9}, "s_train": 0.1}},
    {"evaluation": {"n": 8, "interval": [0.2, 0.9], "weights": "raw"}},
]


@pytest.mark.parametrize("changes", ACCEPTED, ids=json.dumps)
def test_what_the_program_takes_the_schema_takes(changes: dict[str, Any], tmp_path: Path) -> None:
    tree = sweep(tmp_path, **changes)
    SweepSpec.model_validate(tree)
    assert faults(tree) == []


def grid(**values: Any) -> dict[str, Any]:
    return {"stages": [{"grid": {"axes": {"depth": [1]}} | values}]}


def search(**values: Any) -> dict[str, Any]:
    return {"stages": [{"search": {"trials": 2, "axes": {"depth": [1]}} | values}]}


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"objectve": "fd_efflite0_96"}, "'objectve' does not match"),
    ({"objective": "fd"}, "'fd' is not one of"),
    ({"name": "My Sweep"}, "'My Sweep' does not match"),
    ({"baseline": {"preset": "jit-huge"}}, "'jit-huge' is not one of"),
    ({"baseline": {"preset": "jit-b", "model": {"dept": 3}}}, "'dept' was unexpected"),
    ({"baseline": {"preset": "jit-b", "ema": [{"decay": 0.9}]}}, "'kind' is a required property"),
    ({"budget": {"images_per_trial": 0}}, "0 is less than or equal to the minimum of 0"),
    ({"budget": {}}, "'images_per_trial' is a required property"),
    (grid(axes={"patchsize": [4]}), "'patchsize' was unexpected"),
    (grid(axes={"prediction": ["y"]}), "'y' is not one of"),
    (grid(axes={"rope": []}), "[] should be non-empty"),
    (grid(axes={"depth": {"low": 1, "high": 2}}), "is not of type 'array'"),
    (grid(seeds=0), "0 is less than or equal to the minimum of 0"),
    (grid(limits={"token": 3}), "'token' was unexpected"),
    (search(axes={"norm": {"low": 1, "high": 2}}), "is not of type 'array'"),
    (search(axes={"depth": {"low": 1.5, "high": 2}}), "1.5 is not of type 'integer'"),
    (search(axes={"depth": {"low": 1, "hi": 2}}), "'high' is a required property"),
    (search(sampler="tpee"), "'tpee' is not one of"),
    (search(objectives=["tokens"]), "['tokens'] is too short"),
    ({"scheduler": {"kind": "halving"}}, "'first_rung' is a required property"),
    ({"scheduler": {"kind": "halving", "first_rung": RUNG, "compare_within": ["size"]}}, "'size' is not one of"),
]


@pytest.mark.parametrize(
    ("changes", "reason"), MISTAKES, ids=lambda value: value if isinstance(value, str) else json.dumps(value)
)
def test_the_usual_mistakes_are_mistakes_by_the_schema_too(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    tree = sweep(tmp_path, **changes)
    with pytest.raises(ValidationError):
        SweepSpec.model_validate(tree).baseline.recipe()
    assert any(reason in fault for fault in faults(tree)), faults(tree)


@pytest.mark.parametrize("name", AXES)
def test_an_editor_shows_what_every_axis_is(name: str) -> None:
    definitions = json.loads(schema_text())["$defs"]
    assert {definitions[kind]["properties"][name]["description"] for kind in ("Cells", "GridAxes", "SearchAxes")} == {
        AXES[name].about
    }
