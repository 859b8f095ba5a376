"""What a sweep found: each question that it planned, answered together with the others.

The method: a contrast on the objective, Holm's correction over what was planned, the other metrics as veto. A question whose
arms were stopped, lost or cannot be compared keeps its place in the family.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property, partial
from typing import NamedTuple, overload

import numpy as np

from jit_sweep.plan.questions import Question, planned_questions
from jit_sweep.results.arms import Arm, extractor_of
from jit_sweep.results.comparable import LEAST_SHARED_SEEDS, Marks, refusal, same_run
from jit_sweep.results.effects import Effect, StageScores
from jit_sweep.results.losses import SeedRates, seed_rates
from jit_sweep.results.pairs import pairs_that_differ_in_one_axis
from jit_sweep.results.scales import in_words, margin_on
from jit_sweep.spec.stages import Design
from jit_sweep.spec.sweep import Matched
from jit_sweep.statistics.contrasts import Figures
from jit_sweep.statistics.equivalence import equivalent
from jit_sweep.statistics.families import holm
from search_spaces.axis import AxisValue
from trainables.evaluation.metrics.registry import METRICS, verdict_metrics


class Outcome(StrEnum):
    """All that can be said of a question."""

    REAL = "REAL"
    EQUIVALENT = "EQUIVALENT"
    CONFLICT = "CONFLICT"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_COMPARABLE = "NOT COMPARABLE"
    SAME_RUN = "SAME RUN"
    POST_HOC = "POST HOC"


@dataclass(frozen=True)
class Asking:
    """How a sweep's questions are answered."""

    objective: str
    alpha: float = 0.05
    margin: float | None = None
    designs: Mapping[int, Design] = field(default_factory=dict)
    """What the file plans, by stage."""
    baseline: Mapping[str, AxisValue] = field(default_factory=dict)
    """The baseline's value of each axis."""
    asked_at: Mapping[str, float] = field(default_factory=dict)
    """When each question was first asked, by key; without an entry it was asked before everything."""
    marks: Marks = field(default_factory=dict)
    matched: Matched = "images"
    """What the arms were given the same of."""


@dataclass(frozen=True)
class Finding:
    """A question and what the scores say of it."""

    question: Question
    arms: tuple[Arm, ...]
    outcome: Outcome
    reason: str
    effect: Effect | None = None
    """In the objective."""
    adjusted_p: float | None = None
    """Over what was planned, by Holm; None where it is not part of that."""
    gap: float | None = None
    """The smallest difference that these seeds show four times in five, on the objective's scale."""
    others: tuple[Effect, ...] = ()
    """In the other metrics that can judge the axes."""
    rates: SeedRates | None = None
    """Of lost and collapsed seeds, where there are any."""

    @property
    def winner(self) -> str:
        """The better arm of a real contrast or main effect, by what it differs in; empty where there is none."""
        if self.outcome is not Outcome.REAL or self.question.kind == "interaction" or self.effect is None:
            return ""
        return self.question.side(0 if self.effect.loss < 0 else 1)

    @property
    def verdict(self) -> str:
        """Such as `REAL: prediction=x is better`, or `INCONCLUSIVE: a gap of 4.1 % could have been seen`."""
        return f"{self.outcome}: {self.reason}" if self.reason else str(self.outcome)

    @property
    def line(self) -> str:
        """All of it in one line."""
        effect = f"{self.effect}, " if self.effect else ""
        return f"{self.question.label}: {effect}{self.verdict}"


class Unread:
    """A finding that is worked out when it is first read: a table shows fifty of thousands."""

    def __init__(self, arms: tuple[Arm, ...], answer: Callable[[], Finding]) -> None:
        self.arms, self._answer = arms, answer

    @cached_property
    def finding(self) -> Finding:
        return self._answer()

    @property
    def is_decidable(self) -> bool:
        """Whether it was planned with seeds enough: else it has no place among the questions."""
        return is_decidable(self.arms)

    @property
    def is_same_run(self) -> bool:
        return same_run(self.arms)


class Answers(Sequence[Finding]):
    """Findings in order, each worked out when it is first read."""

    def __init__(self, unread: Iterable[Unread] = ()) -> None:
        self.unread = tuple(unread)

    def __len__(self) -> int:
        return len(self.unread)

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> "Answers": ...
    def __getitem__(self, index: int | slice) -> "Finding | Answers":
        return Answers(self.unread[index]) if isinstance(index, slice) else self.unread[index].finding

    def of(self, fits: Callable[[Unread], bool]) -> "Answers":
        """Those that fit by what is known of them without reading them."""
        return Answers(filter(fits, self.unread))


