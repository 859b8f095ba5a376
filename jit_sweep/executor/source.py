"""What a sweep's trials are given besides themselves."""

from collections.abc import Sequence
from dataclasses import dataclass

from jit_sweep.home import Places
from jit_sweep.ledger.records import EntryRow
from jit_sweep.spec import FileData, SweepSpec
from trainables.assignment import Assignment


@dataclass(frozen=True)
class Source:
    """Where a sweep's trials find their images and keep their files, and how they go through them."""

    data: str
    holdout: int | None
    storage: str
    rung_metric: str
    checkpoint_interval_s: float
    memory_bytes: int | None
    micro_batch: int | None
    activation_checkpointing: bool | None


def source_of(spec: SweepSpec, places: Places) -> Source:
    """What a sweep file says to all of its trials."""
    data, resources = spec.data, spec.resources
    return Source(
        data=data.uri if isinstance(data, FileData) else data.name,
        holdout=data.holdout if isinstance(data, FileData) else None,
        storage=places.storage,
        rung_metric=spec.rung_metric,
        checkpoint_interval_s=resources.checkpoint_interval_s,
        memory_bytes=round(resources.memory_gib * 2**30) if resources.memory_gib else None,
        micro_batch=resources.micro_batch,
        activation_checkpointing=resources.activation_checkpointing,
    )


def assignment_of(
    rows: Sequence[EntryRow], source: Source, *, most_micro_batch: int | None, finished_images: int
) -> Assignment:
    """The work that some entries of one trial want done.

    Args:
        most_micro_batch: more than this has run out of memory; None: nothing has.
        finished_images: up to here it was trained and scored before; 0: it was not.
    """
    first = rows[0]
    caps = [cap for cap in (source.micro_batch, most_micro_batch) if cap is not None]
    return Assignment(
        trial=first.trial,
        images=first.images,
        evaluations=tuple({row.evaluation_id: row.evaluation for row in rows}.values()),
        rungs=tuple(sorted({rung for row in rows for rung in row.rungs})),
        resume_from=finished_images,
        rung_metric=source.rung_metric,
        data=source.data,
        holdout=source.holdout,
        storage=source.storage,
        checkpoint_interval_s=source.checkpoint_interval_s,
        memory_bytes=source.memory_bytes,
        micro_batch=min(caps, default=None),
        activation_checkpointing=source.activation_checkpointing,
    )
