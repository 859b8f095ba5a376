"""An Optuna study in memory, as it would be had its sampler proposed every trial itself."""

from collections.abc import Sequence
from functools import partial

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from jit_sweep.search.history import Observation
from jit_sweep.search.samplers import REPLAYED
from jit_sweep.search.space import distribution, suggested
from jit_sweep.spec.stages import SearchSpec
from search_spaces.cells import in_order
from trainables.evaluation.metrics.registry import Direction, loss

CONSTRAINT = "can be trained"
"""Above 0 for what diverged, collapsed or is too large. TPE, GP, NSGA-II and NSGA-III read it, of trials that did not fail."""
_MET = {"scored": -1.0, "pruned": -1.0, "diverged": 1.0, "infeasible": 1.0}
"""The constraint's value by outcome."""
_STATES = {
    "running": TrialState.RUNNING,
    "scored": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "diverged": TrialState.COMPLETE,
    "infeasible": TrialState.COMPLETE,
    "failed": TrialState.FAIL,
}


def rebuilt(
    search: SearchSpec, observations: Sequence[Observation], *, directions: Sequence[Direction], sampler: BaseSampler
) -> optuna.Study:
    """A study that holds a trial for each observation, in their order."""
    study = optuna.create_study(directions=directions, sampler=sampler)
    stand_in = worst(observations, directions=directions)
    if search.sampler in REPLAYED:
        for observation in observations:
            _replay(study, search, observation, worst=stand_in)
    else:
        study.add_trials([_frozen(search, observation, worst=stand_in) for observation in observations])
    return study


def worst(observations: Sequence[Observation], *, directions: Sequence[Direction]) -> list[float]:
    """The worst value seen in each objective; 0 before any.

    It stands in the study for what has no score but a broken constraint: samplers that know constraints do not look at it but
    for GP's model of the objective, and CMA-ES, which knows none, ranks it last.
    """
    scored = [observation.scores for observation in observations if observation.outcome == "scored"]
    if not scored:
        return [0.0] * len(directions)
    columns = zip(directions, zip(*scored, strict=True), strict=True)
    return [max(column, key=partial(loss, direction=direction)) for direction, column in columns]


def refuse(study: optuna.Study, search: SearchSpec, trial: optuna.Trial, *, excess: float, worst: Sequence[float]) -> None:
    """Tell the sampler that its proposal is above a limit, by this share of it."""
    _constrain(trial, search, excess)
    study.tell(trial, list(worst))


def _frozen(search: SearchSpec, observation: Observation, *, worst: Sequence[float]) -> FrozenTrial:
    params, met = {name: observation.values[name] for name in in_order(observation.values)}, _MET.get(observation.outcome)
    return create_trial(
        state=_STATES[observation.outcome],
        values=_values(observation, worst=worst),
        params=params,
        distributions={name: distribution(search.axes[name]) for name in params},
        intermediate_values=_levels(observation, objectives=len(worst)),
        constraints=None if met is None else {CONSTRAINT: met},
    )


def _replay(study: optuna.Study, search: SearchSpec, observation: Observation, *, worst: Sequence[float]) -> None:
    """Ask for a trial whose values are given and tell what came of it, so that the sampler writes its state."""
    study.enqueue_trial({name: observation.values[name] for name in in_order(observation.values)})
    trial = study.ask()
    write_state(trial)
    for name in in_order(observation.values):
        suggested(trial, name, search.axes[name])
    _constrain(trial, search, _MET.get(observation.outcome))
    for images, value in _levels(observation, objectives=len(worst)).items():
        trial.report(value, images)
    if observation.outcome != "running":
        study.tell(trial, _values(observation, worst=worst), state=_STATES[observation.outcome])


def write_state(trial: optuna.Trial) -> None:
    """Make the sampler write its state into the study, as it does when a trial's relative parameters are first read."""
    assert trial.relative_params is not None


def _values(observation: Observation, *, worst: Sequence[float]) -> list[float] | None:
    if observation.outcome == "scored":
        return list(observation.scores)
    return list(worst) if observation.outcome in ("diverged", "infeasible") else None


def _constrain(trial: optuna.Trial, search: SearchSpec, value: float | None) -> None:
    if value is not None and search.sampler != "cmaes":  # which warns of what it does not use
        trial.set_constraint(CONSTRAINT, value)


def _levels(observation: Observation, *, objectives: int) -> dict[int, float]:
    """Optuna knows intermediate values of a single objective only."""
    return dict(observation.levels) if objectives == 1 else {}
