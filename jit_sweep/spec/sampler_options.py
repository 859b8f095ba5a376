"""The options of Optuna's samplers that a sweep file can give, each with its rule. Free of Optuna: a test compares the two."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from trainables.config.spelling import did_you_mean

MOST_COUNT = 100_000
"""Of trials, candidates and the like."""


class Option(NamedTuple):
    """What an option may be."""

    words: str
    takes: Callable[[Any], bool]
    usual: Any
    """Optuna's own value; None where it chooses."""


def _whole(least: int, usual: int, *, most: int = MOST_COUNT) -> Option:
    words = f"a whole number from {least} to {most}"
    return Option(words, lambda value: type(value) is int and least <= value <= most, usual)


def _share(usual: float) -> Option:
    return Option("a number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1, usual)


def _positive(usual: float) -> Option:
    return Option("a number above 0", lambda value: _is_number(value) and 0 < value < float("inf"), usual)


def _flag(usual: bool) -> Option:
    return Option("true or false", lambda value: isinstance(value, bool), usual)


def _one_of(*names: str) -> Option:
    return Option(" or ".join(names), lambda value: value in names, names[0])


def _or_null(option: Option) -> Option:
    return Option(f"{option.words}, or null", lambda value: value is None or option.takes(value), None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_point(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) and _is_number(each) for key, each in value.items())


_WARNS = {"warn_independent_sampling": _flag(True)}
_POPULATION = {
    "population_size": _whole(2, 50),
    "mutation_prob": _or_null(_share(0.1)),
    "crossover_prob": _share(0.9),
    "swapping_prob": _share(0.5),
}
OPTIONS: Mapping[str, Mapping[str, Option]] = {
    "bruteforce": {"avoid_premature_stop": _flag(False)},
    "cmaes": {
        "x0": _or_null(Option("a mapping of axes to numbers", _is_point, None)),
        "sigma0": _or_null(_positive(0.1)),
        "n_startup_trials": _whole(0, 1),
        "consider_pruned_trials": _flag(False),
        "popsize": _or_null(_whole(3, 8)),
        "use_separable_cma": _flag(False),
        "lr_adapt": _flag(False),
        **_WARNS,
    },
    "gp": {"n_startup_trials": _whole(0, 10), "deterministic_objective": _flag(False), **_WARNS},
    "nsgaii": _POPULATION,
    "nsgaiii": {**_POPULATION, "dividing_parameter": _whole(1, 3, most=100)},
    "qmc": {
        "qmc_type": _one_of("sobol", "halton"),
        "scramble": _flag(False),
        "warn_asynchronous_seeding": _flag(True),
        **_WARNS,
    },
    "random": {},
    "tpe": {
        "n_startup_trials": _whole(0, 10),
        "n_ei_candidates": _whole(1, 24),
        "prior_weight": _or_null(_positive(1.0)),
        "consider_prior": _or_null(_flag(True)),
        "consider_magic_clip": _or_null(_flag(True)),
        "consider_endpoints": _or_null(_flag(False)),
        "multivariate": _or_null(_flag(False)),
        "group": _flag(False),
        "constant_liar": _flag(True),
        "warn_independent_sampling": _or_null(_flag(True)),
    },
}
"""By sampler."""
OBJECTS = frozenset(
    {
        "after_trial_strategy",
        "child_generation_strategy",
        "constraints_func",
        "crossover",
        "elite_population_selection_strategy",
        "gamma",
        "independent_sampler",
        "mutation",
        "reference_points",
        "source_trials",
        "weights",
    }
)
"""Options that take objects of Python, which no file can give."""
NOT_TAKEN = {
    "seed": "write `seed` beside `sampler`",
    "with_margin": "leave it out: its state holds more of a trial than its values, which are all that the ledger has",
    "restart_strategy": "leave it out: Optuna no longer has it",
    "inc_popsize": "leave it out: Optuna no longer has it",
}
"""Options that a file could give and must not, with the remedy."""


_APART = {
    "tpe": (("group", True), ("multivariate", False)),
    "cmaes": (("lr_adapt", True), ("use_separable_cma", True)),
}
"""Two values that a sampler does not take together."""


def option_faults(sampler: str, options: Mapping[str, Any]) -> list[str]:
    """What is wrong with each option of a sampler, and with two together: rule, value and remedy."""
    faults = [fault for name, value in options.items() if (fault := _fault(sampler, name, value))]
    pair = _APART.get(sampler, ())
    if pair and all(name in options and options[name] is value for name, value in pair):
        both = " and ".join(f"{name}: {str(value).lower()}" for name, value in pair)
        faults.append(f"`options` of sampler {sampler} must not have both, got {both}; leave one of them out")
    return faults


def _fault(sampler: str, name: str, value: Any) -> str:
    known = OPTIONS[sampler]
    if name in NOT_TAKEN:
        return f"`options` must not name {name}, got {name}={value}; {NOT_TAKEN[name]}"
    if name in OBJECTS:
        return f"`options` must be plain values, got {name}, which takes an object of Python; leave it out"
    if name not in known:
        remedy = did_you_mean(name, known, otherwise=f"it has {', '.join(known) or 'none'}")
        return f"`options` must be those of sampler {sampler}, got {name!r}; {remedy}"
    option = known[name]
    if option.takes(value):
        return ""
    remedy = "leave it out" if option.usual is None else f"Optuna's own is {str(option.usual).lower()}"
    return f"`{name}` of sampler {sampler} must be {option.words}, got {value!r}; {remedy}"
