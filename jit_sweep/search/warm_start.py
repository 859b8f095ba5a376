"""What a search may use of earlier sweeps: scored trials inside its space whose scores mean the same."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from jit_sweep.errors import UserError
from jit_sweep.ledger.differences import changes
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.plan.entry import recipe_id
from jit_sweep.results.arms import TrialResult, with_scores
from jit_sweep.results.objectives import mean_values, objectives_of
from jit_sweep.search.history import Observation, outcome_of
from jit_sweep.spec.stages import SearchSpec
from jit_sweep.spec.sweep import EvaluationSpec
from search_spaces.axes import AXES
from search_spaces.axis import AxisValue
from search_spaces.cells import axis_values, in_order
from trainables.config.evaluation import RECORDED, GuidingClassifier
from trainables.config.recipe import Recipe

_log = logging.getLogger(__name__)
SHARED = ("data", "objective", "evaluation", "maths_version")
"""Keys of a sweep's identity that two sweeps must share for their scores to mean the same."""

_OUTCOMES = ("scored", "infeasible")
"""What an earlier trial must have come to, to be told."""


def warm_observations(
    reader: LedgerReader, sweep: str, search: SearchSpec, *, start: Recipe, images: int, identity: Mapping[str, Any]
) -> list[Observation]:
    """An earlier sweep's scored trials inside the space of a search from `start`, at its `images` and by its evaluation, each
    as the mean over its seeds. `identity` is that of the sweep that asks.

    UserError: the ledger has no such sweep, or its scores mean something else.
    """
    _check(reader, sweep, identity=identity)
    names = objectives_of(search, str(identity["objective"]))
    evaluation = EvaluationSpec.model_validate({**RECORDED, **identity["evaluation"]})
    groups: dict[tuple[str, str], list[TrialResult]] = {}
    for trial in with_scores(reader.entries(sweep), reader.scores(sweep)):
        if trial.entry.images == images and outcome_of(trial, names) in _OUTCOMES:
            groups.setdefault((recipe_id(trial.entry.trial), trial.entry.evaluation_id), []).append(trial)
    observations = [
        _observation(values, seeds, names)
        for seeds in groups.values()
        if (values := _values(seeds[0], search, start, evaluation)) is not None
    ]
    if not observations:
        _log.warning("warm_start: %s has no scored trial inside the search's space at %s images", sweep, images)
    return observations


def _observation(values: Mapping[str, AxisValue], seeds: Sequence[TrialResult], objectives: Sequence[str]) -> Observation:
    """The mean over the seeds; infeasible where one of them collapsed."""
    if any(seed.collapsed for seed in seeds):
        return Observation(values, "infeasible")
    return Observation(values, "scored", mean_values(objectives, seeds) or ())


def check_warm_start(reader: LedgerReader, search: SearchSpec, *, identity: Mapping[str, Any]) -> None:
    """UserError: the ledger has no such sweep, or the scores of one mean something else."""
    for sweep in search.warm_start:
        _check(reader, sweep, identity=identity)


def _check(reader: LedgerReader, sweep: str, *, identity: Mapping[str, Any]) -> None:
    theirs = reader.sweep(sweep).identity
    if differing := changes({key: theirs.get(key) for key in SHARED}, {key: identity.get(key) for key in SHARED}):
        rule = f"`warm_start` must name sweeps that share {', '.join(SHARED)}, got {sweep!r}"
        raise UserError(f"{rule}, where {'; '.join(map(str, differing))}; leave it out, or make them equal")


def _values(trial: TrialResult, search: SearchSpec, start: Recipe, evaluation: EvaluationSpec) -> dict[str, AxisValue] | None:
    """A trial as a proposal of this search, scored as this search would; None where it is none."""
    config = trial.entry.trial
    values = {name: value for name, value in axis_values(config, trial.entry.evaluation).items() if name in search.axes}
    resolved = evaluation.resolved(t_eps_sample=config.diffusion.t_eps_train, weights=config.rung_weights)
    guide = evaluation.classifier.model_dump() if isinstance(evaluation.classifier, GuidingClassifier) else None
    tree = {**start.model_dump(), "evaluation": {**resolved.model_dump(), "classifier": guide}}
    for name in in_order(search.axes):
        if AXES[name].exists(tree) != (name in values):
            return None
        if name in values:
            AXES[name].slot.put(tree, values[name])
    same = tree["evaluation"] == trial.entry.evaluation.model_dump()
    return values if same and search.holds(values) else None
