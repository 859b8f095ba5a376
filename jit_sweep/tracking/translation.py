"""What the ledger's rows are called in MLflow: pure functions, with no client in them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mlflow.entities import Metric, Param, RunStatus, RunTag

from jit_sweep.ledger.event_records import EventRow, Tuned
from jit_sweep.ledger.records import LOST, SETTLED, EntryRow, EntryState, ScoreRow, SweepState
from jit_sweep.redact import redact
from jit_sweep.results.words import short_label
from search_spaces.cells import arm_label
from trainables.networks.cost import forward_flops, parameter_count
from trainables.report import Committed, Phase, Progress, Rung, Scored, SetBack

FLOPS_PER_GFLOP = 1e9
_PROGRESS = {"loss", "images_per_second", "flops", "mfu", "grad_norm", "data_wait"}
_PHASE = {"start", "parent", "device", "host", "cpus", "cuda", "workers", "micro_batch", "activation_checkpointing"}
SYSTEM_PREFIX = "system"
"""MLflow's pages show what stands below it apart, as system metrics."""
RETIRED = "retired"
"""The state of what the sweep file plans no more."""
ERROR_PREFIX = "standard_error"
RUNG_PREFIX = "rung"
"""A rung's values stand apart from the scores of the same name, which are taken at the end."""


class Variant(NamedTuple):
    """What has a run of its own: a trial as scored by one evaluation. Nearly always there is one for each trial."""

    trial_id: str
    evaluation_id: str


def variant(entry: EntryRow) -> Variant:
    """The run that an entry belongs to; entries of several stages or budgets may share one."""
    return Variant(entry.trial_id, entry.evaluation_id)


def run_name(entry: EntryRow) -> str:
    """The entry's cell, numbers as short as people want them, and seed."""
    return f"{short_label(entry.arm)} seed={entry.seed}"


def fixed_tags(entry: EntryRow) -> dict[str, str]:
    """What is known of a trial before it starts."""
    axes = {axis: "none" if value is None else str(value) for axis, value in entry.arm.items()}
    return {
        **axes,
        "sweep": entry.sweep,
        "trial": entry.trial_id,
        "evaluation": entry.evaluation_id,
        "arm": arm_label(entry.arm),
        "stage": str(entry.stage),
        **({"base": arm_label(entry.base)} if entry.base else {}),
        "seed": str(entry.seed),
        "origin": entry.origin,
    }


def params(entry: EntryRow) -> list[Param]:
    """The arm, the resolved configuration (the seed in it), how it is scored, and what it costs, as flat names."""
    trial = entry.trial
    cost = {
        "arm": arm_label(entry.arm),
        "tokens": trial.grid**2,
        "parameters": parameter_count(trial),
        "forward_gflops": forward_flops(trial) / FLOPS_PER_GFLOP,
    }
    values = {**flat(trial.model_dump(mode="json")), **flat(entry.evaluation.model_dump(mode="json"), "evaluation."), **cost}
    return [Param(name, str(value)) for name, value in values.items()]


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping's leaves by dotted path; named members of a list stand below their names."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, list) and value and all(isinstance(member, Mapping) and "name" in member for member in value):
            value = {member["name"]: {key: part for key, part in member.items() if key != "name"} for member in value}
        leaves |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return leaves


def points(event: EventRow) -> list[Metric]:
    """The metric points in an event: step is the images trained on, the time is the event's own.

    The same event always gives the same points, so that MLflow recognises those it has.
    """
    match report := event.content:
        case Progress():
            values = report.model_dump(include=_PROGRESS, exclude_none=True, exclude_unset=True)
            values |= _below(SYSTEM_PREFIX, report.system)
        case Rung():
            values = _below(RUNG_PREFIX, report.by_name)
        case Scored():
            values = report.by_name | _below(ERROR_PREFIX, report.errors)
        case _:
            return []
    return metrics(values, step=report.images, at=event.at)


