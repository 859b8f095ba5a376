"""A candidate for the champion of a model: what is trained for it, beside what, and what came of it."""

from dataclasses import dataclass, replace

from jit_sweep.errors import UserError
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.models.candidate import Candidate, candidate_of
from jit_sweep.models.gates import Gate, against_champion, gates, known_before
from jit_sweep.models.promote import Evidence, lineage_gate
from jit_sweep.models.retraining import FIRST_FRESH, device_hours, fresh, question_of, retraining, seeds_of
from jit_sweep.plan.entry import recipe_id
from jit_sweep.results.arms import Arm
from jit_sweep.results.findings import Asking
from jit_sweep.results.leaderboard import Results, read_asking, read_results
from jit_sweep.spec.seeds import first_seeds
from jit_sweep.spec.stages import GridStage
from jit_sweep.spec.stored import stored_spec
from jit_sweep.spec.sweep import SweepSpec
from jit_sweep.statistics.online import alpha_of
from jit_sweep.tracking.registry import ModelStanding, Version


@dataclass(frozen=True)
class Rival:
    """The champion that a candidate is compared with."""

    version: Version
    candidate: Candidate
    """Its configuration, by the sweep that trained it."""
    spec: SweepSpec
    """Scores it on the candidate's seeds and noise: nothing is trained where it was promoted with the same seeds."""
    hours: float | None
    """Device-hours of that, by what its trials have taken; 0 where it is done, None where it is not known."""


@dataclass(frozen=True)
class Nomination:
    """What is to be promoted, and what is trained for it."""

    model: str
    candidate: Candidate
    spec: SweepSpec
    """The retraining: an ordinary sweep."""
    standing: ModelStanding
    asking: Asking
    """How it is compared with the champion."""
    hours: float | None
    """Device-hours of the retraining, by what its trials have taken; None where that is not known."""
    question: int = 1
    """Which promotion of its project it is, where it has one."""
    rival: Rival | None = None
    no_rival: str = ""
    """Why it cannot be compared with the champion there is; empty where it can, and where there is none."""
    is_champion: bool = False
    """The candidate is the champion already."""

    @property
    def seeds(self) -> tuple[int, ...]:
        (stage,) = self.spec.stages
        assert isinstance(stage, GridStage), "a retraining is a grid of one cell"
        return first_seeds(stage.grid.seeds)


def nominate(
    reader: LedgerReader,
    sweep: str,
    judged_by: SweepSpec,
    *,
    model: str,
    trial: str | None,
    seeds: int,
    standing: ModelStanding,
) -> Nomination:
    """The best configuration of a sweep, or that of a trial, as the next champion of a model.

    `judged_by`: the sweep's file, with the places where the retraining is to lie. UserError: there is no candidate.
    """
    candidate = candidate_of(read_results(reader, sweep), trial=trial)
    former, no_rival = _former(reader, standing.champion, candidate)
    used = seeds_of(reader, sweep) | (seeds_of(reader, former.sweep) if former else frozenset())
    numbers = fresh(used, seeds)
    version = standing.champion.number if standing.champion else 0
    [noise] = fresh({judged_by.evaluation.seed}, 1, first=FIRST_FRESH + version)
    rival = None
    if former is not None and standing.champion is not None:
        own = stored_spec(reader.sweep(former.sweep).spec, sweep=former.sweep)
        again = retraining(own, former, seeds=numbers, judged_by=judged_by, noise=noise)
        hours = 0.0 if is_trained(reader, again) else device_hours(reader, former, count=seeds)
        rival = Rival(standing.champion, former, again, hours)
    spec = retraining(judged_by, candidate, seeds=numbers, judged_by=judged_by, noise=noise)
    spec, asking = spec.model_copy(update={"project": judged_by.project}), read_asking(reader, reader.sweep(sweep))
    question = question_of(reader, spec.project, spec.name) if spec.project else 1
    alpha = alpha_of(question, alpha=asking.alpha) if spec.project else asking.alpha
    return Nomination(
        model=model,
        candidate=candidate,
        spec=spec,
        standing=standing,
        asking=replace(asking, asked_at={}, alpha=alpha),
        question=question,
        hours=device_hours(reader, candidate, count=seeds),
        rival=rival,
        no_rival=no_rival,
        is_champion=former is not None and _is_same(former, candidate),
    )


def _former(reader: LedgerReader, champion: Version | None, candidate: Candidate) -> tuple[Candidate | None, str]:
    """The champion's configuration, or why it cannot be compared with the candidate."""
    if champion is None:
        return None, ""
    sweep, trial = champion.tags.get("sweep"), champion.tags.get("trial")
    if sweep is None or trial is None:
        return None, f"version {champion.number} does not say which trial it is"
    try:
        former = candidate_of(read_results(reader, sweep), trial=trial)
    except UserError as error:
        return None, f"version {champion.number}, trial {trial} of {sweep}, is not in this ledger: {error}"
    ours, theirs = (each.trial.entry.trial.data.digest for each in (candidate, former))
    if ours != theirs:
        return None, f"version {champion.number} was trained on other images ({theirs}, and {ours} here)"
    return former, ""


def _is_same(one: Candidate, other: Candidate) -> bool:
    a, b = ((recipe_id(each.trial.entry.trial), each.arm.images) for each in (one, other))
    return a == b


def is_trained(reader: LedgerReader, spec: SweepSpec) -> bool:
    """Whether a retraining has come to its end."""
    known = {row.name for row in reader.sweeps()}
    return spec.name in known and not _only_arm(read_results(reader, spec.name)).unfinished


def evidence(reader: LedgerReader, nomination: Nomination, *, compares: bool, forced: str = "") -> Evidence | None:
    """What the ledger holds for a candidate by now; None before its retraining has begun.

    `compares`: whether the champion has been scored beside it by now.
    """
    known = {row.name for row in reader.sweeps()}
    if nomination.spec.name not in known:
        return None
    results = read_results(reader, nomination.spec.name)
    arm, objective, candidate = _only_arm(results), results.objective, nomination.candidate
    found = [*known_before(candidate), *gates(candidate, arm, objective=objective, heldout=results.heldout)]
    found.append(lineage_gate(arm, candidate))
    made = Evidence(candidate, arm, objective, tuple(found), results.heldout, forced=forced)
    return _beside_champion(reader, nomination, made) if compares else made


def _beside_champion(reader: LedgerReader, nomination: Nomination, made: Evidence) -> Evidence:
    if nomination.rival is None:
        first = Gate("champion", not nomination.no_rival, nomination.no_rival or "the model has none to be compared with")
        return replace(made, gates=(*made.gates, first))
    champion = _only_arm(read_results(reader, nomination.rival.spec.name))
    finding, gate = against_champion(made.fresh, champion, nomination.asking)
    return replace(made, gates=(*made.gates, gate), finding=finding)


def _only_arm(results: Results) -> Arm:
    [arm] = results.arms
    return arm
