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
    verdict: str
    """An `Outcome`."""
    statement: str
    """The answer in a sentence without its full stop."""
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
        return f"{where}the two axes interact ({finding.question.label}): {effect.metric} differs by {effect}"
    return f"{finding.question.label}: {finding.verdict}"


def _apart(finding: Finding, effect: Effect) -> str:
    """The first's score less the second's, as the leaderboard has it: a share is of the second's."""
    estimate, *ends = (shown_on(effect.scale, value) for value in (effect.estimate, *effect.interval))
    first, second = finding.question.side(0), finding.question.side(1)
    digits, unit = (".1f", " %") if effect.scale == "log" else (".3g", "")
    low, high = (f"{end:{digits}}" for end in sorted(map(abs, ends)))
    which = f"{abs(estimate):{digits}}{unit} {'higher' if estimate > 0 else 'lower'}"
    return f"{effect.metric} of {first} is {which} than of {second} (between {low} and {high}{unit}, 95 % interval)"


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
        facts += [("still learning at the end", ", ".join(learning))]
    return facts
