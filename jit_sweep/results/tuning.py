"""How each arm did at the settings that it was tuned over, and which it is judged at. Pure, from the ledger's rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jit_sweep.ledger.records import EntryRow, ScoreRow
from jit_sweep.plan.entry import Entry, Plan
from jit_sweep.plan.tuned_arms import tuned_arms, tunings
from jit_sweep.results.arms import TrialResult, with_scores
from jit_sweep.statistics.student_t import mean
from search_spaces.axis import AxisValue
from search_spaces.cells import arm_label
from trainables.config.fields import counted
from trainables.evaluation.metrics.registry import metric_of


@dataclass(frozen=True)
class TriedArm:
    """An arm at one setting, over the tuning seeds."""

    stage: int
    arm: Mapping[str, AxisValue]
    setting: Mapping[str, AxisValue]
    trials: tuple[TrialResult, ...]
    objective: str

    @property
    def unscored(self) -> int:
        """Seeds without a score, of which collapsed ones have none that counts."""
        return sum(trial.value(self.objective) is None or trial.collapsed for trial in self.trials)

    @property
    def score(self) -> float | None:
        """The mean over the seeds that have one."""
        values = [value for trial in self.trials if (value := trial.value(self.objective)) is not None]
        return mean(values) if values else None

    @property
    def loss(self) -> tuple[int, bool, float, int]:
        """Sorts the best setting first: a mean of survivors is none, and of equal ones the first in the plan counts."""
        score, first = self.score, min(trial.entry.position for trial in self.trials)
        return self.unscored, score is None, metric_of(self.objective).loss(score) if score is not None else 0.0, first


@dataclass(frozen=True)
class TunedStage:
    """The arms of a stage at the settings that they were tried at, all arms at the same ones."""

    stage: int
    tried: tuple[TriedArm, ...]
    """In the order of the plan."""

    @property
    def ended(self) -> bool:
        """Whether nothing is waited for."""
        return not any(trial.unfinished for each in self.tried for trial in each.trials)

    @property
    def best(self) -> dict[str, TriedArm]:
        """Each arm at the setting that it is judged at, by the arm's label."""
        found: dict[str, TriedArm] = {}
        for each in sorted(self.tried, key=lambda each: each.loss):
            found.setdefault(arm_label(each.arm), each)
        return found

    @property
    def shared(self) -> dict[str, TriedArm]:
        """Each arm at the one setting whose mean over all arms is the best; empty where no setting has every arm scored."""
        by_setting: dict[str, list[TriedArm]] = {}
        for each in self.tried:
            by_setting.setdefault(arm_label(each.setting), []).append(each)
        arms = len(self.best)
        whole = [of for of in by_setting.values() if len(of) == arms and not any(each.unscored for each in of)]
        best = min(whole, key=lambda of: mean([each.loss[2] for each in of]), default=[])
        return {arm_label(each.arm): each for each in best}

    @property
    def caption(self) -> str:
        """What was done, and what may not be read out of it."""
        settings = len({arm_label(each.setting) for each in self.tried})
        tuned, seeds = " and ".join(self.tried[0].setting), len(self.tried[0].trials)
        tried = f"tuned at {settings} settings of {tuned} with {counted(seeds, 'tuning seed')} by {self.tried[0].objective}"
        return f"{tried}, too good where it chose; verdicts are of each arm at its best, by other seeds"

    @property
    def views(self) -> list["Views"]:
        """Each arm at its best and at the setting that is best for all, in the order of the plan."""
        best, shared = self.best, self.shared
        return [Views(label, best[label], shared.get(label)) for label in dict.fromkeys(arm_label(t.arm) for t in self.tried)]


class Views(NamedTuple):
    """An arm at two settings."""

    arm: str
    best: TriedArm
    shared: TriedArm | None


def tuned_stages(trials: Sequence[TrialResult], *, objective: str) -> list[TunedStage]:
    """The stages of a sweep that tune their arms; `trials`: all of the sweep."""
    groups: dict[tuple[int, str], list[TrialResult]] = {}
    for trial in sorted(trials, key=lambda trial: (trial.entry.stage, trial.entry.position)):
        if trial.entry.origin == "tuning":
            groups.setdefault((trial.entry.stage, arm_label(trial.entry.arm)), []).append(trial)
    tried = [_tried(of, objective) for of in groups.values()]
    stages = dict.fromkeys(each.stage for each in tried)
    return [TunedStage(stage, tuple(each for each in tried if each.stage == stage)) for stage in stages]


def _tried(trials: Sequence[TrialResult], objective: str) -> TriedArm:
    entry = trials[0].entry
    setting = {axis: value for axis, value in entry.arm.items() if axis not in entry.base}
    return TriedArm(entry.stage, entry.base, setting, tuple(trials), objective)


def arms_at_their_best(plan: Plan, rows: Sequence[EntryRow], scores: Sequence[ScoreRow]) -> Iterator[Entry]:
    """The trials of the arms of each stage all of whose tuning trials have ended: the same scores always give the same."""
    wanted = {entry.key for entry in plan.entries if entry.origin == "tuning"}
    known = [row for row in rows if row.key in wanted and not row.superseded]
    missing = {entry.stage for entry in plan.entries if entry.key in wanted - {row.key for row in known}}
    for each in tuned_stages(with_scores(known, scores), objective=plan.spec.objective):
        if each.ended and each.stage in tunings(plan) and each.stage not in missing:
            yield from tuned_arms(plan, each.stage, {label: best.setting for label, best in each.best.items()})
