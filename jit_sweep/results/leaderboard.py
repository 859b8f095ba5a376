"""A sweep's arms and searched trials ranked by its objective, and the choice of the best arm."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from jit_sweep.errors import UserError
from jit_sweep.ledger.asked import first_asked
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryRow, HeldoutRow, RungRow, ScoreRow, SweepRow
from jit_sweep.plan.foundations import earlier_flops
from jit_sweep.plan.questions import PATCH_SIZE
from jit_sweep.results.arms import LEAST_SEEDS, Arm, TrialResult, grid_arms, scored_of_trials, with_scores
from jit_sweep.results.comparable import Marks, learned_nothing
from jit_sweep.results.convergence import with_convergence
from jit_sweep.results.findings import NO_FINDINGS, Asking, Findings
from jit_sweep.results.memorised import BetterThanReal, better_than_real
from jit_sweep.results.retired import retired
from jit_sweep.results.rung_fidelity import RungFidelity, fidelity
from jit_sweep.results.tuning import TunedStage, tuned_stages
from jit_sweep.results.verdicts import findings
from jit_sweep.spec.stages import PlannedStage
from jit_sweep.spec.stored import readable
from jit_sweep.statistics.student_t import mean
from search_spaces.cells import recipe_values
from trainables.evaluation.metrics.registry import ScoreKinds, measured_on_the_way, metric_of


class NoBestArm(UserError):
    """No arm is well enough founded to be chosen automatically."""


@dataclass(frozen=True)
class Results:
    """A sweep's results as they stand."""

    sweep: str
    objective: str
    arms: tuple[Arm, ...]
    """Grid cells, best first."""
    searched: tuple[TrialResult, ...]
    """A search's trials, best first, a row for each seed; no verdict rests on them."""
    heldout: HeldoutRow | None
    tuning: tuple[TunedStage, ...] = ()
    """What the arms of a stage were tuned by; no verdict rests on it."""
    retired: tuple[TrialResult, ...] = ()
    """What was trained and is planned no more, best first: in no mean, no verdict and no choice."""
    fidelity: tuple[RungFidelity, ...] = ()
    """By group of arms and rung: the rank correlation of the rung's values with the final ones."""
    findings: Findings = NO_FINDINGS
    """What the sweep planned to ask, answered together, whatever part of the arms is shown."""

    @property
    def scored(self) -> ScoreKinds:
        """What its trials have scores of."""
        return scored_of_trials([*(trial for arm in self.arms for trial in arm.trials), *self.searched])

    @property
    def better_than_real(self) -> list[BetterThanReal]:
        """Arms that may repeat training images."""
        return better_than_real(self.arms, self.heldout, objective=self.objective)


def read_results(reader: LedgerReader, sweep: str) -> Results:
    """A sweep's results. UserError: the ledger has no such sweep."""
    row = reader.sweep(sweep)
    objective = row.objective
    rows, scores = reader.entries(sweep, every=True), reader.scores(sweep, every=True)
    trials = with_scores([row for row in rows if not row.superseded], scores)
    searched = [trial for trial in trials if trial.entry.origin == "search"]
    rungs = reader.rung_values(sweep)
    scheduler, arms = _scheduler(row, rungs), planned_arms_of(row, trials, rungs)
    return Results(
        sweep=sweep,
        objective=objective,
        arms=tuple(leaderboard(arms, objective=objective)),
        fidelity=tuple(
            fidelity(
                arms,
                rungs,
                objective=objective,
                metric=scheduler["metric"],
                within=scheduler["compare_within"],
                verdicts=reader.verdicts(sweep),
            )
        ),
        searched=tuple(best_first(searched, objective=objective)),
        tuning=tuple(tuned_stages(trials, objective=objective)),
        retired=tuple(best_first(with_scores(retired(rows), scores), objective=objective)),
        heldout=reader.heldout(sweep),
        findings=findings(arms, marked_asking(reader, row)),
    )


def planned_arms_of(sweep: SweepRow, trials: Sequence[TrialResult], rungs: Sequence[RungRow]) -> list[Arm]:
    """The arms of a sweep's grids and ablations with all that verdicts ask of them."""
    arms, spec = grid_arms(trials), readable(sweep.spec)
    if spec is not None and spec.budget.count_earlier_stages:
        flops = earlier_flops([trial.entry for trial in trials])
        arms = [replace(arm, earlier_flops=flops.get((arm.stage, arm.label), 0)) for arm in arms]
    return with_convergence(arms, rungs, metric=_scheduler(sweep, rungs)["metric"])


def read_findings(reader: LedgerReader, sweep: str) -> tuple[Findings, Asking]:
    """What is known of a sweep's questions by now, and how they are asked."""
    row = reader.sweep(sweep)
    trials = with_scores(reader.entries(sweep), reader.scores(sweep))
    arms = planned_arms_of(row, trials, reader.rung_values(sweep))
    asking = marked_asking(reader, row)
    return findings(arms, asking), asking


def marked_asking(reader: LedgerReader, sweep: SweepRow) -> Asking:
    """How a sweep's questions are answered, beside images that no model made."""
    return replace(read_asking(reader, sweep), marks=marks_of(reader.heldout(sweep.name)))


def _scheduler(sweep: SweepRow, rungs: Sequence[RungRow]) -> dict[str, Any]:
    """The keys of its scheduler, and what those stand for that it leaves out."""
    measured = measured_on_the_way(row.name for row in rungs)
    return {"metric": measured, "compare_within": [PATCH_SIZE], **(sweep.spec.get("scheduler") or {})}


