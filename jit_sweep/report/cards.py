"""A card for each question that a sweep asks: its verdict, what carries it, and what the answer cost. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from jit_sweep.report.figures.forest import Bar
from jit_sweep.results.clamped import clamp_note, without_clamp
from jit_sweep.results.effects import Effect
from jit_sweep.results.findings import Finding, Findings, Outcome
from jit_sweep.results.scales import in_words, shown_on

DECIDED = (Outcome.REAL, Outcome.EQUIVALENT)


@dataclass(frozen=True)
class Card:
    """One question and its answer."""

    question: str
    """As tables name it."""
    asked: str
    """The question in words."""
    verdict: str
    """An `Outcome`."""
    statement: str
    """The answer, or why there is none, in a sentence without its full stop."""
    reason: str
    """Why there is none; empty where there is one."""
    bar: Bar | None
    """The effect with its interval; None where too few seeds are shared, or the arms do not compare."""
    facts: tuple[tuple[str, str], ...]
    """Numbers with their names."""
    device_hours: float
    """That the trials of its arms took."""
    arms: tuple[str, ...]
    """Their labels."""

    @property
    def decided(self) -> bool:
        return self.verdict in DECIDED


def cards(found: Findings, *, hours: Mapping[str, float]) -> list[Card]:
    """A card for each planned finding. `hours`: device-hours by trial."""
    unclamped = without_clamp(found)
    return [_card(finding, hours, clamp_note(finding, unclamped)) for finding in found.planned]


def _card(finding: Finding, hours: Mapping[str, float], clamp: str) -> Card:
    decided = finding.outcome in DECIDED
    return Card(
        question=finding.question.label,
        asked=finding.question.in_words,
        verdict=str(finding.outcome),
        statement=_statement(finding),
        reason="" if decided else finding.reason,
        bar=_bar(finding),
        facts=(*_facts(finding), *([("clamp of sampling", clamp)] if clamp else [])),
        device_hours=sum(hours.get(trial.entry.trial_id, 0.0) for arm in finding.arms for trial in arm.trials),
        arms=finding.question.labels,
    )


def _statement(finding: Finding) -> str:
    """Such as `At patch_size=16, prediction=x is better: fd_efflite0_96 of prediction=v is 30.2 % higher than of prediction=x
    (between 27.3 and 33.1 %, 95 % interval), over 6 seeds`: the figure of the leaderboard."""
    effect, context = finding.effect, finding.question.context
    where = f"At {context}, " if context else ""
    if finding.outcome is Outcome.REAL and finding.winner and effect:
        return f"{where}{finding.winner} is better: {_apart(finding, effect)}, over {effect.test.n} seeds"
    if finding.outcome is Outcome.REAL and effect:
        return f"{_another_effect(finding, effect)}, over {effect.test.n} seeds"
    if finding.outcome is Outcome.CONFLICT and effect:
        interacts = finding.question.kind == "interaction"
        told = _another_effect(finding, effect) if interacts else f"{where}{_apart(finding, effect)}"
        return f"{told}, but {finding.reason}"
    return f"{finding.question.label}: {finding.verdict}" if finding.outcome is Outcome.EQUIVALENT else finding.reason


def _apart(finding: Finding, effect: Effect) -> str:
    """The first's score less the second's, as the leaderboard has it: a share is of the second's."""
    first, second = finding.question.side(0), finding.question.side(1)
    which, interval = _figures(effect)
    return f"{effect.metric} of {first} is {which} than of {second} ({interval})"


def _another_effect(finding: Finding, effect: Effect) -> str:
    """An interaction: a ratio of ratios where scores compare as ratios, else a difference of differences."""
    of, where = finding.question.effect_and_places
    which, interval = _figures(effect)
    what = "ratio" if effect.scale == "log" else "difference"
    return f"The {what} in {effect.metric} of {of} is {which} {where} ({interval})"


def _figures(effect: Effect) -> tuple[str, str]:
    """Such as `33.8 % higher`, and `between 29.3 and 38.4 %, 95 % interval`."""
    estimate, *ends = (shown_on(effect.scale, value) for value in (effect.estimate, *effect.interval))
    digits, unit = (".1f", " %") if effect.scale == "log" else (".3g", "")
    crosses = min(ends) < 0 < max(ends)
    low, high = (f"{end:{digits}}" for end in (ends if crosses else sorted(map(abs, ends))))
    which = f"{abs(estimate):{digits}}{unit} {'higher' if estimate > 0 else 'lower'}"
    return which, f"between {low} and {high}{unit}, 95 % interval"


def _bar(finding: Finding) -> Bar | None:
    effect = finding.effect
    if effect is None or finding.outcome is Outcome.NOT_COMPARABLE:
        return None
    estimate, low, high = (shown_on(effect.scale, value) for value in (effect.estimate, *effect.interval))
    unit = "%" if effect.scale == "log" else effect.metric
    return Bar(finding.question.label, estimate, low, high, unit, str(finding.outcome))


def _facts(finding: Finding) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    if finding.outcome is Outcome.NOT_COMPARABLE:
        return facts
    if effect := finding.effect:
        facts += [("shared seeds", str(effect.test.n))]
        if finding.gap is not None:
            facts += [("smallest visible gap", in_words(effect.scale, finding.gap, sign=False))]
    if finding.adjusted_p is not None:
        facts += [("p, by Holm", f"{finding.adjusted_p:.2g}")]
    if learning := [arm.label for arm in finding.arms if arm.still_learning]:
        every = len(learning) == len(finding.arms)
        facts += [("still learning at the end", f"all {len(learning)} arms" if every else ", ".join(learning))]
    return facts
