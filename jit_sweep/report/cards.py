"""A card for each question that a sweep asks: its verdict, what carries it, and what the answer cost. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jit_sweep.report.figures.forest import Effect
from jit_sweep.results.verdicts import Contrast

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
    """Labels, the first and the second side."""
    facts: tuple[tuple[str, str], ...] = ()
    """Further numbers with their names."""

    @property
    def decided(self) -> bool:
        return self.verdict in DECIDED


def cards(contrasts: Sequence[Contrast], *, objective: str, hours: Mapping[str, float]) -> list[Card]:
    """A card for each contrast. `hours`: device-hours by trial."""
    return [_card(contrast, objective, hours) for contrast in contrasts]


def _card(contrast: Contrast, objective: str, hours: Mapping[str, float]) -> Card:
    own = next((each for each in contrast.differences if each.metric == objective), contrast.differences[0])
    where = f" at {contrast.context}" if contrast.context and contrast.context != "baseline" else ""
    question = f"{contrast.value(contrast.a)} or {contrast.value(contrast.b)}{where}"
    verdict = "REAL" if contrast.preferred else "UNDECIDED"
    effect = None
    if own.mean is not None and own.interval is not None:
        effect = Effect(question, own.mean, own.interval.low, own.interval.high, own.metric, verdict)
    winner = contrast.value(contrast.preferred) if contrast.preferred else ""
    return Card(
        question=question,
        verdict=verdict,
        statement=f"{winner} is better{where}: {own}" if winner else contrast.verdict,
        reason=contrast.reason,
        effect=effect,
        n=own.n,
        device_hours=sum(hours.get(trial.entry.trial_id, 0.0) for arm in (contrast.a, contrast.b) for trial in arm.trials),
        arms=(contrast.a.label, contrast.b.label),
    )