def marks_of(real: HeldoutRow | None) -> Marks:
    """The best kernel distance that images get which no model made, such as white ones: what is no better shows nothing."""
    marks: dict[str, float] = {}
    for row in real.rows.values() if real is not None else ():
        for metric, value in row.items():
            if metric.partition("_")[0] == "kid":
                marks[metric] = min(value, marks.get(metric, value))
    return marks


def read_asking(reader: LedgerReader, sweep: SweepRow) -> Asking:
    """How the questions of a sweep are answered: as its file says, where this version reads it."""
    spec = readable(sweep.spec)
    if spec is None:
        return Asking(sweep.objective)
    planned = {stage: each for stage, each in enumerate(spec.stages) if isinstance(each, PlannedStage)}
    how = Asking(
        spec.objective,
        spec.alpha,
        spec.margin,
        designs={stage: each.design for stage, each in planned.items()},
        baseline=recipe_values(spec.baseline.recipe()),
        matched="images" if spec.budget.matched == "both" else spec.budget.matched,
        matched_in={stage: each.matched for stage, each in planned.items() if each.matched},
    )
    records = reader.asked(sweep.name)
    first = first_asked(records, objective=how.objective, alpha=how.alpha, margin=how.margin, created_at=sweep.created_at)
    return replace(how, asked_at=first)


def best_first(trials: Sequence[TrialResult], *, objective: str) -> list[TrialResult]:
    """Trials by the objective, the best first; then those that collapsed, then those without it; then those that make images
    again or none, where others draw some; equal ones as they came."""

    def order(trial: TrialResult) -> tuple[int, bool, bool, float]:
        missing, value = _rank(trial.value(objective), objective)
        return trial.entry.apart, missing, trial.collapsed, value

    return sorted(trials, key=order)


def leaderboard(arms: Sequence[Arm], *, objective: str) -> list[Arm]:
    """Arms by their mean objective, the best first; then those that lost seeds, since their mean is of the survivors; then
    those of which a seed collapsed, whose good score is an accident; then those that are no rivals of the others."""
    rivals = {arm.position for arm in rivals_of(arms)}

    def order(arm: Arm) -> tuple[bool, bool, bool, bool, float, tuple[int, int]]:
        values = arm.by_seed(objective).values()
        missing, value = _rank(mean([*values]) if values else None, objective)
        return arm.position not in rivals, missing, arm.collapsed > 0, arm.lost > 0 or arm.pruned > 0, value, arm.position

    return sorted(arms, key=order)


def rivals_of(arms: Sequence[Arm]) -> list[Arm]:
    """Those that may be the best: where some draw images from noise, not those that make held-out images again, or none."""
    standing = [max((trial.entry.apart for trial in arm.trials[:1]), default=0) for arm in arms]
    nearest = min(standing, default=0)
    return [arm for arm, apart in zip(arms, standing, strict=True) if apart == nearest]


def best_arm(arms: Sequence[Arm], *, objective: str, least_seeds: int = LEAST_SEEDS) -> Arm:
    """The best mean among the rivals that have all seeds that their own cell planned, `least_seeds` or more, none collapsed.

    NoBestArm: there is no such arm.
    """
    rivals = rivals_of(arms)
    whole = [arm for arm in rivals if len(arm.by_seed(objective)) == len(arm.trials) >= least_seeds and not arm.collapsed]
    if not whole:
        raise NoBestArm(_no_best_arm(arms, objective=objective, least_seeds=least_seeds))
    return leaderboard(whole, objective=objective)[0]


def best_cell(
    entries: Sequence[EntryRow], scores: Sequence[ScoreRow], *, objective: str, marks: Marks = MappingProxyType({})
) -> Arm | None:
    """The arm that a search starts from: the best, of one seed only where no arm has more; None where none can be the best, or
    none is better than the marks."""
    arms = [arm for arm in grid_arms(with_scores(entries, scores)) if not learned_nothing(arm, marks)]
    for least_seeds in (LEAST_SEEDS, 1):
        with suppress(NoBestArm):
            return best_arm(arms, objective=objective, least_seeds=least_seeds)
    return None


def median_seed(arm: Arm, *, objective: str) -> TrialResult:
    """The seed in the middle by the objective, the worse of the two middle ones where their number is even.

    ValueError: no seed has the objective.
    """
    scored = [trial for trial in arm.trials if trial.value(objective) is not None]
    if not scored:
        raise ValueError(f"`median_seed` needs a seed with {objective}, got none in {arm.label}")
    ordered = sorted(scored, key=lambda trial: (_rank(trial.value(objective), objective), trial.entry.seed))
    return ordered[len(ordered) // 2]


def _rank(value: float | None, metric: str) -> tuple[bool, float]:
    """Sorts the better value first, and a missing one last."""
    if value is None:
        return True, 0.0
    return False, metric_of(metric).loss(value)


def _no_best_arm(arms: Sequence[Arm], *, objective: str, least_seeds: int) -> str:
    if not any(objective in arm.metrics for arm in arms):
        rule = f"the best arm needs scores, and no grid trial has {objective} yet"
        return f"{rule}; run the sweep to its end, or name a trial with --trial"
    rule = f"the best arm is chosen among those with {least_seeds} or more seeds, all with {objective} and none collapsed"
    counts = (f"{arm.label}: {arm.scored} of {len(arm.trials)} scored{_lost(arm)}" for arm in arms)
    return f"{rule}, and there is none ({'; '.join(counts)}); name a trial with --trial"


def _lost(arm: Arm) -> str:
    return f", {' and '.join(arm.remarks)}" if arm.remarks else ""
