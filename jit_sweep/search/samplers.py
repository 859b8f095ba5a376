"""Optuna's samplers by their short names, with the options that a sweep file gives them."""

import importlib.util
import inspect
import warnings
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, RandomSampler
from pydantic import ConfigDict, TypeAdapter, ValidationError

from jit_sweep.errors import UserError
from jit_sweep.spec.stages import SearchSpec
from trainables.config.spelling import did_you_mean

REPLAYED = frozenset({"cmaes", "nsgaii", "nsgaiii", "qmc"})
"""Samplers that keep state in the study beside the trials (a generation, a place in a sequence) and go on from it: their
studies are rebuilt by asking for every trial once more, in order."""
_UNREPLAYABLE = frozenset({"with_margin"})
"""Options for which a sampler's state holds more of a trial than its values, which are all that the ledger has."""
_PACKAGES = {"cmaes": "cmaes"}
"""What a sampler needs beside Optuna."""
_PLAIN = {"int": int, "float": float, "bool": bool, "str": str, "None": None, "dict[str, Any]": dict[str, Any]}
"""Annotations of options that a file can give."""


def sampler_classes() -> dict[str, type[BaseSampler]]:
    """Optuna's concrete samplers that need no argument, by short name."""
    public: list[Any] = [getattr(optuna.samplers, name) for name in optuna.samplers.__all__]
    classes = [member for member in public if isinstance(member, type) and issubclass(member, BaseSampler)]
    return {_short(cls): cls for cls in classes if _is_ready(cls)}


def sampler(search: SearchSpec, *, draws: int) -> BaseSampler:
    """Seeded by the search and by how often it was asked, so that a resumed search does not repeat its draws."""
    first = search.seed * 100_003
    seeds: dict[str, Any] = {"seed": (first + draws) % 2**32}
    if search.sampler == "qmc":  # its own seed names the whole sequence, and not one draw
        seeds = {"seed": first % 2**32, "independent_sampler": RandomSampler(**seeds)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return sampler_classes()[search.sampler](**search.options, **seeds)


def check_sampler(search: SearchSpec) -> None:
    """Build a search's sampler once. UserError: its package is missing, or it does not take its options."""
    package = _PACKAGES.get(search.sampler)
    if package is not None and importlib.util.find_spec(package) is None:
        rule = f"`sampler` {search.sampler} needs the package {package}, which is not installed"
        raise UserError(f"{rule}; install it, or write sampler: tpe")
    known = _options(sampler_classes()[search.sampler])
    for name, value in search.options.items():
        _check_option(search.sampler, known, name, value)
    try:
        sampler(search, draws=0)
    except (ValueError, TypeError) as error:
        raise UserError(f"`options` of sampler {search.sampler} must be what it takes, got {search.options}: {error}") from None


def _check_option(owner: str, known: dict[str, inspect.Parameter], name: str, value: Any) -> None:
    plain = {option: adapter for option in known if (adapter := _adapter(known[option])) is not None and option != "seed"}
    if name in _UNREPLAYABLE & known.keys():
        rule = f"`options` of sampler {owner} must go on from its trials' values alone"
        raise UserError(f"{rule}, got {name}; leave it out")
    if name in known and name not in plain:
        raise UserError(f"`options` of sampler {owner} must be plain values, got {name}, which takes an object of Python")
    if name not in plain:
        remedy = did_you_mean(name, plain, otherwise=f"it has {', '.join(plain) or 'none'}")
        raise UserError(f"`options` of sampler {owner} must be its own, got {name!r}; {remedy}")
    try:
        plain[name].validate_python(value)
    except ValidationError as error:
        rule = error.errors()[0]["msg"]
        raise UserError(f"`options.{name}` of sampler {owner}: {rule}, got {value!r}") from None


def _adapter(option: inspect.Parameter) -> TypeAdapter[Any] | None:
    """What checks an option's value; None where no file can give one. Optuna's annotations are strings."""
    parts = str(option.annotation).split(" | ")
    if not all(part in _PLAIN for part in parts):
        return None
    kind: Any = _PLAIN[parts[0]]
    for part in parts[1:]:
        kind = kind | _PLAIN[part]
    return TypeAdapter(kind, config=ConfigDict(strict=True, allow_inf_nan=False))


def _options(cls: type[BaseSampler]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(cls).parameters)


def _is_ready(cls: type[BaseSampler]) -> bool:
    """Whether it can be made, with nothing given."""
    needed = [option for option in _options(cls).values() if option.default is inspect.Parameter.empty]
    return not inspect.isabstract(cls) and not needed


def _short(cls: type[BaseSampler]) -> str:
    return cls.__name__.removesuffix("Sampler").lower()
