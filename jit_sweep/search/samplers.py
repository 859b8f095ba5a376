"""Optuna's samplers by their short names, with the options that a sweep file gives them."""

import importlib.util
import inspect
import warnings
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, RandomSampler

from jit_sweep.errors import UserError
from jit_sweep.spec.stages import SearchSpec

REPLAYED = frozenset({"cmaes", "nsgaii", "nsgaiii", "qmc"})
"""Samplers that keep state in the study beside the trials (a generation, a place in a sequence) and go on from it: their
studies are rebuilt by asking for every trial once more, in order."""
_PACKAGES = {"cmaes": "cmaes"}
"""What a sampler needs beside Optuna."""


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
        for category in (ExperimentalWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
        return sampler_classes()[search.sampler](**search.options, **seeds)


def check_sampler(search: SearchSpec) -> None:
    """Build a search's sampler once. UserError: its package is missing, or this Optuna does not take its options."""
    package = _PACKAGES.get(search.sampler)
    if package is not None and importlib.util.find_spec(package) is None:
        rule = f"`sampler` {search.sampler} needs the package {package}, which is not installed"
        raise UserError(f"{rule}; install it, or write sampler: tpe")
    try:
        sampler(search, draws=0)
    except (ValueError, TypeError) as error:
        raise UserError(f"`options` of sampler {search.sampler} must be what it takes, got {search.options}: {error}") from None


def _options(cls: type[BaseSampler]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(cls).parameters)


def _is_ready(cls: type[BaseSampler]) -> bool:
    """Whether it can be made, with nothing given."""
    needed = [option for option in _options(cls).values() if option.default is inspect.Parameter.empty]
    return not inspect.isabstract(cls) and not needed


def _short(cls: type[BaseSampler]) -> str:
    return cls.__name__.removesuffix("Sampler").lower()
