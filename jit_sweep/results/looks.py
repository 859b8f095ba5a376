"""A stage whose seeds race: what its questions are answered at each look, and which of them are still open."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from jit_sweep.plan.questions import Question
from jit_sweep.results.arms import Arm
from jit_sweep.results.comparable import LEAST_SHARED_SEEDS
from jit_sweep.results.effects import StageScores
from jit_sweep.results.findings import Asking, Finding, Look, Outcome, Reply, reply
from jit_sweep.spec.seeds import RacingSeeds
from jit_sweep.statistics.families import holm
from jit_sweep.statistics.sequential import Looks
from jit_sweep.statistics.student_t import LEVEL


def replies_at_looks(
    questions: Sequence[Question], arms: Sequence[Arm], asking: Asking, race: RacingSeeds, *, family: int
) -> list[Reply]:
    """The reply to each question at its last look: the one that decided it, else the furthest whose trials have all ended.

    `family`: how many questions of the sweep are answered together.
    """
    looks = Looks(race.looks)
    latest: dict[str, Reply] = {}
    own: dict[str, list[float]] = {question.key: [] for question in questions}
    at_rest = set[str]()
    for place, count in enumerate(race.looks):
        scores = StageScores(first_seeds_of(arms, count))
        level = 1 - looks.level(place, alpha=1 - LEVEL)
        look = Look(looks.level(place, alpha=asking.alpha), level, is_last=count == race.max)
        for question in (each for each in questions if each.key not in at_rest):
            if place and not _has_come_to(count, scores.asked(question)):
                at_rest.add(question.key)
                continue
            found = reply(question, scores, asking, look=look)
            own[question.key].append(found.own_p)
            latest[question.key] = replace(found, look=replace(look, p=float(looks.p(own[question.key]))))
        at_rest |= decided({key: each.p for key, each in latest.items()}, alpha=asking.alpha, family=family)
    return [latest[question.key] for question in questions]


def decided(p_values: Mapping[str, float], *, alpha: float, family: int) -> set[str]:
    """The questions of a stage that are decided, whatever the rest of the family says."""
    others = [math.nan] * max(0, family - len(p_values))
    adjusted = holm([*p_values.values(), *others]).tolist()
    return {key for key, p in zip(p_values, adjusted, strict=False) if p <= alpha}


def first_seeds_of(arms: Sequence[Arm], count: int) -> list[Arm]:
    """The arms with their first seeds alone."""
    return [replace(arm, trials=tuple(trial for trial in arm.trials if trial.entry.seed < count)) for arm in arms]


def _has_come_to(count: int, arms: Collection[Arm]) -> bool:
    return all(len(arm.trials) == count and not arm.unfinished for arm in arms)


def open_findings(found: Sequence[Finding], asking: Asking) -> Iterator[Finding]:
    """Those that more seeds may decide; what cannot be compared, whatever the seeds, is none of them."""
    for each in found:
        few = each.outcome is Outcome.NOT_COMPARABLE and _shared(each.arms, asking.objective) < LEAST_SHARED_SEEDS
        undecided = each.outcome is Outcome.INCONCLUSIVE and each.adjusted_p is not None and each.adjusted_p > asking.alpha
        if few or undecided:
            yield each


def _shared(arms: Sequence[Arm], objective: str) -> int:
    return len(set.intersection(*({*arm.by_seed(objective)} for arm in arms)))
