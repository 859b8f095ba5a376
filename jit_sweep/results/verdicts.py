"""What a sweep found: each question that it planned, answered together with the others.

The method: a contrast on the objective, Holm's correction over what was planned, the other metrics as veto. A question whose
arms were stopped, lost or cannot be compared keeps its place in the family; one that its plan left no answer has none.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from jit_sweep.plan.questions import Question, planned_questions
from jit_sweep.results.arms import Arm
from jit_sweep.results.effects import Effect, StageScores
from jit_sweep.results.findings import Answers, Asking, Finding, Findings, Outcome, Reply, Unread, is_decidable, refused, reply
from jit_sweep.results.looks import replies_at_looks
from jit_sweep.results.pairs import pairs_that_differ_in_one_axis
from jit_sweep.results.scales import in_words, margin_on
from jit_sweep.spec.stages import StageMatched
from jit_sweep.statistics.contrasts import Figures
from jit_sweep.statistics.equivalence import equivalent
from jit_sweep.statistics.families import holm


def findings(arms: Sequence[Arm], asking: Asking) -> Findings:
    """The answers to all that a sweep asks of its arms, and of each other pair of arms that differ in one axis."""
    stages: defaultdict[int, list[Arm]] = defaultdict(list)
    for arm in sorted(arms, key=lambda arm: arm.position):
        stages[arm.stage].append(arm)
    planned, exploratory = dict[int, list[_Asked]](), list[Unread]()
    for stage, of_stage in stages.items():
        scores = StageScores(of_stage)
        cells = [arm.arm for arm in scores.arms.values()]
        design, matched = asking.designs.get(stage), asking.matched_in.get(stage)
        questions = planned_questions(cells, baseline=asking.baseline, design=design, matched=matched)
        asked = [_Asked(question, scores.asked(question), scores) for question in questions]
        planned[stage] = [each for each in asked if not each.is_post_hoc(asking)]
        exploratory += [
            Unread(each.arms, asking.objective, partial(_explored, each.reply, asking))
            for each in asked
            if each.is_post_hoc(asking)
        ]
        known = {frozenset(question.labels) for question in questions}
        for axis, one, other in pairs_that_differ_in_one_axis(list(scores.arms.values())):
            if frozenset((one.label, other.label)) not in known:
                answer = partial(_of_pair, axis, one, other, scores, matched)
                exploratory.append(Unread((one, other), asking.objective, partial(_explored, answer, asking)))
    family = sum(is_decidable(each.arms, asking.objective) for of in planned.values() for each in of)
    for stage, race in asking.races.items():
        if racing := planned.get(stage):
            looked = replies_at_looks([each.question for each in racing], stages[stage], asking, race, family=family)
            planned[stage] = [_Asked(each.question, each.arms, racing[0].scores, each) for each in looked]
    return Findings(Answers(_judged([each for of in planned.values() for each in of], asking)), Answers(exploratory))


class _Asked(NamedTuple):
    """A planned question about the arms of a stage."""

    question: Question
    arms: tuple[Arm, ...]
    scores: StageScores
    looked: Reply | None = None
    """What its last look said, where its seeds race."""

    def is_post_hoc(self, asking: Asking) -> bool:
        """Whether each of its arms had a score when it was asked."""
        return max(arm.first_scored_at for arm in self.arms) < asking.asked_at.get(self.question.key, -math.inf)

    def reply(self, asking: Asking) -> Reply:
        return self.looked or reply(self.question, self.scores, asking)


def _of_pair(axis: str, one: Arm, other: Arm, scores: StageScores, matched: StageMatched | None, asking: Asking) -> Reply:
    question = Question.pair((axis,), one.arm, other.arm).model_copy(update={"matched": matched})
    return reply(question, scores, asking)


def _judged(asked: Sequence[_Asked], asking: Asking) -> Iterator[Unread]:
    """All planned questions are tested together before any of them is read."""
    family = [each for each in asked if is_decidable(each.arms, asking.objective)]
    adjusted = iter(holm(_p_values(family, asking)).tolist() if family else ())
    for each in asked:
        p = next(adjusted) if is_decidable(each.arms, asking.objective) else None
        yield Unread(each.arms, asking.objective, partial(_read, each, p, asking, family=len(family)))


def _p_values(family: Sequence[_Asked], asking: Asking) -> Figures:
    """The p of each question on the objective; NaN where it is refused."""
    found = np.array([each.looked.p if each.looked else math.nan for each in family])
    of_stage: defaultdict[StageScores, list[int]] = defaultdict(list)
    for number, each in enumerate(family):
        if each.looked is None and not refused(each.question, each.arms, asking):
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
    p = float(holm([answer.p])[0]) if is_decidable(answer.arms, asking.objective) else None
    return _judge(answer, p, asking, family=1)


def _explored(replied: Callable[[Asking], Reply], asking: Asking) -> Finding:
    answer = replied(asking)
    return answer.unjudged() or answer.finding(Outcome.POST_HOC, "it was not asked before its scores were known")


def _verdict(asked: Reply, effect: Effect, p: float, asking: Asking, *, family: int) -> Finding:
    """The outcome of a question that can be tested."""
    gap = effect.gap(alpha=asked.look.alpha if asked.look else asking.alpha, family=family)
    margin = margin_on(effect.scale, asking.margin)

    def found(outcome: Outcome, reason: str) -> Finding:
        return asked.finding(outcome, reason, adjusted_p=p, gap=gap)

    is_last = asked.look is None or asked.look.is_last
    if is_last and margin is not None and equivalent(effect.test, margin=margin, alpha=asking.alpha, family=family):
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
