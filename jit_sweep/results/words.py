"""The words in which people are told how trials and arms stand: one for each thing, and what it means."""

from collections.abc import Iterable, Mapping, Sequence

from jit_sweep.ledger.records import EntryState
from search_spaces.axis import AxisValue
from search_spaces.cells import arm_label
from trainables.report import Activity

MEANINGS = {
    "waiting": "has not begun",
    "starting": "a worker takes it up: data, network, compilation",
    "trained": "saved at its end; what is missing is its score",
    "evaluating": "its samples are drawn and scored: at its end, or at a rung that compares samples",
    "paused": "saved by an interrupt; the same command goes on with it",
    "held": "stands at a rung until the scheduler decides",
    "stopped early": "the scheduler ended it at a rung, and it has no score",
    "diverged": "its loss or weights were not finite any more; never tried again",
    "failed": "ended by an error; a new run tries again where that can help",
    "out_of_budget": "what is left of the sweep's budget does not hold it; a larger one does",
    "cached": "scored before, in another sweep or stage",
    "collapsed": "held-out error no better than the mean image's, or images that hardly differ: a good score is an accident",
    "unreplicated": "rests on one seed, which may be luck",
}
"""What is not said by the word itself."""


def state_in_words(state: EntryState) -> str:
    """An entry's state as it is shown."""
    return "stopped early" if state is EntryState.PRUNED else str(state)


def short_label(arm: Mapping[str, AxisValue]) -> str:
    """An arm in words, numbers as short as people want them."""
    return arm_label({axis: float(f"{value:.4g}") if isinstance(value, float) else value for axis, value in arm.items()})


def activities_in_words(activities: Sequence[Activity]) -> str:
    """What these trials are about while they do not train, with the sums of what is counted."""
    of_kind = {each.what: [other for other in activities if other.what == each.what] for each in activities}
    return ", ".join(
        f"{what} {sum(one.done for one in alike)}/{of}" if (of := sum(one.of for one in alike)) else what
        for what, alike in of_kind.items()
    )


def explained(shown: Iterable[str]) -> list[str]:
    """A line for each of these words that is a term, in the order of the glossary."""
    words = set(shown)
    return [f"{word}: {meaning}" for word, meaning in MEANINGS.items() if word in words]
