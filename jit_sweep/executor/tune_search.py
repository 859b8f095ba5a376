"""Tune's side of handing out: the sweep's searcher as a search algorithm of Tune, and lanes that are kept warm."""

from collections.abc import Callable
from typing import Any

import ray
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from jit_sweep.executor.lane_config import LaneConfig, LaneTask
from jit_sweep.executor.schedule import Over, Target
from jit_sweep.executor.searcher import LedgerSearcher


class WarmLanesFirst(FIFOScheduler):
    """No trial is preferred, so that a lane that has ended its trial gets the next one.

    The first that waits would be preferred otherwise, and the lane that comes up for it thrown away: with trials shorter than
    that takes there would never be a second lane.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """None: those that wait get what there is, in their order."""


class ActorCalls:
    """A Ray actor's methods as plain calls, each of which waits for its answer."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*positional: Any, **named: Any) -> Any:
            return ray.get(getattr(self._actor, method).remote(*positional, **named))

        return call


class TuneSearcher(Searcher):
    """Asks the sweep's searcher whenever Tune has a place for a trial."""

    def __init__(self, searcher: LedgerSearcher, lane_config: LaneConfig) -> None:
        super().__init__(metric="images", mode="max")
        self._searcher, self._lane_config = searcher, lane_config

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """A lane's next work; None where it must wait; FINISHED at the end."""
        match self._searcher.suggest(trial_id):
            case Target(trial, images):
                return LaneTask(lane=self._lane_config, trial=trial, images=images).as_tune()
            case Over():
                return Searcher.FINISHED
            case _:
                return None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Free the trial's place."""
        self._searcher.completed(trial_id, outcome=(result or {}).get("outcome"), error=error)

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its parts so as to restore them; nothing is ever restored but from the ledger."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the ledger has it."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the ledger has it."""
