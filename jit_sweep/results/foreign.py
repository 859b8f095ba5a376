"""Verdicts on runs that this program did not train: the same pairing, test and outcomes, and an audit of what else differs.

Such runs were there before the question was asked, so a verdict rests on whoever asks not having tried others.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jit_sweep.errors import UserError
from jit_sweep.plan.questions import Question, planned_questions
from jit_sweep.results.comparable import LEAST_SHARED_SEEDS
from jit_sweep.results.findings import Outcome
from jit_sweep.results.scales import in_words, interval_in_words, margin_on, on_scale, shown_on
from jit_sweep.statistics.contrasts import ContrastTest, Figures, Residual, contrast_test, per_seed, residual
from jit_sweep.statistics.equivalence import equivalent
from jit_sweep.statistics.families import holm
from jit_sweep.statistics.power import Precision, detectable_gap
from jit_sweep.statistics.student_t import Interval
from search_spaces.cells import arm_label
from trainables.config.spelling import did_you_mean
from trainables.evaluation.metrics.metric import Scale

ALPHA = 0.05


@dataclass(frozen=True)
class ForeignRun:
    """One run, as its tracker has it."""

    name: str
    columns: Mapping[str, str]
    """Parameters and the like."""
    scores: Mapping[str, float]
    """Metrics; a run that was lost has none."""
    ended: bool = True
    measured: frozenset[str] = frozenset()
    """Columns that its tracker knows for results: they may differ between arms."""


@dataclass(frozen=True)
class ForeignComparison:
    """What is compared with what, by the names of columns."""

    arm: tuple[str, ...]
    seed: str
    metric: str
    maximize: bool = False
    scale: Scale = "raw"
    ignore: tuple[str, ...] = ()
    """Columns that may differ between arms, such as other scores."""


@dataclass(frozen=True)
class ForeignFinding:
    """A question, and what the runs say of it."""

    question: Question
    outcome: Outcome
    reason: str
    test: ContrastTest | None
    adjusted_p: float
    scale: Scale
    gap: float | None = None

    @property
    def interval(self) -> Interval | None:
        """95 %, on the scale."""
        return Interval(*map(float, self.test.interval())) if self.test else None

    @property
    def effect(self) -> str:
        """Such as `-23.0 % [-24.7, -21.3]`; empty without a test."""
        if self.test is None or self.interval is None:
            return ""
        return f"{in_words(self.scale, float(self.test.estimate))} {interval_in_words(self.scale, self.interval)}"

    @property
    def verdict(self) -> str:
        return f"{self.outcome}: {self.reason}" if self.reason else str(self.outcome)

    def as_row(self) -> dict[str, Any]:
        """All of it, for programs."""
        test, interval = self.test, self.interval
        shown = {
            "effect": shown_on(self.scale, float(test.estimate)),
            "interval": [shown_on(self.scale, end) for end in interval],
            "p": float(test.p),
            "n": test.n,
            "dof": test.dof,
        } if test and interval else None  # fmt: skip
        return {
            "question": self.question.label,
            "cells": [dict(cell) for cell in self.question.cells],
            "weights": list(self.question.weights),
            "verdict": str(self.outcome),
            "reason": self.reason,
            "unit": "percent" if self.scale == "log" else "as measured",
            "test": shown,
            "adjusted_p": self.adjusted_p,
            "visible_gap": shown_on(self.scale, self.gap) if self.gap is not None else None,
        }


@dataclass(frozen=True)
class ForeignVerdicts:
    """The answers, and what is to be known about the runs."""

    findings: tuple[ForeignFinding, ...]
    remarks: tuple[str, ...]


class _Arms:
    """Runs by arm and seed."""

    def __init__(self, runs: Sequence[ForeignRun], how: ForeignComparison) -> None:
        self.how, self.repeated = how, 0
        self.cells: dict[str, dict[str, str]] = {}
        self.of: dict[str, dict[str, ForeignRun]] = {}
        for run in runs:
            cell = {column: run.columns[column] for column in how.arm}
            self.cells.setdefault(arm_label(cell), cell)
            by_seed = self.of.setdefault(arm_label(cell), {})
            self.repeated += run.columns[how.seed] in by_seed
            by_seed.setdefault(run.columns[how.seed], run)
        self.seeds = sorted({seed for by_seed in self.of.values() for seed in by_seed})
        self.table = np.array([[self._value(label, seed) for seed in self.seeds] for label in self.of])

    def _value(self, label: str, seed: str) -> float:
        run = self.of[label].get(seed)
        return on_scale(run.scores.get(self.how.metric, math.nan), self.how.scale) if run else math.nan

    @property
    def runs(self) -> list[ForeignRun]:
        """Those that count."""
        return [run for by_seed in self.of.values() for run in by_seed.values()]

    def lost(self, label: str) -> int:
        """Runs that ended without the score."""
        return sum(run.ended and not math.isfinite(self._value(label, seed)) for seed, run in self.of[label].items())

    def unfinished(self, label: str) -> int:
        return sum(not run.ended for run in self.of[label].values())

    def coefficients(self, question: Question) -> Figures:
        """The question's weights, by row of the table."""
        weights = dict(zip(question.labels, question.weights, strict=True))
        return np.array([weights.get(label, 0.0) for label in self.of])


