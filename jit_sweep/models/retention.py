"""Which checkpoints are still needed, and the removal of the others.

Kept are: the last two of every trial that is not finished; the last of every finished one, or of a sweep's best where its file
says how many; what a registered model was made of; what a planned trial starts from. Each sweep of the ledger has its say
about a trial that several share. Sample grids stay, and so does all of a trial that is being trained.
"""

import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from jit_sweep.errors import UserError
from jit_sweep.home import Locations
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import AttemptRow, EntryRow, EntryState, SweepState
from jit_sweep.redact import redact, redact_all
from jit_sweep.results.arms import TrialResult, with_scores
from jit_sweep.results.leaderboard import best_first
from jit_sweep.spec.stored import readable
from jit_sweep.tracking.registry import promoted

if TYPE_CHECKING:
    from trainables.storage.checkpoint import Saved, Store

_log = logging.getLogger(__name__)
QUIET_S = 3600.0
"""A worker that was given up may go on writing: its files count as left behind only this long after it was last heard of."""

Needs = Mapping[str, frozenset[int]]
"""By trial: image counts up to which its last checkpoint is needed."""


@dataclass(frozen=True)
class Removal:
    """Files that are removed, or would be."""

    trial_id: str
    attempt: int
    images: int
    kind: Literal["checkpoint", "leftover"]
    """Committed, or what a lost attempt left behind."""
    size: int
    """Bytes."""
    address: str


@dataclass(frozen=True)
class Collected:
    """What was removed, or would be, and what was left alone."""

    removed: tuple[Removal, ...] = ()
    in_training: tuple[str, ...] = ()
    """Trials that are being trained, of which nothing was looked at."""
    problem: str = ""
    """Why not all was done, in one line; empty where it was."""

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(removal.size for removal in self.removed)


def apply_retention(
    reader: LedgerReader, locations: Locations, sweep: str, *, clock: Callable[[], float] = time.time
) -> Collected:
    """At a sweep's end: remove what its `retention.best` does not keep; nothing where it is not set.

    A UserError is not raised: it is logged and returned as `problem`, and `jit-sweep gc` removes what is left.
    """
    spec = readable(reader.sweep(sweep).spec)
    if spec is None or spec.retention.best is None:
        return Collected()
    try:
        return collect(reader, {sweep: locations}, clock=clock, ended=frozenset({sweep}))
    except UserError as error:
        _log.warning("checkpoints that %s does not keep are still there: %s", sweep, error)
        return Collected(problem=str(error))


def collect(
    reader: LedgerReader,
    locations: Mapping[str, Locations],
    *,
    dry_run: bool = False,
    clock: Callable[[], float] = time.time,
    ended: frozenset[str] = frozenset(),
    registries: frozenset[str] = frozenset(),
) -> Collected:
    """Remove what no sweep of the ledger needs of the trials of these sweeps, which lie where `locations` says.

    `ended`: sweeps that count as ended whatever the ledger says so far; `registries`: where models are registered besides the
    sweeps' own tracking. UserError: a registry does not answer, or files cannot be listed or removed; what was removed
    before that stays so.
    """
    stored = {storage: _attempts(reader, sweeps) for storage, sweeps in _by_storage(locations).items()}
    trials = frozenset(trial_id for attempts in stored.values() for trial_id in attempts)
    all_registries = registries | {sweep_locations.tracking for sweep_locations in locations.values()}
    all_registries |= _registries_of_others(reader, all_registries, trials=trials)
    needs = needs_of(reader, frozenset().union(*(promoted(registry) for registry in all_registries)), ended=ended)
    removed: list[Removal] = []
    in_training: set[str] = set()
    for storage, attempts_by_trial in stored.items():
        try:
            for trial_id, attempts in attempts_by_trial.items():
                if trial_id in reader.being_trained():
                    in_training.add(trial_id)
                else:
                    removed += _collect_trial(storage, trial_id, attempts, needs, dry_run=dry_run, now=clock())
        except (OSError, ValueError, ImportError) as error:
            rule = f"checkpoints in {redact(storage)} must be there to be listed and removed"
            raise UserError(f"{rule}, got: {redact_all(str(error), uri=storage)}; the same command goes on") from error
    return Collected(tuple(removed), tuple(sorted(in_training)))


def needs_of(reader: LedgerReader, kept_for_models: Iterable[tuple[str, int]], *, ended: frozenset[str]) -> Needs:
    """What all sweeps of the ledger and the registered models need.

    `kept_for_models`: trial and image count of each registered model's checkpoint. `ended`: sweeps that count as ended.
    """
    needs: defaultdict[str, set[int]] = defaultdict(set)
    for trial_id, images in kept_for_models:
        needs[trial_id].add(images)
    for sweep in reader.sweeps():
        entries = reader.entries(sweep.name)
        spec, over = readable(sweep.spec), sweep.name in ended or sweep.state is SweepState.DONE
        best: frozenset[str] | None = None
        if over and spec is not None and spec.retention.best is not None:
            trials = with_scores(entries, reader.scores(sweep.name))
            best = best_trials(trials, objective=sweep.objective, count=spec.retention.best)
        for trial_id, images in (*needed(entries, best=best), *_parents(entries)):
            needs[trial_id].add(images)
    return {trial_id: frozenset(counts) for trial_id, counts in needs.items()}


