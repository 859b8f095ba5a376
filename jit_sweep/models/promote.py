"""From a retraining to a registered model: whether it may be the champion, and what is kept of it."""

import json
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jit_sweep.errors import UserError
from jit_sweep.home import Locations
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import HeldoutRow, SweepRow
from jit_sweep.models.candidate import Candidate
from jit_sweep.models.gates import FreshScore, Gate, fresh_score
from jit_sweep.models.model_card import model_card
from jit_sweep.models.model_folder import AUTOENCODER, CARD, CONFIG, GUIDE, LINEAGE, SCORES, WEIGHTS, ModelFolderConfig
from jit_sweep.redact import redact
from jit_sweep.results.arms import Arm, TrialResult
from jit_sweep.results.as_json import finding_row
from jit_sweep.results.findings import Finding
from jit_sweep.results.leaderboard import median_seed
from jit_sweep.spec.stored import readable
from jit_sweep.statistics.student_t import Interval
from jit_sweep.tracking.client import answering
from jit_sweep.tracking.mirror import Mirror
from jit_sweep.tracking.registry import ModelStanding, Registry, TrackedTrial
from jit_sweep.tracking.translation import variant
from search_spaces.cells import arm_label
from trainables.config.trial import MATHS_VERSION

if TYPE_CHECKING:
    from trainables.storage.checkpoint import Commit


@dataclass(frozen=True)
class Evidence:
    """All that speaks for a candidate, or against it."""

    candidate: Candidate
    fresh: Arm
    """Its trials on fresh seeds."""
    objective: str
    gates: tuple[Gate, ...]
    heldout: HeldoutRow | None = None
    finding: Finding | None = None
    """Against the champion; None where there is none, or it was not asked."""
    forced: str = ""
    """Why it is made the champion whatever the gates say; empty where it is not."""

    @property
    def failed(self) -> tuple[Gate, ...]:
        return tuple(gate for gate in self.gates if not gate.holds)

    @property
    def score(self) -> FreshScore | None:
        return fresh_score(self.fresh, self.objective)

    @property
    def registered(self) -> TrialResult:
        """The fresh seed in the middle, of two middle ones the worse: its weights are registered."""
        return median_seed(self.fresh, objective=self.objective)


@dataclass(frozen=True)
class Promotion:
    """A model's champion after `promote`."""

    model: str
    version: int
    previous: int | None
    """The former champion's version."""
    sweep: str
    """That trained it: the retraining."""
    trial: str
    cell: str
    seed: int
    images: int
    objective: str
    score: float
    """The mean of the fresh seeds; of one alone its own."""
    interval: Interval | None
    """Of the mean, 95 %."""
    reason: str
    forced: str
    gates: tuple[Gate, ...] = field(default=())

    def __str__(self) -> str:
        ends = f" [{self.interval[0]:.5g}, {self.interval[1]:.5g}]" if self.interval else ""
        which = f"{self.cell}, {self.objective} {self.score:.5g}{ends} on fresh seeds"
        former = f"; version {self.previous} is now the previous champion" if self.previous is not None else ""
        forced = f"\nforced ({self.forced}) though it fails: " if self.forced else ""
        failed = ", ".join(gate.name for gate in self.gates if not gate.holds) if self.forced else ""
        return f"{self.model} version {self.version} is the champion: {which}{former}{forced}{failed}"


def lineage_gate(fresh: Arm, candidate: Candidate) -> Gate:
    """Whether the fresh seeds' scores come of one code, and of the images that the candidate was chosen on."""
    known = {
        "code": {trial.score.code_version for trial in fresh.trials if trial.score},
        "images": {trial.entry.trial.data.digest for trial in (*fresh.trials, *candidate.arm.trials)},
    }
    told = ", ".join(f"{what} {' and '.join(sorted(values)) or 'unknown'}" for what, values in known.items())
    return Gate("lineage", all(len(values) == 1 for values in known.values()), told)


def register(
    reader: LedgerReader, sweep: str, evidence: Evidence, *, name: str, standing: ModelStanding, locations: Locations
) -> Promotion:
    """Make the fresh seed in the middle the champion of a model, against the champion that `standing` saw.

    UserError: somebody else has registered a version since, or the trial's parts are out of reach.
    """
    row, trial = reader.sweep(sweep), evidence.registered
    tracked = _tracked(reader, row, trial, locations)
    path = f"champion/{name}/{trial.entry.images:012d}"
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), evidence, row, tracked, name=name, store=locations.storage)
        made = Registry(locations.tracking).make_champion(
            name,
            run_id=tracked.run_id,
            path=path,
            files=Path(folder),
            tags=version_tags(evidence),
            page=(Path(folder) / CARD).read_text(),
            standing=standing,
        )
    score = evidence.score
    return Promotion(
        model=name,
        version=made.number,
        previous=standing.champion.number if standing.champion is not None else None,
        sweep=sweep,
        trial=trial.entry.trial_id,
        cell=arm_label(evidence.candidate.values),
        seed=trial.entry.seed,
        images=trial.entry.images,
        objective=evidence.objective,
        score=score.mean if score else trial.value(evidence.objective) or float("nan"),
        interval=score.interval if score else None,
        reason=evidence.candidate.reason,
        forced=evidence.forced,
        gates=evidence.gates,
    )


