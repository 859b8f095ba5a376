"""A sweep as an Optuna journal file, for optuna-dashboard and for Optuna's own analyses."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from jit_sweep.errors import UserError
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryRow, EntryState
from jit_sweep.results.arms import TrialResult, with_scores
from jit_sweep.results.objectives import direction_of, objectives_of, values_of
from jit_sweep.search.history import outcome_of
from jit_sweep.search.space import distribution
from jit_sweep.search.study import CONSTRAINT
from jit_sweep.spec.axis_spaces import Range
from jit_sweep.spec.stages import SearchStage, Stage
from jit_sweep.spec.stored import stored_spec
from search_spaces.axis import AxisValue
from search_spaces.cells import in_order
from trainables.evaluation.metrics.registry import measured_on_the_way

_STATES = {"running": TrialState.RUNNING, "scored": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
"""Of outcomes; all others are failures here, since they have no value."""
_UNBEGUN = frozenset({EntryState.WAITING, EntryState.OUT_OF_BUDGET})
Levels = Mapping[int, float]


class _Pages(BaseJournalBackend):
    """A journal in memory: the file is written in one go, and not once a trial."""

    def __init__(self) -> None:
        self.logs: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.logs.extend(logs)


def export_journal(reader: LedgerReader, sweep: str, file: Path) -> list[str]:
    """Write a study for each stage of a sweep, a trial for each of its entries; the studies' names.

    UserError: the ledger has no such sweep, or the file exists or cannot be made.
    """
    row = reader.sweep(sweep)
    spec = stored_spec(row.spec, sweep=sweep)
    trials = with_scores(reader.entries(sweep), reader.scores(sweep))
    levels: dict[str, dict[int, float]] = {}
    rungs = reader.rung_values(sweep)
    metric = measured_on_the_way(rung.name for rung in rungs)
    for rung in rungs:
        if rung.name == metric:
            levels.setdefault(rung.trial_id, {})[rung.images] = rung.value
    pages = _Pages()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = JournalStorage(pages)
    names = []
    for index, stage in enumerate(spec.stages):
        study = _new_study(storage, f"{sweep}/{index}", objectives := _objectives(stage, row.objective))
        own = [trial for trial in trials if trial.entry.stage == index]
        spaces = _distributions(stage, [trial.entry for trial in own])
        study.add_trials([_trial(trial, spaces, objectives, levels.get(trial.entry.trial_id, {})) for trial in own])
        names.append(study.study_name)
    _write(pages.logs, file)
    return names


def _objectives(stage: Stage, objective: str) -> tuple[str, ...]:
    return objectives_of(stage.search, objective) if isinstance(stage, SearchStage) else (objective,)


def _new_study(storage: JournalStorage, name: str, objectives: Sequence[str]) -> optuna.Study:
    directions = [direction_of(objective) for objective in objectives]
    study = optuna.create_study(storage=storage, study_name=name, directions=directions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(list(objectives))
    return study


def _distributions(stage: Stage, entries: Sequence[EntryRow]) -> dict[str, BaseDistribution]:
    """Each axis as the sweep file has it now, or as the values that were tried where it does not hold them all."""
    given: Mapping[str, Any] = stage.search.axes if isinstance(stage, SearchStage) else stage.design.axes
    tried: dict[str, list[AxisValue]] = {}
    for entry in entries:
        for name, value in entry.arm.items():
            tried.setdefault(name, []).append(value)
    return {name: _distribution(given.get(name, ()), values) for name, values in tried.items()}


def _distribution(space: Range | tuple[AxisValue, ...], tried: Sequence[AxisValue]) -> BaseDistribution:
    if isinstance(space, Range):
        return distribution(space) if all(map(space.holds, tried)) else CategoricalDistribution(tuple(dict.fromkeys(tried)))
    return CategoricalDistribution(tuple(dict.fromkeys([*space, *tried])))


def _trial(
    trial: TrialResult, spaces: Mapping[str, BaseDistribution], objectives: Sequence[str], levels: Levels
) -> FrozenTrial:
    entry, outcome = trial.entry, outcome_of(trial, objectives)
    state = TrialState.WAITING if entry.state in _UNBEGUN else _STATES.get(outcome, TrialState.FAIL)
    params = {name: entry.arm[name] for name in in_order(entry.arm)}
    frozen = create_trial(
        state=state,
        values=values_of(objectives, trial) if outcome == "scored" else None,
        params=params,
        distributions={name: spaces[name] for name in params},
        intermediate_values=dict(levels) if len(objectives) == 1 else None,
        user_attrs=_attributes(entry),
        constraints={CONSTRAINT: 1.0} if outcome in ("diverged", "infeasible") else None,
    )
    _date(frozen, entry)
    return frozen


def _attributes(entry: EntryRow) -> dict[str, Any]:
    cause = {"cause": str(entry.cause), "detail": entry.detail} if entry.cause is not None else {}
    named = {"trial": entry.trial_id, "seed": entry.seed, "cell": dict(entry.arm), "state": str(entry.state)}
    return {**named, "images": entry.images, "evaluation": entry.evaluation_id, **cause}


def _date(frozen: FrozenTrial, entry: EntryRow) -> None:
    """When the last attempt began and ended; a score from another sweep was there when the entry was last changed."""
    if frozen.state is TrialState.WAITING:
        return
    attempt = entry.attempt
    frozen.datetime_start = datetime.fromtimestamp(attempt.started_at if attempt else entry.updated_at)
    if frozen.state.is_finished():
        frozen.datetime_complete = datetime.fromtimestamp(
            attempt.ended_at or attempt.updated_at if attempt else entry.updated_at
        )


def _write(logs: list[dict[str, Any]], file: Path) -> None:
    try:
        with file.open("x"):
            pass
    except FileExistsError:
        raise UserError(f"the journal must be a new file, got {file}, which exists; give another name") from None
    except OSError as error:
        raise UserError(f"the journal must be a file that can be made, got {file} ({error.strerror}); give another") from None
    JournalFileBackend(str(file)).append_logs(logs)