def needed(entries: Sequence[EntryRow], *, best: frozenset[str] | None) -> Iterator[tuple[str, int]]:
    """The trials, and up to which image count, whose last checkpoint a sweep needs; `best`: of those that are finished."""
    for entry in entries:
        finished = entry.state in (EntryState.DONE, EntryState.PRUNED)
        if entry.state is not EntryState.DIVERGED and (not finished or best is None or entry.trial_id in best):
            yield entry.trial_id, entry.images


def best_trials(trials: Sequence[TrialResult], *, objective: str, count: int) -> frozenset[str]:
    """The `count` trials with the best objective, collapsed ones last; of equal ones those that were planned first."""
    scored = [trial for trial in trials if trial.value(objective) is not None]
    ordered = dict.fromkeys(trial.entry.trial_id for trial in best_first(scored, objective=objective))
    return frozenset(list(ordered)[:count])


def superfluous(saved: Sequence["Saved"], *, up_to: frozenset[int], lost: frozenset[int]) -> list["Saved"]:
    """What of a trial's files nobody needs.

    `up_to`: image counts up to which the last checkpoint is kept, and of a trial on its way the one before too; `lost`:
    attempts that write no more.
    """
    committed = [file.images for file in saved if file.standing == "committed"]
    kept = {images for limit in up_to for images in _last(committed, limit)}
    return [
        file
        for file in saved
        if (file.standing == "committed" and file.images not in kept)
        or (file.standing == "uncommitted" and file.attempt in lost)
    ]


def _last(committed: Sequence[int], limit: int) -> Sequence[int]:
    """The last of these image counts up to a limit; the last two where the limit has not been reached."""
    within = sorted(images for images in committed if images <= limit)
    return within[-1:] if limit in within else within[-2:]


def _registries_of_others(reader: LedgerReader, known: frozenset[str], *, trials: frozenset[str]) -> frozenset[str]:
    """Where the other sweeps that planned one of these trials may have registered it."""
    others: set[str] = set()
    for sweep in reader.sweeps():
        spec = readable(sweep.spec)
        if spec is None or spec.tracking is None or spec.tracking in known | others:
            continue
        if any(entry.trial_id in trials for entry in reader.entries(sweep.name)):
            others.add(spec.tracking)
    return frozenset(others)


def _by_storage(locations: Mapping[str, Locations]) -> dict[str, list[str]]:
    sweeps: defaultdict[str, list[str]] = defaultdict(list)
    for sweep, sweep_locations in locations.items():
        sweeps[sweep_locations.storage].append(sweep)
    return sweeps


def _attempts(reader: LedgerReader, sweeps: Sequence[str]) -> dict[str, list[AttemptRow]]:
    """All attempts at the trials that these sweeps have ever planned, by trial."""
    by_trial: dict[str, dict[int, AttemptRow]] = {}
    for sweep in sweeps:
        for attempt in reader.attempts_at_trials(sweep):
            by_trial.setdefault(attempt.trial_id, {})[attempt.number] = attempt
    return {trial_id: list(of_trial.values()) for trial_id, of_trial in sorted(by_trial.items())}


def _parents(entries: Sequence[EntryRow]) -> Iterator[tuple[str, int]]:
    """Where planned trials start from, and what guides their samples. What another version wrote need not be a valid
    configuration any more."""
    for entry in entries:
        for named in (json.loads(entry.trial_json).get("parent"), json.loads(entry.evaluation_json).get("classifier")):
            if named is not None:
                yield named["trial"], named["images"]


def _collect_trial(
    storage: str, trial_id: str, attempts: Sequence[AttemptRow], needs: Needs, *, dry_run: bool, now: float
) -> list[Removal]:
    # Here and not at the top: torch takes seconds to start, and the decisions do without.
    from trainables.storage.checkpoint import Store

    store = Store(storage)
    lost = frozenset(attempt.number for attempt in attempts if now - (attempt.ended_at or attempt.updated_at) > QUIET_S)
    unneeded = superfluous(store.saved(trial_id), up_to=needs.get(trial_id, frozenset()), lost=lost)
    if not dry_run:
        for saved in unneeded:
            store.discard(saved)
    return [_removal(saved, store) for saved in unneeded]


def _removal(saved: "Saved", store: "Store") -> Removal:
    return Removal(
        trial_id=saved.trial_id,
        attempt=saved.attempt,
        images=saved.images,
        kind="checkpoint" if saved.standing == "committed" else "leftover",
        size=saved.size,
        address=redact(store.address(saved)),
    )