class Findings(NamedTuple):
    """What a sweep planned to ask, and what else may be looked at."""

    planned: Answers = Answers()
    exploratory: Answers = Answers()
    """Asked after the scores of their arms were known, or never; none of them is ever called real."""

    @property
    def every(self) -> Answers:
        return Answers((*self.planned.unread, *self.exploratory.unread))

    def among(self, labels: Collection[str]) -> "Findings":
        """Those that are about these arms alone, as they were judged with the others."""
        kept = {*labels}
        return Findings(*(part.of(lambda each: all(arm.label in kept for arm in each.arms)) for part in self))

    @property
    def same_runs(self) -> bool:
        """Whether an axis changed nothing somewhere."""
        return any(each.is_same_run for part in self for each in part.unread)


NO_FINDINGS = Findings()


def findings(arms: Sequence[Arm], asking: Asking) -> Findings:
    """The answers to all that a sweep asks of its arms, and of each other pair of arms that differ in one axis."""
    stages: defaultdict[int, list[Arm]] = defaultdict(list)
    for arm in sorted(arms, key=lambda arm: arm.position):
        stages[arm.stage].append(arm)
    planned, exploratory = list[_Asked](), list[Unread]()
    for stage, of_stage in stages.items():
        scores = StageScores(of_stage)
        cells = [arm.arm for arm in scores.arms.values()]
        asked = planned_questions(cells, baseline=asking.baseline, design=asking.designs.get(stage))
        for each in (_Asked(question, scores.asked(question), scores) for question in asked):
            if each.is_post_hoc(asking):
                exploratory.append(Unread(each.arms, partial(_explored, each.reply, asking)))
            else:
                planned.append(each)
        known = {frozenset(question.labels) for question in asked}
        for axis, one, other in pairs_that_differ_in_one_axis(list(scores.arms.values())):
            if frozenset((one.label, other.label)) not in known:
                exploratory.append(Unread((one, other), partial(_explored, partial(_pair, axis, one, other, scores), asking)))
    return Findings(Answers(_judged(planned, asking)), Answers(exploratory))


class _Asked(NamedTuple):
    """A planned question about the arms of a stage."""

    question: Question
    arms: tuple[Arm, ...]
    scores: StageScores

    def is_post_hoc(self, asking: Asking) -> bool:
        """Whether each of its arms had a score when it was asked."""
        return max(arm.first_scored_at for arm in self.arms) < asking.asked_at.get(self.question.key, -math.inf)

    def reply(self, asking: Asking) -> "Reply":
        return reply(self.question, self.scores, asking)


@dataclass(frozen=True)
class Reply:
    """A question's arms and effects, before it is judged among the others."""

    question: Question
    arms: tuple[Arm, ...]
    refused: str
    """Why there is no verdict, whatever the scores; empty where there may be one."""
    effect: Effect | None
    others: tuple[Effect, ...]

    @property
    def p(self) -> float:
        """NaN where there is no test."""
        return self.effect.p if self.effect and not self.refused else math.nan

    def finding(self, outcome: Outcome, reason: str, *, adjusted_p: float | None = None, gap: float | None = None) -> Finding:
        rates = seed_rates(self.arms)
        return Finding(self.question, self.arms, outcome, reason, self.effect, adjusted_p, gap, self.others, rates)

    def unjudged(self) -> Finding | None:
        """What there is to say without a test."""
        if same_run(self.arms):
            return self.finding(Outcome.SAME_RUN, f"{' and '.join(self.question.axes)} changed nothing")
        return self.finding(Outcome.NOT_COMPARABLE, self.refused) if self.refused or not self.effect else None


def reply(question: Question, scores: StageScores, asking: Asking) -> Reply:
    """What the scores of a question's arms say, in the objective and in the other metrics that can judge its axes."""
    arms = scores.asked(question)
    judges = [
        m
        for m in verdict_metrics(asking.objective, extractor=extractor_of(arms))
        if m != asking.objective and not METRICS[m].blind_to & {*question.axes}
    ]
    effect, *others = (scores.effect(question, metric=metric) for metric in (asking.objective, *judges))
    return Reply(question, arms, _refusal(question, arms, asking), effect, tuple(other for other in others if other))


