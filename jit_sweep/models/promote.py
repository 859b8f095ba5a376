"""From a sweep's results to a registered model: which trial is chosen, and what is kept of it."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jit_sweep.errors import UserError
from jit_sweep.home import Locations
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import SweepRow
from jit_sweep.models.choice import Chosen, Wish, choose
from jit_sweep.models.model_folder import CONFIG, LINEAGE, SCORES, WEIGHTS, ModelFolderConfig
from jit_sweep.redact import redact
from jit_sweep.results.leaderboard import Results, read_results
from jit_sweep.results.words import MEANINGS
from jit_sweep.tracking.client import answering
from jit_sweep.tracking.mirror import Mirror
from jit_sweep.tracking.registry import Registry, TrackedTrial, check_name, source_of
from jit_sweep.tracking.translation import variant
from search_spaces.axes import arm_label
from trainables.config.trial import MATHS_VERSION

if TYPE_CHECKING:
    from trainables.storage.checkpoint import Commit


@dataclass(frozen=True)
class Promotion:
    """A model's champion after `promote`."""

    model: str
    version: int
    previous: int | None
    """The former champion's version."""
    changed: bool
    """False where this trial was the champion already."""
    sweep: str
    trial: str
    cell: str
    seed: int
    images: int
    objective: str
    score: float
    unreplicated: bool
    reason: str
    too_good: float | None = None
    """By how much the best of several equal arms looks better than it is, in the objective's unit; None where unknown."""
    warnings: tuple[str, ...] = ()
    """Where its arm is better than real held-out images."""

    def __str__(self) -> str:
        which = f"trial {self.trial} of {self.sweep} ({self.cell} seed={self.seed}, {self.objective} {self.score:.5g})"
        if not self.changed:
            return f"{which} is the champion of {self.model} already, as version {self.version}; nothing changed"
        former = f"; version {self.previous} is now the previous champion" if self.previous is not None else ""
        doubt = f"\nunreplicated: {MEANINGS['unreplicated']}" if self.unreplicated else ""
        if self.too_good is not None:
            doubt += f"\nChosen by this very score: the best of equal arms looks {self.too_good:.2g} better than it is"
        doubt += "".join(f"\nwarning: {warning}" for warning in self.warnings)
        return f"{self.model} version {self.version} is the champion: {which}, {self.reason}{former}{doubt}"


def promote(reader: LedgerReader, sweep: str, *, wish: Wish, name: str, locations: Locations) -> Promotion:
    """Register the best arm's median seed, or the trial that is wished for, as the champion of a model.

    UserError: the name is no model's name, no trial can be chosen, or its parts are out of reach.
    """
    check_name(name)
    row, results = reader.sweep(sweep), read_results(reader, sweep)
    chosen = choose(results, wish)
    tracked = _tracked(reader, row, chosen, locations)
    registry = Registry(locations.tracking)
    path = f"champion/{name}/{chosen.result.entry.images:012d}"
    former = registry.champion(name)
    if former is not None and former.source == source_of(tracked.run_id, path):
        return _promotion(chosen, results, name, version=former.number, previous=None, changed=False)
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), chosen, row, tracked, store=locations.storage)
        tags = version_tags(chosen, results)
        made = registry.make_champion(name, run_id=tracked.run_id, path=path, files=Path(folder), tags=tags)
    previous = former.number if former is not None else None
    return _promotion(chosen, results, name, version=made.number, previous=previous, changed=True)


def write_files(folder: Path, chosen: Chosen, sweep: SweepRow, tracked: TrackedTrial, *, store: str) -> None:
    """Weights, configuration, scores and lineage of a trial. UserError: its checkpoint is missing or damaged."""
    # Here and not at the top: torch takes seconds to start, and `export` does without.
    from safetensors.torch import save_file

    from trainables.storage.checkpoint import Store
    from trainables.training.ema import part_of

    entry = chosen.result.entry
    checkpoints = Store(store)
    try:
        commit = checkpoints.latest(entry.trial_id, most_images=entry.images)
        if commit is None or commit.images != entry.images:
            rule = f"trial {entry.trial_id} must have its checkpoint at {entry.images} images in {redact(store)}"
            raise UserError(f"{rule}, got {commit.images if commit else 'none'}; give the storage it was trained with")
        weights = checkpoints.read(commit).tensors[part_of(entry.evaluation.weights)]
    except (OSError, ValueError) as error:
        raise UserError(f"the checkpoint of trial {entry.trial_id} must be readable: {error}") from error
    save_file(weights, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)  # safetensors leaves it to its owner alone
    config = ModelFolderConfig(trial=entry.trial, evaluation=entry.evaluation)
    address = redact(checkpoints.address(commit))
    _write_json(folder / CONFIG, config.model_dump(mode="json"))
    _write_json(folder / SCORES, scores_of(chosen, sweep.objective))
    _write_json(folder / LINEAGE, lineage_of(chosen, sweep, tracked, commit=commit, checkpoint=address))


