"""Every count that sets a loop has a stated most, and every number of a trial bounds beyond which it can only be a slip."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from jit_sweep.cli.plan import MOST_ROWS, planned, show
from jit_sweep.errors import UserError
from jit_sweep.home import home_at
from tests.support.sweep_files import write_sweep
from trainables.config.evaluation import EvaluationConfig
from trainables.config.fields import MOST
from trainables.config.recipe import Recipe

DEPTH = {"axes": {"depth": [2]}}
RANGE = {"axes": {"noise_scale": {"low": 1.0, "high": 2.0}}}
BASELINE = {"preset": "jit-tiny", "batch_size": 8}
TREE = {"type", "properties", "$defs", "items", "prefixItems", "anyOf", "oneOf"}


def refused(folder: Path, **changes: Any) -> str:
    with pytest.raises(UserError) as error:
        planned(write_sweep(folder, **changes), home_at(folder))
    return str(error.value)


@pytest.mark.parametrize(
    ("changes", "most"),
    [
        ({"stages": [{"grid": {**DEPTH, "seeds": 1_000_000}}]}, "`seeds` must be at most 1000, got 1000000"),
        ({"stages": [{"grid": {**DEPTH, "seeds": {"min": 3, "max": 65}}}]}, "less than or equal to 64, got 65"),
        ({"stages": [{"grid": {**DEPTH, "cells": [{"where": {"depth": 2}, "seeds": 1001}]}}]}, "at most 1000, got 1001"),
        ({"stages": [{"search": {**RANGE, "trials": 50_001}}]}, "less than or equal to 50000, got 50001"),
        ({"stages": [{"search": {**RANGE, "trials": 5, "seeds": 1001}}]}, "less than or equal to 1000, got 1001"),
        ({"stages": [{"search": {**RANGE, "trials": 5, "options": {"n_ei_candidates": 10**9}}}]}, "from 1 to 100000"),
        ({"budget": {"images_per_trial": 16, "rungs": 1001}}, "less than or equal to 1000, got 1001"),
        ({"data": {"uri": "images", "image_size": 10**9}}, "less than or equal to 8192, got 1000000000"),
        ({"resources": {"workers": 4097}}, "less than or equal to 4096, got 4097"),
        ({"resources": {"concurrent": 10_001}}, "less than or equal to 10000, got 10001"),
        ({"evaluation": {"n": 10_000_001}}, "less than or equal to 10000000, got 10000001"),
        ({"evaluation": {"steps": 10_001}}, "less than or equal to 10000, got 10001"),
        ({"baseline": {**BASELINE, "model": {"depth": 1001}}}, "less than or equal to 1000, got 1001"),
        ({"baseline": {**BASELINE, "model": {"class_tokens": 65_537}}}, "less than or equal to 65536, got 65537"),
        (
            {"baseline": {**BASELINE, "model": {"embedding": {"kind": "bottleneck", "dim": 2**40}}}},
            "less than or equal to 65536",
        ),
        ({"baseline": {**BASELINE, "diffusion": {"terms": [{"kind": "cosine"}] * 9}}}, "at most 8 items"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_count_that_sets_a_loop_has_a_stated_most(tmp_path: Path, changes: dict[str, Any], most: str) -> None:
    assert most in refused(tmp_path, **changes)


@pytest.mark.parametrize(
    ("stages", "asked"),
    [
        ([{"grid": {"axes": {"noise_scale": [1 + step / 64 for step in range(64)]}, "seeds": 1000}}], "64000"),
        ([{"search": {**RANGE, "trials": 50_000, "seeds": 2}}], "100000"),
        ([{"search": {**RANGE, "trials": 30_000}}, {"search": {**RANGE, "trials": 20_001}}], "50001"),
        (
            [{"grid": {"axes": {"noise_scale": [1 + step / 1024 for step in range(1024)]}, "seeds": {"min": 3, "max": 64}}}],
            "65536",
        ),
    ],
    ids=["seeds of a grid", "seeds of a search", "all stages together", "a race's last seeds"],
)
def test_a_sweep_has_at_most_50_000_trials_over_stages_seeds_and_proposals(
    tmp_path: Path, stages: list[dict[str, Any]], asked: str
) -> None:
    (line,) = refused(tmp_path, stages=stages).splitlines()
    assert f"must have at most 50000 trials, got {asked} up to the end of this stage; take fewer seeds, or split" in line


@pytest.mark.slow
def test_the_largest_grid_is_planned_a_cell_at_a_time_and_shown_in_few_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """4,096 cells of 12 seeds: each cell's trials share all but the seed."""
    scales = [1 + step / 4096 for step in range(4096)]
    file = write_sweep(tmp_path, stages=[{"grid": {"axes": {"noise_scale": scales}, "seeds": 12}}])
    plan = planned(file, home_at(tmp_path))
    assert len(plan.entries) == 4096 * 12
    assert len({id(entry.trial.model) for entry in plan.entries}) <= 4096
    monkeypatch.setattr("jit_sweep.cli.plan.planned", lambda *_, **__: plan)  # once takes half a minute
    assert show(file, home_at(tmp_path), as_json=False) == 0
    shown = capsys.readouterr().out
    assert f"and {4096 * 12 - MOST_ROWS:,} more trials; --json has every one" in shown
    assert len(shown.splitlines()) < MOST_ROWS + 50


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("diffusion", {"noise_scale": 1e30}),
        ("diffusion", {"noise_scale": 1e-30}),
        ("diffusion", {"t_sampling": {"kind": "logit_normal", "mu": 1e30}}),
        ("optimiser", {"weight_decay": 1e30}),
        ("optimiser", {"grad_clip": 1e-30}),
        ("optimiser", {"warmup_images": {"kind": "epochs", "epochs": 1e30}}),
        ("model", {"time_period": 1e30}),
    ],
    ids=str,
)
def test_a_number_that_can_only_be_a_slip_is_refused_in_the_baseline(
    tmp_path: Path, section: str, values: dict[str, Any]
) -> None:
    said = refused(tmp_path, baseline={**BASELINE, section: values})
    assert f"baseline.{section}.{next(iter(values))}" in said
    assert "must be" in said