def judge(runs: Sequence[ForeignRun], how: ForeignComparison) -> ForeignVerdicts:
    """The verdict on each arm against the first, and where several columns cross, on their interactions.

    UserError: a column or the metric is not among the runs', or there are not two arms.
    """
    known = sorted({column for run in runs for column in run.columns})
    for column in (*how.arm, how.seed, *how.ignore):
        if column not in known:
            remedy = did_you_mean(column, known, otherwise=f"there are {', '.join(known) or 'none'}")
            raise UserError(f"a column must be one of the runs' own, got {column!r}; {remedy}")
    scores = sorted({score for run in runs for score in run.scores})
    if how.metric not in scores:
        remedy = did_you_mean(how.metric, scores, otherwise=f"there are {', '.join(scores) or 'none'}")
        raise UserError(f"`--metric` must be a score of the runs, got {how.metric!r}; {remedy}")
    told = [run for run in runs if all(column in run.columns for column in (*how.arm, how.seed))]
    arms = _Arms(told, how)
    if len(arms.of) < 2:
        raise UserError(f"a verdict needs two arms, got {len(arms.of)} by {', '.join(how.arm)}; give another --arm")
    return ForeignVerdicts(tuple(_findings(arms)), tuple(_remarks(arms, left_out=len(runs) - len(told))))


def _questions(arms: _Arms) -> Sequence[Question]:
    cells = list(arms.cells.values())
    crossed = planned_questions(cells, baseline={}) if len(arms.how.arm) > 1 else ()
    return crossed or [Question.pair(arms.how.arm, cell, cells[0]) for cell in cells[1:]]


def _findings(arms: _Arms) -> Iterator[ForeignFinding]:
    questions, rest = _questions(arms), residual(arms.table)
    ignored = {column for column in _columns(arms) if _names_runs(arms, column)}
    refused = [_refusal(arms, question, ignored) for question in questions]
    tests = [None if why else _test(arms, question, rest) for question, why in zip(questions, refused, strict=True)]
    adjusted = holm([float(test.p) if test else math.nan for test in tests]).tolist()
    for question, why, test, p in zip(questions, refused, tests, adjusted, strict=True):
        yield _answer(arms, question, why, test, p, family=len(questions))


def _test(arms: _Arms, question: Question, rest: Residual) -> ContrastTest:
    return contrast_test(arms.table, arms.coefficients(question), rest=rest)


