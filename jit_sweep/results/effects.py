"""What the scores of a stage's arms say of a question, one metric at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jit_sweep.plan.questions import Question
from jit_sweep.results.arms import Arm
from jit_sweep.results.scales import in_words, interval_in_words, on_scale, scale_of
from jit_sweep.statistics.contrasts import FEWEST_SEEDS, ContrastTest, Figures, Residual, per_seed, residual, seeds_test
from jit_sweep.statistics.power import Precision, detectable_gap
from jit_sweep.statistics.sign_flips import sign_flip_p
from jit_sweep.statistics.student_t import LEVEL, Interval
from trainables.evaluation.metrics.metric import Scale
from trainables.evaluation.metrics.registry import metric_of


@dataclass(frozen=True)
class Effect:
    """A question's answer in one metric: the first less the second, on the metric's scale."""

    metric: str
    test: ContrastTest
    by_seed: tuple[float, ...]
    level: float = LEVEL
    """Of its interval."""

    @property
    def scale(self) -> Scale:
        return scale_of(self.metric)

    @property
    def estimate(self) -> float:
        return float(self.test.estimate)

    @property
    def loss(self) -> float:
        """Below zero where what the question names first is better."""
        return metric_of(self.metric).loss(self.estimate)

    @property
    def p(self) -> float:
        return float(self.test.p)

    @cached_property
    def interval(self) -> Interval:
        """From the same test; of 95 %, or of what a look must keep for all looks to keep that together."""
        return Interval(*map(float, self.test.interval(self.level)))

    @cached_property
    def flip_p(self) -> float | None:
        """Exact, by flipped signs."""
        return sign_flip_p(self.by_seed)

    def gap(self, *, alpha: float, family: int) -> float:
        """The difference that so many seeds of this spread show four times in five."""
        return detectable_gap(Precision(float(self.test.se), self.test.dof), alpha=alpha, family=family)

    def contradicts(self, other: "Effect") -> bool:
        """Whether its own interval is beyond zero on the other side."""
        return self.interval.excludes_zero and self.loss * other.loss < 0

    def __str__(self) -> str:
        """Such as `-23.0 % [-24.7, -21.3]`."""
        return f"{in_words(self.scale, self.estimate)} {interval_in_words(self.scale, self.interval)}"


class StageScores:
    """The scores of one stage's arms: a table of arms by seeds for each metric."""

    def __init__(self, arms: Sequence[Arm]) -> None:
        """Of a cell with several budgets the largest counts."""
        self.arms: dict[str, Arm] = {}
        for arm in arms:
            known = self.arms.get(arm.label)
            if known is None or known.images < arm.images:
                self.arms[arm.label] = arm
        self._row = {label: row for row, label in enumerate(self.arms)}
        self._seeds = sorted({seed for arm in self.arms.values() for seed in arm.seeds})
        self._tables: dict[str, tuple[Figures, Residual]] = {}

    def asked(self, question: Question) -> tuple[Arm, ...]:
        """The arms of a question."""
        return tuple(self.arms[label] for label in question.labels)

    def effect(self, question: Question, *, metric: str, level: float = LEVEL) -> Effect | None:
        """The question's answer in a metric; None of fewer than two shared seeds."""
        table, rest = self._table(metric)
        weights = dict(sorted(zip((self._row[label] for label in question.labels), question.weights, strict=True)))
        asked, coefficients = table[[*weights]], np.array([*weights.values()])
        by_seed = per_seed(asked, coefficients)
        if len(by_seed) < FEWEST_SEEDS:
            return None
        test = seeds_test(by_seed, squares=float((coefficients**2).sum()), rest=rest)
        return Effect(metric, test, tuple(by_seed.tolist()), level)

    def _table(self, metric: str) -> tuple[Figures, Residual]:
        if metric not in self._tables:
            column, scale = {seed: index for index, seed in enumerate(self._seeds)}, scale_of(metric)
            table = np.full((len(self.arms), len(self._seeds)), np.nan)
            for row, arm in enumerate(self.arms.values()):
                for seed, value in arm.by_seed(metric).items():
                    table[row, column[seed]] = on_scale(value, scale)
            self._tables[metric] = table, residual(table)
        return self._tables[metric]
