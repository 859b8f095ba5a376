"""A sweep's trials with their scores, and its arms: the trials of one cell over its seeds."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from pydantic_core import from_json

from jit_sweep.ledger.records import UNFINISHED, EntryRow, EntryState, ScoreRow
from jit_sweep.statistics.student_t import mean, sample_sd
from search_spaces.axis import AxisValue
from search_spaces.cells import arm_label, values_in
from trainables.config.evaluation import unread
from trainables.config.features import extractor_name
from trainables.config.method import DENOISER
from trainables.config.trial import MATHS_VERSION
from trainables.evaluation.metrics.registry import RUNG_METRICS, ScoreKinds, score_names
from trainables.process_caches import ProcessCache

LEAST_SEEDS = 2
"""Fewer seeds than this are never chosen from without being asked: their difference may be luck."""
_IN_ORDER = json.JSONEncoder(sort_keys=True).encode
_SETTINGS: ProcessCache[str, dict[str, str]] = ProcessCache("evaluations in words", most=100)


class Spread(NamedTuple):
    """A metric over an arm's scored seeds."""

    mean: float
    sd: float | None
    """Sample standard deviation; None of one seed."""
    n: int


class Convergence(NamedTuple):
    """Whether an arm had learned what it could when its budget ended, by its rung metric, on that metric's scale."""

    metric: str
    gain: float
    """What a quarter more of its training would still bring, by the slope over its last rungs; the mean over its seeds."""
    noise: float
    """Standard deviation over seeds at the end, the median over the arms of its stage that have this metric."""

    @property
    def converged(self) -> bool:
        """Whether the gain is lost in the noise of one seed."""
        return self.gain <= self.noise


@dataclass(frozen=True)
class TrialResult:
    """A trial as the sweep planned it, with its score where it has one."""

    entry: EntryRow
    score: ScoreRow | None

    @property
    def collapsed(self) -> bool:
        """Whether it has a score, but predicts images no better than a model that always answers with the mean image."""
        return self.score is not None and self.score.collapsed

    @property
    def unfinished(self) -> bool:
        """Whether it has no score and may get one yet."""
        return self.score is None and self.entry.state in UNFINISHED

    def value(self, metric: str) -> float | None:
        """A score by its shown name, or None where it is missing; never NaN."""
        return self.score.value(metric) if self.score is not None else None


@dataclass(frozen=True)
class Arm:
    """The trials of one grid cell, which differ in their seed only."""

    stage: int
    arm: Mapping[str, AxisValue]
    images: int
    trials: tuple[TrialResult, ...]
    """By seed."""
    convergence: Convergence | None = None
    """None where it is not known: with fewer than three rungs, or where no arm of its stage and metric has several seeds."""
    earlier_flops: int = 0
    """Training FLOPs of the trials of earlier stages that it is trained with, where the budget counts them."""

    @cached_property
    def label(self) -> str:
        return arm_label(self.arm)

    @property
    def position(self) -> tuple[int, int]:
        """Where the plan has it."""
        return self.stage, min(trial.entry.position for trial in self.trials)

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(trial.entry.seed for trial in self.trials)

    @cached_property
    def scored(self) -> int:
        return sum(trial.score is not None for trial in self.trials)

    @cached_property
    def diverged(self) -> int:
        return self._unscored(EntryState.DIVERGED)

    @cached_property
    def failed(self) -> int:
        return self._unscored(EntryState.FAILED)

    @cached_property
    def pruned(self) -> int:
        """Seeds that the scheduler stopped early."""
        return self._unscored(EntryState.PRUNED)

    @cached_property
    def collapsed(self) -> int:
        """Seeds with a score that collapsed (`TrialResult.collapsed`)."""
        return sum(trial.collapsed for trial in self.trials)

    @cached_property
    def unfinished(self) -> int:
        """Seeds that may get a score yet."""
        return sum(trial.unfinished for trial in self.trials)

    @property
    def out_of_budget(self) -> int:
        """Seeds that the sweep's budget does not hold."""
        return self._unscored(EntryState.OUT_OF_BUDGET)

    @property
    def lost(self) -> int:
        """Seeds that ended without a score, and not by agreement."""
        return self.diverged + self.failed

    @property
    def still_learning(self) -> bool:
        """Whether its budget ended before it had learned what it could, as far as that is known."""
        return self.convergence is not None and not self.convergence.converged

    @property
    def unreplicated(self) -> bool:
        """Whether it has a mean, but of fewer than `LEAST_SEEDS` seeds."""
        return 0 < self.scored < LEAST_SEEDS

    @property
    def remarks(self) -> list[str]:
        """What is to be said of its seeds besides how many are scored, such as `2 diverged`."""
        return [word if word == "unreplicated" else f"{count} {word}" for word, count in self.terms.items()]

    @property
    def terms(self) -> dict[str, int]:
        """How many of its seeds stand otherwise than scored and sound, by the word for it."""
        counts = {
            "diverged": self.diverged,
            "failed": self.failed,
            "stopped early": self.pruned,
            "out_of_budget": self.out_of_budget,
            "collapsed": self.collapsed,
            "unreplicated": self.scored if self.unreplicated else 0,
        }
        return {word: count for word, count in counts.items() if count}

    @cached_property
    def training_flops(self) -> int:
        """FLOPs of training one of its trials to its budget, with those of earlier stages that count."""
        return self.earlier_flops + self.trials[0].entry.training_flops

    @cached_property
    def settings(self) -> dict[str, str]:
        """What must be equal in two arms for their scores to compare, unless it is what they are compared for."""
        entry = self.trials[0].entry
        trial = from_json(entry.trial_json)
        unread_here = _unread_in(trial)
        return {
            "data": trial["data"]["digest"],
            **{name: str(trial[name]) for name in ("batch_size", "precision", "device")},
            **{name: value for name, value in _settings_of(entry).items() if name not in unread_here},
        }

    @cached_property
    def axis_values(self) -> dict[str, AxisValue]:
        """The value of every axis, of its recipe and of its own."""
        return values_in(self.trials[0].entry.trial, self.arm)

    @cached_property
    def maths_version(self) -> str:
        """Of the numbers of its trials: one for all arms of a sweep, since its grids are planned anew at each start."""
        entry = self.trials[0].entry
        return str(MATHS_VERSION) if entry.trial.id == entry.trial_id else "an earlier one"

    @cached_property
    def first_scored_at(self) -> float:
        """When its first score was made; infinite where it has none."""
        return min((trial.score.created_at for trial in self.trials if trial.score is not None), default=math.inf)

    @cached_property
    def scores(self) -> dict[int, dict[str, float]]:
        """The values by shown name of each seed that has a score."""
        return {trial.entry.seed: trial.score.by_name for trial in self.trials if trial.score is not None}

    @cached_property
    def metrics(self) -> dict[str, Spread]:
        """Every metric that a seed has, in registered order; a missing metric is missing here too."""
        had = {name for score in self.scores.values() for name in score}
        seeds = {name: [*self.by_seed(name).values()] for name in score_names() if name in had}
        return {name: Spread(mean(values), sample_sd(values), len(values)) for name, values in seeds.items()}

    def by_seed(self, metric: str) -> dict[int, float]:
        """The metric of the seeds that have it."""
        return {seed: score[metric] for seed, score in self.scores.items() if metric in score}

    def _unscored(self, state: EntryState) -> int:
        return sum(trial.score is None and trial.entry.state is state for trial in self.trials)


