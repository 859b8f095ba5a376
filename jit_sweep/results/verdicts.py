"""What a sweep found: each question that it planned, answered together with the others.

The method: a contrast on the objective, Holm's correction over what was planned, the other metrics as veto. A question whose
arms were stopped, lost or cannot be compared keeps its place in the family.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from jit_sweep.plan.questions import Question, planned_questions
from jit_sweep.results.arms import Arm, extractor_of
from jit_sweep.results.comparable import LEAST_SHARED_SEEDS, Marks, refusal, same_run
from jit_sweep.results.effects import Effect, StageScores
from jit_sweep.results.losses import SeedRates, seed_rates
from jit_sweep.results.pairs import pairs_that_differ_in_one_axis
from jit_sweep.results.scales import in_words, margin_on
from jit_sweep.spec.stages import Design
from jit_sweep.spec.sweep import Matched
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


class Findings(NamedTuple):
    """What a sweep planned to ask, and what else may be looked at."""

    planned: tuple[Finding, ...] = ()
    exploratory: tuple[Finding, ...] = ()
    """Asked after the scores of their arms were known, or never; none of them is ever called real."""

    @property
    def every(self) -> tuple[Finding, ...]:
        return (*self.planned, *self.exploratory)

    def among(self, labels: Collection[str]) -> "Findings":
        """Those that are about these arms alone, as they were judged with the others."""
        kept = (tuple(each for each in part if {*each.question.labels} <= {*labels}) for part in self)
        return Findings(*kept)

    @property
    def same_runs(self) -> bool:
        """Whether an axis changed nothing somewhere."""
        return any(each.outcome is Outcome.SAME_RUN for part in self for each in part)


NO_FINDINGS = Findings()


def findings(arms: Sequence[Arm], asking: Asking) -> Findings:
    """The answers to all that a sweep asks of its arms, and of each other pair of arms that differ in one axis."""
    stages: defaultdict[int, list[Arm]] = defaultdict(list)
    for arm in sorted(arms, key=lambda arm: arm.position):
        stages[arm.stage].append(arm)
    planned, exploratory = list[Reply](), list[Reply]()
    for stage, of_stage in stages.items():
        scores = StageScores(of_stage)
        cells = [arm.arm for arm in scores.arms.values()]
        asked = planned_questions(cells, baseline=asking.baseline, design=asking.designs.get(stage))
        for each in (reply(question, scores, asking) for question in asked):
            (exploratory if each.is_post_hoc else planned).append(each)
        known = {frozenset(question.labels) for question in asked}
        for axis, one, other in pairs_that_differ_in_one_axis(list(scores.arms.values())):
            if frozenset((one.label, other.label)) not in known:
                exploratory.append(reply(Question.pair((axis,), one.arm, other.arm), scores, asking))
    return Findings(tuple(_judged(planned, asking)), tuple(_explored(exploratory)))


@dataclass(frozen=True)
class Reply:
    """A question's arms and effects, before it is judged among the others."""

    question: Question
    arms: tuple[Arm, ...]
    refused: str
    """Why there is no verdict, whatever the scores; empty where there may be one."""
    effect: Effect | None
    others: tuple[Effect, ...]
    asked_at: float

    @property
    def is_decidable(self) -> bool:
        """Whether it was planned with seeds enough: else it has no place among the questions."""
        return min(len(arm.trials) for arm in self.arms) >= LEAST_SHARED_SEEDS

    @property
    def is_post_hoc(self) -> bool:
        """Whether each of its arms had a score when it was asked."""
        first = [min((t.score.created_at for t in arm.trials if t.score), default=math.inf) for arm in self.arms]
        return max(first) < self.asked_at

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
    return Reply(
        question,
        arms,
        refusal(question, arms, objective=asking.objective, marks=asking.marks, matched=asking.matched),
        effect,
        tuple(other for other in others if other),
        asking.asked_at.get(question.key, -math.inf),
    )


def _judged(answers: Sequence[Reply], asking: Asking) -> Iterator[Finding]:
    family = [each for each in answers if each.is_decidable]
    adjusted = iter(holm([each.p for each in family]).tolist() if family else ())
    for each in answers:
        p = next(adjusted) if each.is_decidable else None
        if unjudged := each.unjudged():
            yield replace(unjudged, adjusted_p=p)
        elif each.effect is not None and p is not None:
            yield _verdict(each, each.effect, p, asking, family=len(family))


def judged_alone(asked: Reply, asking: Asking) -> Finding:
    """The answer to a question that is asked by itself. Its arms must share seeds enough for one, or be refused."""
    return next(_judged([asked], asking))


def _explored(answers: Sequence[Reply]) -> Iterator[Finding]:
    for each in answers:
        yield each.unjudged() or each.finding(Outcome.POST_HOC, "it was not asked before its scores were known")


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
