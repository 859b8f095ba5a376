"""A question of a sweep and what the scores say of it: the records that verdicts are told by."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple, overload

from jit_sweep.plan.questions import Question
from jit_sweep.results.arms import Arm, scored_of
from jit_sweep.results.comparable import LEAST_SHARED_SEEDS, Marks, is_of_samples, learned_nothing, refusal, same_run
from jit_sweep.results.effects import Effect, StageScores
from jit_sweep.results.losses import SeedRates, seed_rates
from jit_sweep.spec.budget import Matched
from jit_sweep.spec.seeds import RacingSeeds
from jit_sweep.spec.stages import Design, StageMatched
from jit_sweep.statistics.student_t import LEVEL
from search_spaces.axis import AxisValue
from trainables.evaluation.metrics.registry import METRICS, has_score, verdict_metrics


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
    matched_in: Mapping[int, StageMatched] = field(default_factory=dict)
    """The same of the stages that say so themselves."""

    @property
    def races(self) -> dict[int, RacingSeeds]:
        """The stages whose seeds race."""
        return {stage: each.seeds for stage, each in self.designs.items() if isinstance(each.seeds, RacingSeeds)}


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

    def __init__(self, arms: tuple[Arm, ...], objective: str, answer: Callable[[], Finding]) -> None:
        self.arms, self._objective, self._answer = arms, objective, answer

    @cached_property
    def finding(self) -> Finding:
        return self._answer()

    @property
    def is_decidable(self) -> bool:
        """Whether the plan left it an answer: else it has no place among the questions."""
        return is_decidable(self.arms, self._objective)

    @property
    def is_scored(self) -> bool:
        """Whether the objective is a score of all its arms' trials."""
        return is_scored(self.arms, self._objective)

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


@dataclass(frozen=True)
class Look:
    """One look at a stage whose seeds race."""

    alpha: float
    """The p that it must have by itself, for all looks together to keep alpha."""
    level: float
    """Of its interval, so that all looks together cover 95 %."""
    is_last: bool
    p: float = math.nan
    """Of all looks up to this one together."""


@dataclass(frozen=True)
class Reply:
    """A question's arms and effects, before it is judged among the others."""

    question: Question
    arms: tuple[Arm, ...]
    refused: str
    """Why there is no verdict, whatever the scores; empty where there may be one."""
    effect: Effect | None
    others: tuple[Effect, ...]
    look: Look | None = None
    """Where its seeds race."""

    @property
    def p(self) -> float:
        """Over all looks where there are several; NaN where there is no test."""
        return self.look.p if self.look else self.own_p

    @property
    def own_p(self) -> float:
        """Of these seeds, as if they were looked at once."""
        return self.effect.p if self.effect and not self.refused else math.nan

    def finding(self, outcome: Outcome, reason: str, *, adjusted_p: float | None = None, gap: float | None = None) -> Finding:
        rates = seed_rates(self.arms)
        return Finding(self.question, self.arms, outcome, reason, self.effect, adjusted_p, gap, self.others, rates)

    def unjudged(self) -> Finding | None:
        """What there is to say without a test."""
        if same_run(self.arms):
            return self.finding(Outcome.SAME_RUN, f"{' and '.join(self.question.axes)} changed nothing")
        return self.finding(Outcome.NOT_COMPARABLE, self.refused) if self.refused or not self.effect else None


def reply(question: Question, scores: StageScores, asking: Asking, *, look: Look | None = None) -> Reply:
    """What the scores of a question's arms say, in the objective and in the other metrics that can judge its axes."""
    arms = scores.asked(question)
    effect = scores.effect(question, metric=asking.objective, level=look.level if look else LEVEL)
    others = [scores.effect(question, metric=metric) for metric in _witnesses(question, arms, asking)]
    return Reply(
        question,
        arms,
        refused(question, arms, asking),
        effect,
        tuple(other for other in others if other),
        look,
    )


def _witnesses(question: Question, arms: Sequence[Arm], asking: Asking) -> Iterator[str]:
    """The metrics that may contradict the objective: those of samples only where some arm's are better than blank images."""
    noise = all(learned_nothing(arm, asking.marks) for arm in arms)
    for metric in verdict_metrics(asking.objective, scored_of(arms)):
        sees = not METRICS[metric].blind_to & {*question.axes} and not (noise and is_of_samples(metric))
        if sees and metric != asking.objective:
            yield metric


def refused(question: Question, arms: Sequence[Arm], asking: Asking) -> str:
    """Why there is no verdict on a question, whatever the scores; empty where there may be one."""
    return refusal(question, arms, objective=asking.objective, marks=asking.marks, matched=question.matched or asking.matched)


def is_decidable(arms: Sequence[Arm], objective: str) -> bool:
    """Whether a question about these arms was planned so that it can be answered, whatever becomes of its trials: with seeds
    enough, and of trials that have the objective."""
    return min(len(arm.trials) for arm in arms) >= LEAST_SHARED_SEEDS and is_scored(arms, objective)


def is_scored(arms: Sequence[Arm], objective: str) -> bool:
    """Whether the objective is a score of the trials of all arms. Those that draw samples have it: a plan refuses others
    (`jit_sweep.plan.kinds`), so that nobody reads their trials for this."""
    entries = (arm.trials[0].entry for arm in arms)
    return all(entry.draws or has_score(entry.trial.error_kind, objective) for entry in entries)