def _settings_of(entry: EntryRow) -> dict[str, str]:
    """Of its evaluation, in words, by field: those that change something."""

    def made() -> dict[str, str]:
        how = entry.evaluation
        return {f"evaluation.{name}": str(value) for name, value in how if name not in how.idle}

    return _SETTINGS.get(entry.evaluation_json, make=made)


def _unread_in(trial: Mapping[str, Any]) -> set[str]:
    method = trial.get("method", {}).get("kind", DENOISER.kind)
    return {f"evaluation.{name}" for name in unread(method)}


def told_apart(arms: Sequence[Arm]) -> list[str]:
    """A name for each: its label, and its budget too where a cell has several; the same trials in two stages have one."""
    budgets: dict[str, set[int]] = {}
    for arm in arms:
        budgets.setdefault(arm.label, set()).add(arm.images)
    return [f"{arm.label} on {arm.images:,} images" if len(budgets[arm.label]) > 1 else arm.label for arm in arms]


def with_scores(entries: Sequence[EntryRow], scores: Sequence[ScoreRow]) -> list[TrialResult]:
    """Each entry with the score at its own budget by its own evaluation."""
    scored = {(score.trial_id, score.images, score.evaluation_id): score for score in scores}
    return [TrialResult(entry, scored.get((entry.trial_id, entry.images, entry.evaluation_id))) for entry in entries]


def by_arm(trials: Iterable[TrialResult]) -> list[list[TrialResult]]:
    """Trials of one stage and cell together, whatever their seed and budget; cells and trials in the order of the plan."""
    cells: dict[tuple[int, str], list[TrialResult]] = {}
    for trial in sorted(trials, key=lambda trial: (trial.entry.stage, trial.entry.position)):
        cells.setdefault((trial.entry.stage, _IN_ORDER(dict(trial.entry.arm))), []).append(trial)
    return list(cells.values())


def grid_arms(trials: Sequence[TrialResult]) -> list[Arm]:
    """A grid's cells, each budget of a cell by itself, in the order of the plan."""
    return [
        Arm(stage=cell[0].entry.stage, arm=cell[0].entry.arm, images=images, trials=tuple(sorted(same, key=_seed)))
        for cell in by_arm(trial for trial in trials if trial.entry.origin == "grid")
        for images, same in _by_budget(cell).items()
    ]


def _by_budget(trials: Sequence[TrialResult]) -> dict[int, list[TrialResult]]:
    budgets: dict[int, list[TrialResult]] = {}
    for trial in trials:
        budgets.setdefault(trial.entry.images, []).append(trial)
    return budgets


def _seed(trial: TrialResult) -> int:
    return trial.entry.seed


def scored_of(arms: Sequence[Arm]) -> ScoreKinds:
    """What arms have scores of."""
    return scored_of_trials([trial for arm in arms for trial in arm.trials])


def scored_of_trials(trials: Sequence[TrialResult]) -> ScoreKinds:
    """The same of trials that share an evaluation."""
    if not trials:
        return ScoreKinds()
    kinds = {kind for kind, name in RUNG_METRICS.items() if any(trial.value(name) is not None for trial in trials)}
    return ScoreKinds(extractor_name(trials[0].entry.evaluation.features), frozenset(kinds) or ScoreKinds().kinds)
