"""The words in which people are told how trials and arms stand: one for each thing, and what it means."""

from collections.abc import Iterable

from jit_sweep.ledger.records import EntryState

MEANINGS = {
    "waiting": "has not begun",
    "starting": "a worker takes it up: data, network, compilation",
    "evaluating": "has seen all its images; its samples are drawn and scored",
    "paused": "saved by an interrupt; the same command goes on with it",
    "held": "stands at a rung until the scheduler decides",
    "stopped early": "the scheduler ended it at a rung, and it has no score",
    "diverged": "its loss or weights were not finite any more; never tried again",
    "failed": "ended by an error; a new run tries again where that can help",
    "cached": "scored before, in another sweep or stage",
    "collapsed": "predicts held-out images no better than their mean image does: a good score of it is an accident",
    "unreplicated": "rests on one seed, which may be luck",
}
"""What is not said by the word itself."""


def state_in_words(state: EntryState) -> str:
    """An entry's state as it is shown."""
    return "stopped early" if state is EntryState.PRUNED else str(state)


def explained(shown: Iterable[str]) -> list[str]:
    """A line for each of these words that is a term, in the order of the glossary."""
    words = set(shown)
    return [f"{word}: {meaning}" for word, meaning in MEANINGS.items() if word in words]
