"""Proposals: conditional axes exist only where they mean something, and what was told is used."""

import pytest

from jit_sweep.search import Told, propose
from jit_sweep.stages import SearchSpec
from search_spaces.presets import preset

START = preset("jit-tiny")
OBJECTIVE = "heldout_v_error"


def search(axes: dict[str, object], *, sampler: str = "tpe", seed: int = 0) -> SearchSpec:
    return SearchSpec.model_validate({"trials": 50, "axes": axes, "sampler": sampler, "seed": seed})


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
@pytest.mark.parametrize("seed", [0, 2**40])
def test_every_sampler_proposes_new_values_inside_the_space(sampler: str, seed: int) -> None:
    space = search(
        {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "prediction": ["x", "v"]}, sampler=sampler, seed=seed
    )
    told: list[Told] = []
    for _ in range(14):
        values = propose(space, START, told, objective=OBJECTIVE)
        assert 1e-4 <= float(values["learning_rate"]) <= 1e-2  # type: ignore[arg-type]
        assert values not in [one.values for one in told]
        told.append(Told(values=values, score=float(values["learning_rate"]), running=False))  # type: ignore[arg-type]


def test_a_conditional_axis_is_proposed_only_where_it_exists() -> None:
    space = search({"t_sampling": ["logit_normal", "uniform"], "t_mu": {"low": -1.0, "high": 0.0}}, sampler="random")
    seen = [propose(space, START, [], objective=OBJECTIVE, again=again) for again in range(20)]
    assert {values["t_sampling"] for values in seen} == {"logit_normal", "uniform"}
    assert all(("t_mu" in values) == (values["t_sampling"] == "logit_normal") for values in seen)


def test_tpe_learns_from_what_it_is_told_which_way_is_better() -> None:
    space = search({"t_mu": {"low": 0.0, "high": 1.0}})
    told = [Told(values={"t_mu": i / 30}, score=abs(i / 30 - 0.8), running=False) for i in range(31)]
    near = [propose(space, START, told, objective=OBJECTIVE, again=again)["t_mu"] for again in range(20)]
    assert sum(abs(float(mu) - 0.8) < 0.2 for mu in near) >= 15  # type: ignore[arg-type]


def test_a_trial_without_a_score_is_no_obstacle() -> None:
    space = search({"t_mu": {"low": 0.0, "high": 1.0}})
    told = [Told(values={"t_mu": 0.5}, score=None, running=running) for running in (True, False)]
    assert 0 <= float(propose(space, START, told, objective=OBJECTIVE)["t_mu"]) <= 1  # type: ignore[arg-type]