def scores_of(chosen: Chosen, objective: str) -> dict[str, Any]:
    """The trial's scores with how many samples and which settings they rest on, and its arm's over the seeds."""
    entry, score, arm = chosen.result.entry, chosen.result.score, chosen.arm
    assert score is not None, "only a scored trial is chosen"
    over_seeds = {name: spread._asdict() for name, spread in arm.metrics.items()} if arm is not None else {}
    return {
        "objective": objective,
        "images": score.images,
        "n": score.n,
        "evaluation": entry.evaluation.model_dump(mode="json"),
        "values": score.by_name,
        "arm": {
            "values": dict(entry.arm),
            "seeds": list(arm.seeds) if arm is not None else [entry.seed],
            "metrics": over_seeds,
        },
        "unreplicated": chosen.unreplicated,
    }


def lineage_of(chosen: Chosen, sweep: SweepRow, tracked: TrackedTrial, *, commit: "Commit", checkpoint: str) -> dict[str, Any]:
    """Where the weights come from."""
    entry, score = chosen.result.entry, chosen.result.score
    return {
        "sweep": sweep.name,
        "fingerprint": sweep.fingerprint,
        "trial": entry.trial_id,
        "attempt": commit.attempt,
        "images": commit.images,
        "seed": entry.seed,
        "data": entry.trial.data.digest,
        "checkpoint": checkpoint,
        "run": tracked.run_id,
        "code": dict(tracked.code),
        "code_version": score.code_version if score is not None else None,
        "maths_version": MATHS_VERSION,
        "chosen": chosen.reason,
    }


def version_tags(chosen: Chosen, results: Results) -> dict[str, str]:
    """What the registry shows beside a version."""
    entry = chosen.result.entry
    return {
        "sweep": entry.sweep,
        "trial": entry.trial_id,
        "arm": arm_label(entry.arm),
        "seed": str(entry.seed),
        "images": str(entry.images),
        "objective": results.objective,
        results.objective: str(chosen.result.value(results.objective)),
        "unreplicated": str(chosen.unreplicated).lower(),
        "collapsed": str(chosen.result.collapsed).lower(),
    }


def _tracked(reader: LedgerReader, sweep: SweepRow, chosen: Chosen, locations: Locations) -> TrackedTrial:
    """The trial's run in MLflow; where nobody runs the sweep, the events not yet delivered are delivered first."""
    running = sweep.is_run
    if not running:
        with answering(locations.tracking):
            files, trials = locations.artifacts, locations.storage
            Mirror(locations.tracking, reader, sweep.name, artifacts=files, storage=trials).deliver()
    tracked = Registry(locations.tracking).trial(sweep, variant(chosen.result.entry))
    if tracked is None:
        who = f"{sweep.owner} runs the sweep and delivers it within seconds; try again"
        remedy = who if running else "`doctor` says what is amiss"
        raise UserError(f"trial {chosen.result.entry.trial_id} must be in MLflow at {redact(locations.tracking)}; {remedy}")
    return tracked


def _promotion(chosen: Chosen, results: Results, model: str, *, version: int, previous: int | None, changed: bool) -> Promotion:
    entry, score = chosen.result.entry, chosen.result.value(results.objective)
    assert score is not None, "only a scored trial is chosen"
    return Promotion(
        model=model,
        version=version,
        previous=previous,
        changed=changed,
        sweep=results.sweep,
        trial=entry.trial_id,
        cell=arm_label(entry.arm),
        seed=entry.seed,
        images=entry.images,
        objective=results.objective,
        score=score,
        unreplicated=chosen.unreplicated,
        reason=chosen.reason,
        too_good=chosen.too_good,
        warnings=tuple(str(each) for each in results.better_than_real if each.label == arm_label(entry.arm)),
    )


def _write_json(file: Path, value: dict[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")