def _below(prefix: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}/{name}": value for name, value in values.items()}


def event_tags(event: EventRow) -> dict[str, str]:
    """What an event says of a trial besides numbers; the last one of its kind stands."""
    match report := event.content:
        case Phase():
            return {name: str(value) for name, value in report.model_dump(include=_PHASE, exclude_none=True).items()}
        case SetBack():
            return {"set_back": f"from {report.had} to {report.images} images: {redact(report.why)}"}
        case Committed():
            return {"checkpoint": redact(report.uri), "checkpoint_images": str(report.images)}
        case Scored():
            return score_tags(collapsed=report.collapsed)
        case Tuned():
            return tuned_tags(report)
        case _:
            return {}


def tuned_tags(found: Tuned) -> dict[str, str]:
    """A network's confirmed score at its own best setting of sampling, at the shared one, and that setting."""
    views = {"best": found.best, "shared": found.shared}
    scores = {f"tuned.{name}.{found.metric}": f"{view.value:.6g}" for name, view in views.items() if view.value is not None}
    return scores | {f"tuned.{key}": str(found.best.evaluation[key]) for key in found.varied}


def score_tags(*, collapsed: bool) -> dict[str, str]:
    """What goes with a score."""
    return {"collapsed": str(collapsed).lower()}


def score_points(score: ScoreRow) -> list[Metric]:
    """A score as points, for one that another sweep made."""
    return metrics(score.by_name | _below(ERROR_PREFIX, score.errors), step=score.images, at=score.created_at)


def metrics(values: Mapping[str, float], *, step: int, at: float) -> list[Metric]:
    """Points at one step and time, in seconds since the epoch."""
    return [Metric(name, float(value), milliseconds(at), step) for name, value in values.items()]


def trial_status(entries: Sequence[EntryRow]) -> str:
    """MLflow's status of the run that these entries share: what still goes on comes first."""
    if all(entry.superseded and entry.state not in SETTLED | LOST for entry in entries):
        return str(RunStatus.to_string(RunStatus.KILLED))
    states = {entry.state for entry in entries}
    by_urgency = (
        (EntryState.RUNNING, RunStatus.RUNNING),
        (EntryState.WAITING, RunStatus.SCHEDULED),
        (EntryState.HELD, RunStatus.SCHEDULED),
        (EntryState.PAUSED, RunStatus.KILLED),
        (EntryState.OUT_OF_BUDGET, RunStatus.KILLED),
        (EntryState.PRUNED, RunStatus.KILLED),
        (EntryState.FAILED, RunStatus.FAILED),
        (EntryState.DIVERGED, RunStatus.FAILED),
    )
    statuses = (status for state, status in by_urgency if state in states)
    return str(RunStatus.to_string(next(statuses, RunStatus.FINISHED)))


def state_tags(entries: Sequence[EntryRow]) -> dict[str, str]:
    """How the entries of one run stand."""
    states = list(dict.fromkeys(RETIRED if entry.superseded else str(entry.state) for entry in entries))
    causes = list(dict.fromkeys(str(entry.cause) for entry in entries if entry.cause is not None))
    return {"state": ", ".join(states), "cause": ", ".join(causes)}


def sweep_status(state: SweepState) -> str:
    """MLflow's status of a sweep's own run; one that ended before its work was done counts as killed."""
    status = {
        SweepState.RUNNING: RunStatus.RUNNING,
        SweepState.DONE: RunStatus.FINISHED,
        SweepState.FAILED: RunStatus.FAILED,
    }
    return str(RunStatus.to_string(status.get(state, RunStatus.KILLED)))


def tags(values: Mapping[str, str]) -> list[RunTag]:
    """Tags as MLflow's records."""
    return [RunTag(name, value) for name, value in values.items()]


def milliseconds(at: float) -> int:
    """MLflow's times, from seconds since the epoch."""
    return round(at * 1000)
