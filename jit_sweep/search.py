"""Proposals by Optuna. The study lives in memory and is rebuilt from the ledger, which is the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import TrialState, create_trial

from jit_sweep.stages import Range, SearchSpec
from search_spaces.axes import AXES, AxisValue, put
from trainables.config import Recipe
from trainables.metrics import METRICS


@dataclass(frozen=True)
class Told:
    """A proposal seen before: its values, and its score unless it has none (yet, or for good)."""

    values: Mapping[str, AxisValue]
    score: float | None
    running: bool


def propose(search: SearchSpec, start: Recipe, told: Sequence[Told], *, objective: str, again: int = 0) -> dict[str, AxisValue]:
    """The axis values of the next trial. Conditional axes are asked for only where they exist; a running trial counts as
    pending, so that the sampler looks elsewhere. `again` counts proposals that were thrown away as repetitions."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction=METRICS[objective].direction, sampler=_sampler(search, draws=len(told) + again))
    for one in told:
        study.add_trial(_trial(search, one))
    trial = study.ask()
    values: dict[str, AxisValue] = {}
    for name in (name for name in AXES if name in search.axes):
        if AXES[name].exists(put(start, values).recipe.model_dump()):
            values[name] = _suggested(trial, name, search.axes[name])
    return values


def _sampler(search: SearchSpec, *, draws: int) -> BaseSampler:
    """Seeded by the search and by how often it was asked, so that a resumed search does not repeat its draws."""
    seed = (search.seed * 100_003 + draws) % 2**32
    samplers: dict[str, type[BaseSampler]] = {
        "tpe": optuna.samplers.TPESampler,
        "random": optuna.samplers.RandomSampler,
        "gp": optuna.samplers.GPSampler,
    }
    return samplers[search.sampler](seed=seed)  # type: ignore[call-arg]


def _trial(search: SearchSpec, told: Told) -> optuna.trial.FrozenTrial:
    distributions = {name: _distribution(search.axes[name]) for name in told.values}
    values: dict[str, Any] = dict(told.values)
    if told.running:
        return create_trial(state=TrialState.RUNNING, params=values, distributions=distributions)
    if told.score is None:
        return create_trial(state=TrialState.FAIL, params=values, distributions=distributions)
    return create_trial(value=told.score, params=values, distributions=distributions)


def _distribution(space: Range | tuple[AxisValue, ...]) -> BaseDistribution:
    if not isinstance(space, Range):
        return CategoricalDistribution(space)
    if isinstance(space.low, int) and isinstance(space.high, int):
        return IntDistribution(space.low, space.high, log=space.log)
    return FloatDistribution(float(space.low), float(space.high), log=space.log)


def _suggested(trial: optuna.Trial, name: str, space: Range | tuple[AxisValue, ...]) -> AxisValue:
    if not isinstance(space, Range):
        choice: AxisValue = trial.suggest_categorical(name, space)
        return choice
    if isinstance(space.low, int) and isinstance(space.high, int):
        return trial.suggest_int(name, space.low, space.high, log=space.log)
    return trial.suggest_float(name, float(space.low), float(space.high), log=space.log)
