"""The trials of an Optuna study that this program did not write, as rows of columns and scores."""

import optuna
from optuna.trial import FrozenTrial, TrialState

from jit_sweep.errors import UserError
from jit_sweep.redact import redact, redact_all
from jit_sweep.results.foreign import ForeignRun
from jit_sweep.spec.uri import sqlite_path
from trainables.config.spelling import did_you_mean

VALUE = "value"
"""Names the study's objective among the scores."""


def foreign_trials(storage: str, study: str) -> tuple[list[ForeignRun], bool]:
    """A study's trials in order: parameters and user attributes as columns, numbers among the attributes as scores too, of
    which those with a fraction are results; and whether its objective is to be maximised.

    UserError: there is no such storage or study.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    file = sqlite_path(storage)
    if file is not None and not file.is_file():
        raise UserError(f"`--optuna` must be the storage of a study, got {storage}, where there is no file; give its URL")
    try:
        names = sorted(optuna.get_all_study_names(storage))
    except Exception as error:  # noqa: BLE001 (a database's driver raises its own)
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        told = f"{redact(storage)} ({redact_all(reason, uri=storage)})"
        raise UserError(f"`--optuna` must be the storage of a study, got {told}; give its URL") from None
    if study not in names:
        remedy = did_you_mean(study, names, otherwise=f"it has {', '.join(names) or 'none'}")
        raise UserError(f"`--study` must be one of the storage's, got {study!r}; {remedy}")
    loaded = optuna.load_study(study_name=study, storage=storage)
    maximize = len(loaded.directions) == 1 and loaded.directions[0] is optuna.study.StudyDirection.MAXIMIZE
    return [_row(trial) for trial in loaded.get_trials(deepcopy=False)], maximize


def _row(trial: FrozenTrial) -> ForeignRun:
    columns = {name: str(value) for name, value in {**trial.params, **trial.user_attrs}.items()}
    numbers = {name: float(value) for name, value in trial.user_attrs.items() if isinstance(value, int | float)}
    values = trial.values or []
    scores = {**numbers, **({VALUE: values[0]} if len(values) == 1 else {})} if trial.state is TrialState.COMPLETE else {}
    measured = frozenset(
        name for name, value in trial.user_attrs.items() if isinstance(value, float) and name not in trial.params
    )
    return ForeignRun(f"trial {trial.number}", columns, scores, trial.state.is_finished(), measured)