def _pair(axis: str, one: Arm, other: Arm, scores: StageScores, asking: Asking) -> Reply:
    return reply(Question.pair((axis,), one.arm, other.arm), scores, asking)


def _refusal(question: Question, arms: Sequence[Arm], asking: Asking) -> str:
    return refusal(question, arms, objective=asking.objective, marks=asking.marks, matched=asking.matched)


def is_decidable(arms: Sequence[Arm]) -> bool:
    """Whether seeds enough were planned for a question about these arms."""
    return min(len(arm.trials) for arm in arms) >= LEAST_SHARED_SEEDS


def _judged(asked: Sequence[_Asked], asking: Asking) -> Iterator[Unread]:
    """All planned questions are tested together before any of them is read."""
    family = [each for each in asked if is_decidable(each.arms)]
    adjusted = iter(holm(_p_values(family, asking)).tolist() if family else ())
    for each in asked:
        p = next(adjusted) if is_decidable(each.arms) else None
        yield Unread(each.arms, partial(_read, each, p, asking, family=len(family)))


def _p_values(family: Sequence[_Asked], asking: Asking) -> Figures:
    """The p of each question on the objective; NaN where it is refused."""
    found = np.full(len(family), math.nan)
    of_stage: defaultdict[StageScores, list[int]] = defaultdict(list)
    for number, each in enumerate(family):
        if not _refusal(each.question, each.arms, asking):
            of_stage[each.scores].append(number)
    for scores, numbers in of_stage.items():
        found[numbers] = scores.p_values([family[number].question for number in numbers], metric=asking.objective)
    return found


def _read(asked: _Asked, p: float | None, asking: Asking, *, family: int) -> Finding:
    return _judge(asked.reply(asking), p, asking, family=family)


def _judge(answer: Reply, p: float | None, asking: Asking, *, family: int) -> Finding:
    if unjudged := answer.unjudged():
        return replace(unjudged, adjusted_p=p)
    assert answer.effect is not None
    assert p is not None
    return _verdict(answer, answer.effect, p, asking, family=family)


def judged_alone(answer: Reply, asking: Asking) -> Finding:
    """The answer to a question that is asked by itself. Its arms must share seeds enough for one, or be refused."""
    p = float(holm([answer.p])[0]) if is_decidable(answer.arms) else None
    return _judge(answer, p, asking, family=1)


def _explored(replied: Callable[[Asking], Reply], asking: Asking) -> Finding:
    answer = replied(asking)
    return answer.unjudged() or answer.finding(Outcome.POST_HOC, "it was not asked before its scores were known")


def _verdict(asked: Reply, effect: Effect, p: float, asking: Asking, *, family: int) -> Finding:
    """The outcome of a question that can be tested."""
    gap = effect.gap(alpha=asking.alpha, family=family)
    margin = margin_on(effect.scale, asking.margin)

    def found(outcome: Outcome, reason: str) -> Finding:
        return asked.finding(outcome, reason, adjusted_p=p, gap=gap)

    if margin is not None and equivalent(effect.test, margin=margin, alpha=asking.alpha, family=family):
        return found(Outcome.EQUIVALENT, f"less than {in_words(effect.scale, margin, sign=False)} apart")
    if p > asking.alpha:
        return found(Outcome.INCONCLUSIVE, f"a gap of {in_words(effect.scale, gap, sign=False)} could have been seen")
    if against := [other for other in asked.others if other.contradicts(effect)]:
        return found(Outcome.CONFLICT, "; ".join(f"{other.metric} says otherwise: {other}" for other in against))
    if spared := _gain_by_losses(asked, effect):
        return found(Outcome.INCONCLUSIVE, f"of the survivors: {spared}")
    real = found(Outcome.REAL, "")
    return replace(real, reason=f"{real.winner} is better" if real.winner else "the difference depends on it")


def _gain_by_losses(asked: Reply, effect: Effect) -> str:
    """The arms that the effect speaks for though they lost or collapsed seeds, whose worse half may be what is missing."""
    weighted = zip(asked.question.weights, asked.arms, strict=True)
    gaining = [arm for weight, arm in weighted if weight * effect.loss < 0 and (arm.lost or arm.collapsed)]
    return " and ".join(f"{arm.label} has {', '.join(arm.remarks)} of {len(arm.trials)} seeds" for arm in gaining)
