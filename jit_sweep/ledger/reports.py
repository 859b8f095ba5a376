"""What each kind of report changes in the ledger."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from sqlalchemy import Connection, select

from jit_sweep.ledger import attempts, entries, events, schema, verdicts
from jit_sweep.ledger.attempts import AttemptEnd
from jit_sweep.ledger.connect import insert_new
from jit_sweep.ledger.records import TRAINED, AttemptRow, Cause, EntryState
from jit_sweep.ledger.verdicts import Judge
from trainables.evaluation.metrics.registry import ScoredWeights
from trainables.report import ASKED_TO_STOP, Activity, Committed, Decision, Ended, Phase, Progress, Report, Rung, Scored


@cache
def code_version() -> str:
    """The installed version of this project, which a score is recorded with."""
    try:
        return version("jit-sweep")
    except PackageNotFoundError:  # travelled to the cluster as source
        return "source"


def apply(
    connection: Connection,
    attempt: AttemptRow,
    report: Report,
    *,
    sequence: int,
    judge: Judge,
    now: float,
    too_dear: str = "",
) -> Decision:
    """Record a report of the trial's current attempt and answer it. `too_dear`: why it may not go on past a rung by the budget,
    empty where it may."""
    activity = report.model_dump(mode="json") if isinstance(report, Activity) else None
    attempts.set_values(connection, attempt, images=max(attempt.images, report.images), activity=activity, updated_at=now)
    events.append(
        connection,
        report,
        sweep=attempt.sweep,
        at=now,
        trial_id=attempt.trial_id,
        attempt=attempt.number,
        sequence=sequence,
    )
    match report:
        case Phase():
            attempts.set_values(connection, attempt, micro_batch=report.micro_batch, images=report.images)
            if report.images < (attempt.checkpoint_images or 0):  # its checkpoint is gone, and it begins anew
                attempts.set_values(connection, attempt, checkpoint=None, checkpoint_images=None)
        case Progress():
            _progress(connection, attempt, report)
        case Rung():
            return _rung(connection, attempt, report, sequence=sequence, judge=judge, now=now, too_dear=too_dear)
        case Committed():
            attempts.set_values(connection, attempt, checkpoint=report.uri, checkpoint_images=report.images)
        case Scored():
            _scored(connection, attempt, report, now=now)
        case Ended():
            _ended(connection, attempt, report, judge=judge, now=now)
            judge.judge(connection, attempt.sweep, now=now, trial_id=attempt.trial_id)
    return Decision()


def _progress(connection: Connection, attempt: AttemptRow, report: Progress) -> None:
    if report.images < attempt.images:  # delivered late
        return
    now_known = {"step": report.step, "loss": report.loss, "images_per_second": report.images_per_second}
    attempts.set_values(connection, attempt, **now_known)


def _rung(
    connection: Connection,
    attempt: AttemptRow,
    report: Rung,
    *,
    sequence: int,
    judge: Judge,
    now: float,
    too_dear: str,
) -> Decision:
    """Record what a rung measured, judge what is due by it, and answer."""
    measured = {"trial_id": attempt.trial_id, "attempt": attempt.number, "images": report.images, "created_at": now}
    weights: Mapping[ScoredWeights, Mapping[str, float]] = {"evaluated": report.values, "raw": report.raw_values}
    values = [
        {**measured, "metric": metric, "weights": which, "value": value}
        for which, values in weights.items()
        for metric, value in values.items()
    ]
    insert_new(connection, schema.rung_value, values)
    judge.judge(connection, attempt.sweep, now=now, trial_id=attempt.trial_id)
    decision = verdicts.answer(connection, attempt, report.images, decider=judge.decider)
    if too_dear and decision.verdict == "go_on":
        decision = Decision(verdict="pause", reason=f"{decision.reason}; but {too_dear}")
    answer = {"sequence": sequence, "verdict": decision.verdict, "reason": decision.reason}
    insert_new(connection, schema.decision, [{**measured, **answer}])
    return decision


def _scored(connection: Connection, attempt: AttemptRow, report: Scored, *, now: float) -> None:
    row = {
        "trial_id": attempt.trial_id,
        "images": report.images,
        "evaluation_id": report.evaluation,
        "n": report.n,
        "values": report.values,
        "raw_values": report.raw_values,
        "without_each": report.without_each,
        "raw_without_each": report.raw_without_each,
        "grid": report.grid,
        "collapsed": report.collapsed,
        "attempt": attempt.number,
        "code_version": code_version(),
        "created_at": now,
    }
    insert_new(connection, schema.score, [row])
    if report.heldout:
        digest = connection.scalar(select(schema.trial.c.data_digest).where(schema.trial.c.id == attempt.trial_id))
        key = {"data_digest": digest, "n": report.n, "evaluation_id": report.evaluation}
        real = {**key, "values": report.heldout, "rows": report.rows, "created_at": now}
        insert_new(connection, schema.heldout, [real])


def _ended(connection: Connection, attempt: AttemptRow, report: Ended, *, judge: Judge, now: float) -> None:
    if report.outcome in ("paused", "stopped"):
        verdicts.leave(connection, attempt, report.images, decider=judge.decider, now=now)
    reached = attempt._replace(images=max(attempt.images, report.images))
    attempts.close(connection, reached, _ending(connection, attempt, report), now=now)


def _ending(connection: Connection, attempt: AttemptRow, report: Ended) -> AttemptEnd:
    seconds = {"train": report.train_s, "evaluation": report.evaluation_s, "checkpoint": report.checkpoint_s}
    seconds["data"] = report.data_s
    match report.outcome:
        case "diverged":
            return AttemptEnd("diverged", EntryState.DIVERGED, Cause.DIVERGED, report.cause, report.first_bad_step, seconds)
        case "done":
            missing = entries.is_unscored(connection, attempt)
            cause, detail = (Cause.BUG, "the trainer ended as done without this score") if missing else (None, "")
            return AttemptEnd("done", EntryState.FAILED, cause, detail, seconds=seconds)
        case "trained":
            return AttemptEnd("trained", EntryState.WAITING, None, "", seconds=seconds, why=TRAINED)
        case "paused" | "stopped":
            cause = Cause.CANCELLED if report.cause == ASKED_TO_STOP else None
            return AttemptEnd(report.outcome, EntryState.PAUSED, cause, report.cause, seconds=seconds)