def test_a_number_that_can_only_be_a_slip_is_refused_on_an_axis_and_in_an_evaluation(tmp_path: Path) -> None:
    said = refused(tmp_path, stages=[{"grid": {"axes": {"noise_scale": [1.0, 1e30], "sampling_shift": [1.0, 1e30]}}}])
    assert "`noise_scale` must be less than or equal to 1000, got 1e+30" in said
    assert "interval" in refused(tmp_path, evaluation={"interval": [0.1, 30.0]})


FREE = {"learning_rate"}
"""Numbers without a most: too high a rate diverges and too low a one collapses, and either is told."""


def numbers(schema: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every number in a JSON schema with the field that holds it."""
    if isinstance(schema, list):
        for part in schema:
            yield from numbers(part, name)
    elif isinstance(schema, dict):
        if schema.get("type") in ("number", "integer"):
            yield name, schema
        for key in TREE & schema.keys():
            parts = schema[key].items() if key in ("properties", "$defs") else [(name, schema[key])]
            for inner, part in parts:
                yield from numbers(part, inner)


@pytest.mark.parametrize("model", [Recipe, EvaluationConfig])
def test_every_number_of_a_trial_and_of_its_score_has_a_least_and_a_most(model: type[BaseModel]) -> None:
    found = list(numbers(model.model_json_schema()))
    assert {"n", "noise_scale"} & {name for name, _ in found}, "the walk sees numbers"
    loose = {name for name, rule in found if not ({"minimum", "exclusiveMinimum"} & rule.keys() and _most(rule) is not None)}
    assert loose - FREE == set()


def _most(rule: dict[str, Any]) -> float | None:
    return rule.get("maximum", rule.get("exclusiveMaximum", MOST if rule["type"] == "integer" else None))
