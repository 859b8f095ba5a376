"""Which axes of a search mattered: PED-ANOVA's importances (Watanabe et al., 2023), with intervals over resampled proposals."""

import warnings
from collections.abc import Mapping, Sequence
from random import Random
from typing import NamedTuple

from jit_sweep.search.history import Observation
from jit_sweep.spec.stages import SearchSpec
from trainables.evaluation.metrics.registry import Direction

LEAST_PROPOSALS = 10
"""Scored proposals below which the best tenth is no sample."""
RESAMPLES = 30
MOST_DRAWN = 300
"""Proposals of a resample: of more, intervals are as wide as of so many."""


class Importance(NamedTuple):
    """An axis' share in what makes a proposal one of the best tenth; the shares sum to 1."""

    axis: str
    share: float
    low: float
    high: float
    """Of 90 % over resamples of the proposals."""


def importances(search: SearchSpec, observations: Sequence[Observation], *, direction: Direction) -> list[Importance]:
    """Each axis' importance to a search's first objective, the largest first; none of fewer than `LEAST_PROPOSALS`."""
    scored = [each for each in observations if each.outcome == "scored"]
    if len(scored) < LEAST_PROPOSALS or len({each.scores[0] for each in scored}) < 2:
        return []
    whole = _shares(search, scored, direction)
    draws = Random(0)
    again = [_shares(search, draws.choices(scored, k=min(len(scored), MOST_DRAWN)), direction) for _ in range(RESAMPLES)]
    found = []
    for axis, share in whole.items():
        seen = sorted(each.get(axis, 0.0) for each in again)
        found.append(Importance(axis, share, min(share, seen[1]), max(share, seen[-2])))
    return sorted(found, key=lambda each: -each.share)


def _shares(search: SearchSpec, scored: Sequence[Observation], direction: Direction) -> Mapping[str, float]:
    import optuna  # slow to import, and wanted by few reports
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.trial import create_trial

    from jit_sweep.search.space import distribution

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction=direction)
    spaces = {axis: distribution(space) for axis, space in search.axes.items()}
    study.add_trials(
        [
            create_trial(
                value=each.scores[0], params=dict(each.values), distributions={axis: spaces[axis] for axis in each.values}
            )
            for each in scored
        ]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the evaluator is new, and that an axis never varied
        return dict(get_param_importances(study, evaluator=PedAnovaImportanceEvaluator()))