def _answer(arms: _Arms, question: Question, why: str, test: ContrastTest | None, p: float, *, family: int) -> ForeignFinding:
    scale = arms.how.scale
    if test is None:
        return ForeignFinding(question, Outcome.NOT_COMPARABLE, why, None, p, scale)
    by_seed, gap = per_seed(arms.table, arms.coefficients(question)), _gap(test, family)
    margin = margin_on(scale, None)

    def found(outcome: Outcome, reason: str) -> ForeignFinding:
        return ForeignFinding(question, outcome, reason, test, p, scale, gap)

    if question.kind == "contrast" and not by_seed.any():
        return found(Outcome.SAME_RUN, f"{' and '.join(arms.how.arm)} changed nothing")
    if margin is not None and equivalent(test, margin=margin, alpha=ALPHA, family=family):
        return found(Outcome.EQUIVALENT, f"less than {in_words(scale, margin, sign=False)} apart")
    if p > ALPHA:
        return found(Outcome.INCONCLUSIVE, f"a gap of {in_words(scale, gap, sign=False)} could have been seen")
    loss = float(test.estimate) * (-1 if arms.how.maximize else 1)
    gaining = [label for label, weight in zip(question.labels, question.weights, strict=True) if weight * loss < 0]
    if spared := [f"{label} lost {arms.lost(label)} of {len(arms.of[label])} runs" for label in gaining if arms.lost(label)]:
        return found(Outcome.INCONCLUSIVE, f"of the survivors: {', '.join(spared)}")
    winner = question.labels[0 if loss < 0 else 1]
    return found(Outcome.REAL, f"{winner} is better" if question.kind == "contrast" else "the difference depends on it")


def _gap(test: ContrastTest, family: int) -> float:
    return detectable_gap(Precision(float(test.se), test.dof), alpha=ALPHA, family=family)


def _refusal(arms: _Arms, question: Question, ignored: set[str]) -> str:
    """Why the arms of a question do not compare; empty where nothing keeps them from it."""
    if running := sum(arms.unfinished(label) for label in question.labels):
        return f"unfinished: {running} runs"
    for column in sorted(_columns(arms) - ignored, key=lambda name: ("batch" not in name.lower(), name)):
        if values := _differing(arms, question, column):
            return (
                f"{column}: {' and '.join(values)}; it is no --arm, and differs between the arms; --ignore it if it is a result"
            )
    shared = len(per_seed(arms.table, arms.coefficients(question)))
    few = shared < LEAST_SHARED_SEEDS
    return f"seeds: {shared} shared, and a verdict needs {LEAST_SHARED_SEEDS}" if few else ""


def _columns(arms: _Arms) -> set[str]:
    """What else the runs say of themselves."""
    named = {*arms.how.arm, arms.how.seed, arms.how.metric, *arms.how.ignore}
    return {column for run in arms.runs for column in run.columns if column not in run.measured} - named


def _measured(arms: _Arms) -> set[str]:
    """What the runs' tracker knows for results besides the metric."""
    return {column for run in arms.runs for column in run.measured} - {*arms.how.arm, arms.how.seed, arms.how.metric}


def _names_runs(arms: _Arms, column: str) -> bool:
    """Whether no two runs share a value, as of a path or a date: that cannot be what makes an arm better."""
    values = [run.columns[column] for by_seed in arms.of.values() for run in by_seed.values() if column in run.columns]
    return len(set(values)) == len(values) > len(arms.of)


def _differing(arms: _Arms, question: Question, column: str) -> list[str]:
    """The values of a column where the arms differ in it at a seed that they share; empty where they never do."""
    by_seed = [arms.of[label] for label in question.labels]
    for seed in sorted(set.intersection(*({*runs} for runs in by_seed))):
        values = list(dict.fromkeys(runs[seed].columns.get(column, "none") for runs in by_seed))
        if len(values) > 1:
            return values
    return []


def _remarks(arms: _Arms, *, left_out: int) -> Iterator[str]:
    if left_out:
        yield f"{left_out} runs lack a column of the arm or the seed, and are left out"
    if arms.repeated:
        yield f"{arms.repeated} runs repeat an arm and a seed: the first counts"
    if lost := {label: arms.lost(label) for label in arms.of if arms.lost(label)}:
        told = ", ".join(f"{count} of {len(arms.of[label])} of {label}" for label, count in lost.items())
        yield f"ended without {arms.how.metric}: {told}"
    if results := sorted(_measured(arms)):
        yield f"results, and not looked at: {', '.join(results)}"
    if named := sorted(column for column in _columns(arms) if _names_runs(arms, column)):
        yield f"different in every run, and not looked at: {', '.join(named)}"
