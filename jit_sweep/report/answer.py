"""A sweep's answer in three sentences: what was found, how good the best arm is, and what is not known. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from jit_sweep.report.cards import Card
from jit_sweep.report.numbers import rounded, with_error
from jit_sweep.results.arms import Arm
from jit_sweep.results.leaderboard import NoBestArm, Results, best_arm
from trainables.config.fields import counted
from trainables.evaluation.metrics.registry import metric_of

MOST_NAMED = 2
"""Questions that a sentence names; the others are counted."""


@dataclass(frozen=True)
class Summary:
    """Three sentences."""

    found: str
    best: str
    unknown: str


def summary(cards: Sequence[Card], results: Results, *, open_trials: int) -> Summary:
    """`open_trials`: how many may get a score yet."""
    return Summary(_found(cards), _best(results), _unknown(cards, results.arms, open_trials))


def _found(cards: Sequence[Card]) -> str:
    if not cards:
        return "No question was asked."
    decided = [card for card in cards if card.decided]
    if not decided:
        asked = f"none of the {len(cards)} questions has" if len(cards) > 1 else "the one question does not have"
        return f"Nothing is decided: {asked} an answer that is more than luck."
    sentences = [f"{card.statement}." for card in decided[:MOST_NAMED]]
    more = len(decided) - MOST_NAMED
    return " ".join([*sentences, *([f"{more} more questions are decided below."] if more > 0 else [])])


def _best(results: Results) -> str:
    objective = results.objective
    lower = metric_of(objective).direction == "minimize"
    try:
        arm = best_arm(results.arms, objective=objective)
    except NoBestArm:
        return "No arm can be called the best: none has two or more seeds that are all scored and sound."
    spread = arm.metrics[objective]
    scored = f"The best arm, {arm.label}, has {objective} {with_error(spread.mean, spread.sd)} over {spread.n} seeds"
    real = results.heldout.values.get(objective) if results.heldout else None
    which = "lower is better" if lower else "higher is better"
    warned = "".join(f" Warning: {warning}." for warning in results.better_than_real)
    return f"{scored} ({which}{f'; real held-out images score {rounded(real)}' if real is not None else ''}).{warned}"


def _unknown(cards: Sequence[Card], arms: Sequence[Arm], open_trials: int) -> str:
    unsure = [card for card in cards if not card.decided]
    parts = [f"{card.question} ({card.reason})" for card in unsure[:MOST_NAMED]]
    if len(unsure) > MOST_NAMED:
        parts.append(f"{len(unsure) - MOST_NAMED} more questions")
    if open_trials:
        parts.append(f"what {open_trials} trials that have not ended will say")
    learning = sum(arm.still_learning for arm in arms)
    told = f" ({learning} of {counted(len(arms), 'arm')} still learned at the end)" if learning else ""
    parts.append(f"what other images or longer training would show{told}")
    return f"Not known: {'; '.join(parts)}."
