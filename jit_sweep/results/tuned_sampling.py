"""Arms whose trained networks chose their own setting of sampling, beside the setting that all share."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jit_sweep.ledger.event_records import Tuned, TunedView
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryRow, EntryState
from jit_sweep.results.arms import Arm, TrialResult
from jit_sweep.spec.sweep import SweepSpec
from jit_sweep.statistics.student_t import mean
from trainables.evaluation.metrics.registry import metric_of


@dataclass(frozen=True)
class TunedArm:
    """Means over an arm's tuned seeds, of fresh noise that nothing was chosen by."""

    arm: Mapping[str, Any]
    label: str
    seeds: int
    metric: str
    shared: float | None
    """At the setting that all arms share; None where a seed has no score."""
    best: float | None
    """Of each seed at its own best setting."""
    settings: str
    """Those that were chosen, in words."""


def tuned_arms(arms: Sequence[Arm], tuned: Mapping[str, Tuned]) -> list[TunedArm]:
    """The arms of which a trial was tuned, the best first."""
    of_arm = [(arm, [tuned[trial.entry.trial_id] for trial in arm.trials if is_tuned(trial, tuned)]) for arm in arms]
    found = [_tuned_arm(arm, records) for arm, records in of_arm if records]
    return sorted(found, key=lambda each: math.inf if each.best is None else metric_of(each.metric).loss(each.best))


def is_tuned(trial: TrialResult, tuned: Mapping[str, Tuned]) -> bool:
    """Whether its search was of the weights and the setting that the sweep scores."""
    found = tuned.get(trial.entry.trial_id)
    return found is not None and (found.images, found.evaluation_id) == (trial.entry.images, trial.entry.evaluation_id)


def untuned(spec: SweepSpec, reader: LedgerReader) -> list[EntryRow]:
    """The trials whose scores stand and whose settings were not tuned as the file has it; of several scores the last."""
    if spec.evaluation.tune is None:
        return []
    wanted = json.loads(spec.evaluation.tune.model_dump_json())
    collapsed = {(each.trial_id, each.evaluation_id) for each in reader.scores(spec.name) if each.collapsed}
    rows = [row for row in reader.entries(spec.name) if row.state is EntryState.DONE and row.draws]
    tuned = reader.tuned(spec.name)
    return [
        row
        for row in {row.trial_id: row for row in sorted(rows, key=lambda row: row.images)}.values()
        if (row.trial_id, row.evaluation_id) not in collapsed and not _is_tuned(row, tuned.get(row.trial_id), wanted)
    ]


def _is_tuned(row: EntryRow, found: Tuned | None, wanted: dict[str, Any]) -> bool:
    return found is not None and (found.images, found.evaluation_id, found.tuning) == (row.images, row.evaluation_id, wanted)


def setting_in_words(view: TunedView, keys: Sequence[str]) -> str:
    """Such as `guidance 1.5, steps 50`."""
    return ", ".join(f"{key} {in_short(view.evaluation[key])}" for key in keys)


def in_short(value: Any) -> str:
    """A setting's value."""
    if isinstance(value, list | tuple):
        return " to ".join(f"{each:g}" for each in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _tuned_arm(arm: Arm, records: Sequence[Tuned]) -> TunedArm:
    settings = "; ".join(dict.fromkeys(setting_in_words(each.best, each.varied) for each in records))
    shared, best = _mean([each.shared for each in records]), _mean([each.best for each in records])
    return TunedArm(arm.arm, arm.label, len(records), records[0].metric, shared, best, settings)


def _mean(views: Sequence[TunedView]) -> float | None:
    """None where one has no score."""
    values = [view.value for view in views if view.value is not None]
    return mean(values) if len(values) == len(views) else None
