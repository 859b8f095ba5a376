"""The next trial of a search: its sampler is asked until it proposes one that may be trained."""

from collections.abc import Callable, Mapping, Sequence

import optuna
from optuna.trial import TrialState

from jit_sweep.results.objectives import direction_of, objectives_of
from jit_sweep.search.history import Observation
from jit_sweep.search.samplers import REPLAYED, sampler
from jit_sweep.search.space import suggested
from jit_sweep.search.study import rebuilt, refuse, worst, write_state
from jit_sweep.spec.stages import SearchSpec
from search_spaces.axes import AXES
from search_spaces.axis import AxisValue
from search_spaces.cells import Cell, in_order, put
from search_spaces.quantities import excess
from trainables.config.recipe import Recipe
from trainables.config.trial import TrialConfig

MOST_REFUSED = 200
"""Proposals in a row that may not be trained before a space counts as empty."""


class NothingFits(ValueError):
    """The sampler has found nothing that makes a valid trial within the limits."""


def propose(
    search: SearchSpec,
    start: Recipe,
    observations: Sequence[Observation],
    *,
    objective: str,
    trial_of: Callable[[Cell], TrialConfig],
    images: int,
    again: int = 0,
) -> dict[str, AxisValue]:
    """The axis values of the next proposal. Conditional axes are asked for only where they exist; a running trial counts as
    pending, so that the sampler looks elsewhere.

    `trial_of` makes the trial of a cell, which trains on `images`. A proposal that makes none (ValueError), or is above a
    limit, is refused and never returned. `again` counts proposals that were thrown away as repetitions.

    NothingFits: the sampler was asked often enough.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    directions = [direction_of(name) for name in objectives_of(search, objective)]
    study = rebuilt(search, observations, directions=directions, sampler=sampler(search, draws=len(observations) + again))
    if search.sampler in REPLAYED:
        for _ in range(again):
            thrown_away = study.ask()
            write_state(thrown_away)
            study.tell(thrown_away, state=TrialState.FAIL)
    stand_in = worst(observations, directions=directions)
    for _ in range(MOST_REFUSED):
        trial = study.ask()
        values = _asked(trial, search, start)
        over = _over(search, start, values, trial_of, images=images)
        if over == 0:
            return values
        refuse(study, search, trial, excess=over, worst=stand_in)
    raise NothingFits(_nothing_fits(search))


def _asked(trial: optuna.Trial, search: SearchSpec, start: Recipe) -> dict[str, AxisValue]:
    """The sampler's values of the axes that exist, given those before."""
    tree = {**start.model_dump(), "evaluation": {}}
    values: dict[str, AxisValue] = {}
    for name in in_order(search.axes):
        if AXES[name].exists(tree):
            values[name] = suggested(trial, name, search.axes[name])
            AXES[name].slot.put(tree, values[name])
    return values


def _over(
    search: SearchSpec,
    start: Recipe,
    values: Mapping[str, AxisValue],
    trial_of: Callable[[Cell], TrialConfig],
    *,
    images: int,
) -> float:
    """By how much a proposal is over its limits, as a share of them; 1 where it makes no valid trial."""
    try:
        return sum(excess(search.limits, trial_of(put(start, values)), images=images).values())
    except ValueError:
        return 1.0


def _nothing_fits(search: SearchSpec) -> str:
    limits = ", ".join(f"{name}={most:g}" for name, most in search.limits.items()) or "none"
    rule = "a search must have valid trials within its limits"
    return f"{rule}, got none in {MOST_REFUSED} proposals, limits: {limits}; raise a limit, or widen an axis"
