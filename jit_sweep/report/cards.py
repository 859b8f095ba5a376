"""A card for each question that a sweep asks: its verdict, what carries it, and what the answer cost. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from jit_sweep.report.figures.forest import Effect
from jit_sweep.results.effects import EffectSize
from jit_sweep.results.scales import in_words, shown_on
from jit_sweep.results.verdicts import Finding

DECIDED = ("REAL", "EQUIVALENT")


@dataclass(frozen=True)
class Card:
    """One question and its answer."""

    question: str
    verdict: str
    """One word or two, such as REAL."""
    statement: str
    """The answer in words."""
    reason: str
    """Why there is no verdict; empty where there is one."""
    effect: Effect | None
    n: int
    """Shared seeds."""
    device_hours: float
    """That the trials of its arms took."""
    arms: tuple[str, ...]
    """Labels, in the order of the question."""
    facts: tuple[tuple[str, str], ...] = ()
    """Further numbers with their names."""

    @property
    def decided(self) -> bool:
        return self.verdict in DECIDED


def cards(findings: Sequence[Finding], *, hours: Mapping[str, float]) -> list[Card]:
    """A card for each planned question. `hours`: device-hours by trial."""
    return [_card(finding, hours) for finding in findings]


def _card(finding: Finding, hours: Mapping[str, float]) -> Card:
    question, verdict, found = finding.question.label, str(finding.outcome), finding.effect
    decided = verdict in DECIDED
    return Card(
        question=question,
        verdict=verdict,
        statement=f"{question}: {finding.reason}{f', {found}' if found else ''}" if decided else finding.verdict,
        reason="" if decided else finding.reason,
        effect=_effect(found, question, verdict) if found else None,
        n=found.test.n if found else 0,
        device_hours=sum(hours.get(trial.entry.trial_id, 0.0) for arm in finding.arms for trial in arm.trials),
        arms=tuple(arm.label for arm in finding.arms),
        facts=tuple(_facts(finding)),
    )


def _effect(found: EffectSize, question: str, verdict: str) -> Effect:
    estimate, low, high = (shown_on(found.scale, value) for value in (found.estimate, *found.interval))
    return Effect(question, estimate, low, high, "%" if found.scale == "log" else found.metric, verdict)


def _facts(finding: Finding) -> Iterator[tuple[str, str]]:
    if finding.adjusted_p is not None:
        yield "corrected p", f"{finding.adjusted_p:.2g}"
    if finding.effect is not None and finding.gap is not None:
        yield "smallest visible gap", in_words(finding.effect.scale, finding.gap, sign=False)
    if finding.rates is not None:
        yield "seeds", str(finding.rates)