def write_files(folder: Path, evidence: Evidence, sweep: SweepRow, tracked: TrackedTrial, *, name: str, store: str) -> None:
    """Weights, configuration, scores, lineage and a page in words. UserError: the checkpoint is missing or damaged."""
    # Here and not at the top: torch takes seconds to start, and `export` does without.
    from safetensors.torch import save_file

    from trainables.config.average import part_of
    from trainables.methods.guiding import guide_of
    from trainables.networks.network import of_model
    from trainables.storage.checkpoint import Store
    from trainables.training.encoders import kept_autoencoder

    entry = evidence.registered.entry
    checkpoints = Store(store)
    try:
        commit = checkpoints.latest(entry.trial_id, most_images=entry.images)
        if commit is None or commit.images != entry.images:
            rule = f"trial {entry.trial_id} must have its checkpoint at {entry.images} images in {redact(store)}"
            raise UserError(f"{rule}, got {commit.images if commit else 'none'}; give the storage it was trained with")
        weights = checkpoints.read(commit).tensors[part_of(entry.evaluation.weights)]
        autoencoder = kept_autoencoder(entry.trial, store) if entry.trial.space.kind == "latent" else None
        guide = guide_of(entry.evaluation, entry.trial, storage=store, device="cpu")
    except (OSError, ValueError) as error:
        raise UserError(f"the checkpoint of trial {entry.trial_id} must be readable: {error}") from error
    written = {WEIGHTS: of_model(weights)} | ({GUIDE: of_model(guide.state_dict())} if guide is not None else {})
    for file, tensors in written.items():
        save_file(tensors, folder / file)
        (folder / file).chmod(0o644)  # safetensors leaves it to its owner alone
    if autoencoder is not None:
        (folder / AUTOENCODER).write_bytes(autoencoder)
    config = ModelFolderConfig(trial=entry.trial, evaluation=entry.evaluation, guide=guide.trial if guide else None)
    address = redact(checkpoints.address(commit))
    scores, lineage = scores_of(evidence), lineage_of(evidence, sweep, tracked, commit=commit, checkpoint=address)
    _write_json(folder / CONFIG, config.model_dump(mode="json"))
    _write_json(folder / SCORES, scores)
    _write_json(folder / LINEAGE, lineage)
    (folder / CARD).write_text(model_card(name, config, scores, lineage))


def scores_of(evidence: Evidence) -> dict[str, Any]:
    """The scores of the registered weights, what fresh seeds say of the configuration, and how it was chosen."""
    trial, score, candidate = evidence.registered, evidence.score, evidence.candidate
    assert trial.score is not None, "only a scored trial is registered"
    own = candidate.arm.metrics.get(evidence.objective)
    return {
        "objective": evidence.objective,
        "images": trial.score.images,
        "n": trial.score.n,
        "evaluation": trial.entry.evaluation.model_dump(mode="json"),
        "values": trial.score.by_name,
        "fresh": asdict(score) if score else None,
        "heldout": dict(evidence.heldout.values) if evidence.heldout else None,
        "chosen": {
            "sweep": candidate.sweep,
            "why": candidate.reason,
            "score_there": own._asdict() if own else None,
            "too_good_by": candidate.too_good,
        },
        "gates": [gate._asdict() for gate in evidence.gates],
        "against_champion": finding_row(evidence.finding, planned=True) if evidence.finding else None,
        "forced": evidence.forced or None,
    }


def lineage_of(
    evidence: Evidence, sweep: SweepRow, tracked: TrackedTrial, *, commit: "Commit", checkpoint: str
) -> dict[str, Any]:
    """Where the weights come from."""
    entry, score, spec = evidence.registered.entry, evidence.registered.score, readable(sweep.spec)
    return {
        "sweep": sweep.name,
        "fingerprint": sweep.fingerprint,
        "trial": entry.trial_id,
        "attempt": commit.attempt,
        "images": commit.images,
        "seed": entry.seed,
        "data": entry.trial.data.digest,
        "data_address": redact(spec.data.address) if spec else None,
        "data_licence": spec.data.licence if spec else None,
        "checkpoint": checkpoint,
        "run": tracked.run_id,
        "code": dict(tracked.code),
        "code_version": score.code_version if score is not None else None,
        "maths_version": MATHS_VERSION,
        "chosen_in": evidence.candidate.sweep,
        "chosen": evidence.candidate.reason,
        "forced": evidence.forced or None,
    }


def version_tags(evidence: Evidence) -> dict[str, str]:
    """What the registry shows beside a version."""
    trial, score = evidence.registered, evidence.score
    entry = trial.entry
    interval = f"{score.interval.low:.5g} to {score.interval.high:.5g}" if score else ""
    tags = {
        "sweep": entry.sweep,
        "trial": entry.trial_id,
        "arm": arm_label(evidence.candidate.values),
        "seed": str(entry.seed),
        "images": str(entry.images),
        "objective": evidence.objective,
        evidence.objective: f"{score.mean if score else trial.value(evidence.objective):.6g}",
        "interval": interval,
        "fresh_seeds": str(evidence.fresh.scored),
        "chosen_in": evidence.candidate.sweep,
        "collapsed": str(trial.collapsed).lower(),
        "forced": evidence.forced,
        "failed_gates": ", ".join(gate.name for gate in evidence.failed),
    }
    return {name: value for name, value in tags.items() if value}


def _tracked(reader: LedgerReader, sweep: SweepRow, trial: TrialResult, locations: Locations) -> TrackedTrial:
    """The trial's run in MLflow; where nobody runs the sweep, the events not yet delivered are delivered first."""
    running = sweep.is_run
    if not running:
        with answering(locations.tracking):
            files, trials = locations.artifacts, locations.storage
            Mirror(locations.tracking, reader, sweep.name, artifacts=files, storage=trials).deliver()
    tracked = Registry(locations.tracking).trial(sweep, variant(trial.entry))
    if tracked is None:
        who = f"{sweep.owner} runs the sweep and delivers it within seconds; try again"
        remedy = who if running else "`doctor` says what is amiss"
        raise UserError(f"trial {trial.entry.trial_id} must be in MLflow at {redact(locations.tracking)}; {remedy}")
    return tracked


def _write_json(file: Path, value: dict[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")
