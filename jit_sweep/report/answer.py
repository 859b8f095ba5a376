"""A sweep's question, and its answer in three sentences: what was found, how good the best arm is, what is not known. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from jit_sweep.report.cards import Card
from jit_sweep.report.numbers import rounded, with_error
from jit_sweep.results.arms import Arm, told_apart
from jit_sweep.results.leaderboard import NoBestArm, Results, best_arm
from trainables.config.fields import counted
from trainables.evaluation.metrics.registry import metric_of

MOST_NAMED = 2
"""Questions that a sentence names; the others are counted."""


@dataclass(frozen=True)
class Summary:
    """The question, what it is judged by, and three sentences."""

    question: str
    judged: str
    found: str
    best: str
    unknown: str


def summary(cards: Sequence[Card], results: Results, *, open_trials: int, question: str | None = None) -> Summary:
    """`open_trials`: how many may get a score yet. `question`: in the user's words; None: what the cards ask."""
    asked = question or _asked(cards)
    return Summary(asked, _judged(results), _found(cards), _best(results), _unknown(cards, results.arms, open_trials))


def _asked(cards: Sequence[Card]) -> str:
    more = len(cards) - MOST_NAMED
    return " ".join([*(card.asked for card in cards[:MOST_NAMED]), *([f"And {more} more questions."] if more > 0 else [])])


def _judged(results: Results) -> str:
    seeds = "± is the standard deviation over seeds: trainings that differ in first weights and noise alone"
    return f"Judged by {results.objective}: {metric_of(results.objective).in_plain_words}. {seeds}."


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
    try:
        arm = best_arm(results.arms, objective=objective)
    except NoBestArm:
        return "No arm can be called the best: none has two or more seeds that are all scored and sound."
    spread = arm.metrics[objective]
    scored = f"The best arm, {arm.label}, has {objective} {with_error(spread.mean, spread.sd)} over {spread.n} seeds"
    real = results.heldout.values.get(objective) if results.heldout else None
    told = f" (real held-out images score {rounded(real)})" if real is not None else ""
    warned = "".join(f" Warning: {warning}." for warning in results.better_than_real)
    return f"{scored}{told}.{warned}"


def _unknown(cards: Sequence[Card], arms: Sequence[Arm], open_trials: int) -> str:
    unsure = [card for card in cards if not card.decided]
    parts = [f"{_clause(card.asked)} ({card.reason})" for card in unsure[:MOST_NAMED]]
    if len(unsure) > MOST_NAMED:
        parts.append(f"{len(unsure) - MOST_NAMED} more questions")
    if open_trials:
        parts.append(f"what {open_trials} trials that have not ended will say")
    names = told_apart(arms)
    learning = {name for name, arm in zip(names, arms, strict=True) if arm.still_learning}
    told = f" ({len(learning)} of {counted(len({*names}), 'arm')} still learned at the end)" if learning else ""
    parts.append(f"what other images or longer training would show{told}")
    return f"Not known: {'; '.join(parts)}."


def _clause(question: str) -> str:
    """A question as a part of a sentence."""
    return question[:1].lower() + question[1:].removesuffix("?")
