"""A sweep from Python: its trials, arms and verdicts as pandas data frames."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jit_sweep.home import DEFAULT_HOME, home_at
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.results.arms import TrialResult
from jit_sweep.results.as_json import finding_row
from jit_sweep.results.leaderboard import Results, read_results
from jit_sweep.results.words import state_in_words
from trainables.evaluation.metrics.registry import score_names

if TYPE_CHECKING:
    from pandas import DataFrame


class Sweep:
    """What a ledger has of a sweep; each call reads it as it stands then."""

    def __init__(self, reader: LedgerReader, name: str) -> None:
        reader.sweep(name)
        self._reader, self.name = reader, name

    def trials(self) -> "DataFrame":
        """A row for each trial of a grid or a search, by id: its axes, seed, state, images and scores.

        An axis that a trial does not have is NaN, as is a score that it has not got.
        """
        results = self._results()
        found = [*(trial for arm in results.arms for trial in arm.trials), *results.searched]
        return _frame([_trial(trial) for trial in found], index="trial")

    def arms(self) -> "DataFrame":
        """A row for each arm, best first: its axes, seeds, and of every metric mean, sd and n, as in `kid_efflite0_96 sd`."""
        rows = []
        for arm in self._results().arms:
            counts = {"seeds": len(arm.trials), "scored": arm.scored, "lost": arm.lost, "collapsed": arm.collapsed}
            metrics = {
                f"{name} {what}": value for name, spread in arm.metrics.items() for what, value in spread._asdict().items()
            }
            rows.append({**arm.arm, **counts, "images": arm.images, "training_flops": arm.training_flops, **metrics})
        return _frame(rows)

    def verdicts(self) -> "DataFrame":
        """A row for each question, the planned ones first: verdict, effect with interval, p and smallest visible gap."""
        planned, exploratory = self._results().findings
        rows = [finding_row(each, planned=True) for each in planned] + [
            finding_row(each, planned=False) for each in exploratory
        ]
        return _frame([_verdict(row) for row in rows], index="question")

    def _results(self) -> Results:
        return read_results(self._reader, self.name)


def open_sweep(name: str, *, home: str | Path | None = None, ledger: str | None = None) -> Sweep:
    """A sweep in a home, or in a ledger at an address; without either, where the command line looks.

    UserError: there is no ledger, or it has no such sweep.
    """
    place = home_at(Path(home or os.environ.get("JIT_SWEEP_HOME") or DEFAULT_HOME))
    address = ledger or (None if home else os.environ.get("JIT_SWEEP_LEDGER"))
    return Sweep(LedgerReader.open(place.existing_ledger(address)), name)


def _trial(trial: TrialResult) -> dict[str, Any]:
    entry = trial.entry
    standing = {"state": state_in_words(entry.state), "collapsed": trial.collapsed, "images": entry.images}
    scores = {name: trial.value(name) for name in score_names()}
    facts = {"trial": entry.trial_id, "origin": entry.origin, "stage": entry.stage}
    return {**facts, **entry.arm, "seed": entry.seed, **standing, **scores}


def _verdict(row: Mapping[str, Any]) -> dict[str, Any]:
    effect = row["effect"] or {"effect": None, "interval": (None, None), "unit": None, "n": 0}
    low, high = effect["interval"]
    numbers = {"effect": effect["effect"], "low": low, "high": high, "unit": effect["unit"], "n": effect["n"]}
    chosen = {key: row[key] for key in ("question", "planned", "verdict", "better", "reason")}
    return {**chosen, **numbers, "adjusted_p": row["adjusted_p"], "visible_gap": row["visible_gap"]}


def _frame(rows: list[dict[str, Any]], *, index: str | None = None) -> "DataFrame":
    from pandas import DataFrame  # slow to import

    frame = DataFrame(rows)
    return frame.set_index(index) if index is not None and len(frame) else frame
