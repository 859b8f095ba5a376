"""What a sweep's trials are given besides themselves."""

from collections.abc import Sequence
from dataclasses import dataclass

from jit_sweep.home import Locations
from jit_sweep.ledger.records import EntryRow
from jit_sweep.spec.sweep import SweepSpec
from trainables.assignment import Assignment
from trainables.data.holdout import Holdout
from trainables.evaluation.metrics.registry import RUNG_METRIC


@dataclass(frozen=True)
class TrialSettings:
    """Where a sweep's trials find their images and keep their files, and how they go through them."""

    data: str
    holdout: Holdout | None
    storage: str
    rung_metric: str
    checkpoint_interval_s: float
    memory_bytes: int | None
    micro_batch: int | None
    activation_checkpointing: bool | None


def settings_of(spec: SweepSpec, locations: Locations) -> TrialSettings:
    """What a sweep file says to all of its trials."""
    resources = spec.resources
    return TrialSettings(
        data=spec.data.address,
        holdout=spec.data.holdout,
        storage=locations.storage,
        rung_metric=spec.rung_metric,
        checkpoint_interval_s=resources.checkpoint_interval_s,
        memory_bytes=resources.memory_bytes,
        micro_batch=resources.micro_batch,
        activation_checkpointing=resources.activation_checkpointing,
    )


def assignment_of(
    rows: Sequence[EntryRow],
    settings: TrialSettings,
    *,
    most_micro_batch: int | None,
    finished_images: int,
    scores: bool = True,
) -> Assignment:
    """The work that some entries of one trial want done.

    Args:
        most_micro_batch: more than this has run out of memory; None: nothing has.
        finished_images: the image count up to which it has been trained and scored before; 0 where it has not.
        scores: whether it is scored at its end, too.
    """
    first = rows[0]
    caps = [cap for cap in (settings.micro_batch, most_micro_batch) if cap is not None]
    return Assignment(
        trial=first.trial,
        images=first.images,
        evaluations=tuple({row.evaluation_id: row.evaluation for row in rows}.values()),
        scores=scores,
        rungs=tuple(sorted({rung for row in rows for rung in row.rungs})),
        resume_from=finished_images,
        rung_metric=settings.rung_metric if first.trial.draws else RUNG_METRIC,
        data=settings.data,
        holdout=settings.holdout,
        storage=settings.storage,
        checkpoint_interval_s=settings.checkpoint_interval_s,
        memory_bytes=settings.memory_bytes,
        micro_batch=min(caps, default=None),
        activation_checkpointing=settings.activation_checkpointing,
    )
