"""What a sweep found: each question that it planned, answered together with the others.

The method: a contrast on the objective, Holm's correction over what was planned, the other metrics as veto. A question whose
arms were stopped, lost or cannot be compared keeps its place in the family.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from jit_sweep.plan.questions import Question, planned_questions
from jit_sweep.results.arms import Arm
from jit_sweep.results.effects import Effect, StageScores
from jit_sweep.results.findings import Asking, Finding, Findings, Outcome, Reply, reply
from jit_sweep.results.looks import replies_at_looks
from jit_sweep.results.pairs import pairs_that_differ_in_one_axis
from jit_sweep.results.scales import in_words, margin_on
from jit_sweep.statistics.equivalence import equivalent
from jit_sweep.statistics.families import holm


def findings(arms: Sequence[Arm], asking: Asking) -> Findings:
    """The answers to all that a sweep asks of its arms, and of each other pair of arms that differ in one axis."""
    stages: defaultdict[int, list[Arm]] = defaultdict(list)
    for arm in sorted(arms, key=lambda arm: arm.position):
        stages[arm.stage].append(arm)
    planned, exploratory = dict[int, list[Reply]](), list[Reply]()
    for stage, of_stage in stages.items():
        scores = StageScores(of_stage)
        cells = [arm.arm for arm in scores.arms.values()]
        asked = planned_questions(cells, baseline=asking.baseline, design=asking.designs.get(stage))
        replies = [reply(question, scores, asking) for question in asked]
        planned[stage] = [each for each in replies if not each.is_post_hoc]
        exploratory += [each for each in replies if each.is_post_hoc]
        known = {frozenset(question.labels) for question in asked}
        for axis, one, other in pairs_that_differ_in_one_axis(list(scores.arms.values())):
            if frozenset((one.label, other.label)) not in known:
                exploratory.append(reply(Question.pair((axis,), one.arm, other.arm), scores, asking))
    family = sum(each.is_decidable for replies in planned.values() for each in replies)
    for stage, race in asking.races.items():
        questions = [each.question for each in planned.get(stage, ())]
        planned[stage] = replies_at_looks(questions, stages[stage], asking, race, family=family) if questions else []
    return Findings(tuple(_judged([each for of in planned.values() for each in of], asking)), tuple(_explored(exploratory)))


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
