"""Each option of a sampler has its own rule, and the rules are those of Optuna's samplers."""

import importlib.util
import inspect
from typing import Any

import pytest
from pydantic import ValidationError

from jit_sweep.search.samplers import check_sampler, sampler_classes
from jit_sweep.spec.sampler_options import MOST_COUNT, NOT_TAKEN, OBJECTS, OPTIONS
from jit_sweep.spec.stages import SAMPLERS, SearchSpec

DEPTH = {"depth": {"low": 1, "high": 4}}
INSTALLED = [name for name in SAMPLERS if name != "cmaes" or importlib.util.find_spec("cmaes")]
EXTREMES = (0, 1, 2, 3, 100, MOST_COUNT, 0.0, 0.5, 1.0, True, False, None, "sobol", "halton", {"depth": 2})


def search(sampler: str, **options: Any) -> SearchSpec:
    return SearchSpec.model_validate({"trials": 5, "axes": DEPTH, "sampler": sampler, "options": options})


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_option_of_optunas_has_a_rule_or_a_reason_why_no_file_may_give_it(name: str) -> None:
    parameters = set(inspect.signature(sampler_classes()[name]).parameters)
    assert set(OPTIONS[name]) == parameters - OBJECTS - set(NOT_TAKEN)


@pytest.mark.parametrize("name", INSTALLED)
def test_optuna_takes_every_value_that_a_rule_takes(name: str) -> None:
    taken = [(option, value) for option, rule in OPTIONS[name].items() for value in EXTREMES if rule.takes(value)]
    assert len(taken) >= 2 * len(OPTIONS[name])
    for option, value in taken:
        check_sampler(search(name, **{option: value}))


@pytest.mark.parametrize("name", SAMPLERS)
def test_what_optuna_takes_by_itself_is_what_its_rule_calls_usual(name: str) -> None:
    parameters = inspect.signature(sampler_classes()[name]).parameters
    for option, rule in OPTIONS[name].items():
        assert rule.takes(parameters[option].default), option
        assert rule.usual in (parameters[option].default, None), option


@pytest.mark.parametrize(
    ("name", "option", "value", "said"),
    [
        ("tpe", "n_startup_trial", 5, "`options` must be those of sampler tpe, got 'n_startup_trial'; did you mean 'n_startup"),
        ("tpe", "zzz", 5, "got 'zzz'; it has n_startup_trials, n_ei_candidates"),
        (
            "tpe",
            "n_startup_trials",
            "five",
            "`n_startup_trials` of sampler tpe must be a whole number from 0 to 100000, got 'five'",
        ),
        ("tpe", "n_startup_trials", -3, "from 0 to 100000, got -3; Optuna's own is 10"),
        ("tpe", "n_startup_trials", True, "from 0 to 100000, got True"),
        ("tpe", "n_ei_candidates", 0, "from 1 to 100000, got 0; Optuna's own is 24"),
        ("tpe", "multivariate", 1, "`multivariate` of sampler tpe must be true or false, or null, got 1; leave it out"),
        ("tpe", "prior_weight", -1.0, "must be a number above 0, or null, got -1.0"),
        ("tpe", "gamma", 0.5, "`options` must be plain values, got gamma, which takes an object of Python; leave it out"),
        ("gp", "n_startup_trials", -1, "`n_startup_trials` of sampler gp must be a whole number from 0"),
        ("nsgaii", "population_size", 1, "must be a whole number from 2 to 100000, got 1; Optuna's own is 50"),
        ("nsgaii", "mutation_prob", 1.5, "must be a number from 0 to 1, or null, got 1.5"),
        ("nsgaiii", "dividing_parameter", 0, "must be a whole number from 1 to 100, got 0; Optuna's own is 3"),
        ("cmaes", "with_margin", True, "`options` must not name with_margin, got with_margin=True; leave it out"),
        ("qmc", "qmc_type", "foo", "must be sobol or halton, got 'foo'; Optuna's own is sobol"),
        ("qmc", "independent_sampler", "tpe", "must be plain values, got independent_sampler"),
        ("random", "n", 1, "got 'n'; it has none"),
        ("random", "seed", 3, "`options` must not name seed, got seed=3; write `seed` beside `sampler`"),
    ],
)
def test_a_wrong_option_is_refused_with_rule_value_and_remedy(name: str, option: str, value: Any, said: str) -> None:
    with pytest.raises(ValidationError) as error:
        search(name, **{option: value})
    assert said in str(error.value)


def test_two_options_that_a_sampler_does_not_take_together_are_refused() -> None:
    with pytest.raises(ValidationError, match="must not have both, got group: true and multivariate: false; leave one"):
        search("tpe", group=True, multivariate=False)
    assert search("tpe", group=True, multivariate=True).options == {"group": True, "multivariate": True}
