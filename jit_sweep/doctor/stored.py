"""The ledger against the storage: every score has its checkpoint or was collected, every marker its parts by their hashes."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from jit_sweep.doctor.discrepancy import Discrepancy
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import UNFINISHED, AttemptRow

if TYPE_CHECKING:
    from trainables.storage.checkpoint import Store

_WHOLE = "every checkpoint that is committed is whole"
_AGAIN = "a longer budget trains the same weights again"


def of_trial(store: "Store", trial: str, *, scored: Sequence[int], goes_on_from: int) -> Iterator[Discrepancy]:
    """Findings about one trial's checkpoints, every file of which is read.

    Args:
        scored: image counts at which it has scores whose checkpoints lie in this store.
        goes_on_from: image count of the checkpoint that the ledger names; 0 where it has ended, or has none.
    """
    # Here and not at the top: torch takes seconds to start.
    from trainables.storage.checkpoint import CheckpointError, Damage

    whole, damaged = set[int](), set[int]()
    for found in store.newest_first(trial, most_images=2**62):
        why = found.why if isinstance(found, Damage) else ""
        try:
            if not isinstance(found, Damage):
                store.check(found)
                whole.add(found.images)
                continue
        except CheckpointError as error:
            why = str(error)
        damaged.add(found.images)
        note = found.images in scored
        remedy = f"--repair removes its marker{' and notes that it is gone' if note else ''}; its weights are lost, {_AGAIN}"
        yield Discrepancy(_WHOLE, f"trial {trial}: {why}", remedy, partial(store.forget, trial, found.images, note=note))
    collected = store.collected(trial)
    for images in sorted(set(scored) - whole - damaged - collected):
        found_none = f"trial {trial} is scored at {images} images, and has no checkpoint there in {store.uri}"
        remedy = f"bring it back; else --repair notes that it is gone, and {_AGAIN}"
        note_it = partial(store.note_collected, trial, images)
        yield Discrepancy("every score has its checkpoint, or it was collected", found_none, remedy, note_it)
    if goes_on_from and goes_on_from not in whole | damaged | collected | set(scored):
        rest = max((images for images in whole if images <= goes_on_from), default=0)
        found_less = f"trial {trial} was saved at {goes_on_from} images, and that checkpoint is not in {store.uri}"
        remedy = f"bring it back; else the next run goes on from {rest} images, to the same weights"
        yield Discrepancy("every trial on its way has the checkpoint that it goes on from", found_less, remedy)


def scored_by_sweep(reader: LedgerReader, sweep: str) -> dict[str, dict[str, list[int]]]:
    """By the sweep that trained them, then by trial: the image counts at which this sweep's trials are scored."""
    attempts = {(row.trial_id, row.number): row for row in reader.attempts_at_trials(sweep)}
    found: dict[str, dict[str, list[int]]] = {}
    for score in reader.scores(sweep, every=True):
        trained_by = attempts[score.trial_id, score.attempt].sweep
        found.setdefault(trained_by, {}).setdefault(score.trial_id, []).append(score.images)
    return found


def resume_points(reader: LedgerReader, sweep: str) -> Mapping[str, int]:
    """Of each trial of the sweep that has not ended and that it tried last: the image count that it goes on from."""
    last: dict[str, AttemptRow] = {row.trial_id: row for row in reader.attempts_at_trials(sweep)}
    under_way = {entry.trial_id for entry in reader.entries(sweep) if entry.state in UNFINISHED}
    own = (row for trial, row in last.items() if trial in under_way and row.sweep == sweep)
    return {row.trial_id: row.checkpoint_images or 0 for row in own}
