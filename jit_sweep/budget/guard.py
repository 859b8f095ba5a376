"""A sweep's budget, read against its ledger before anything more is begun."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from jit_sweep.budget.spending import Need, Spending, devices_of, is_over, refusal, together
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryRow
from jit_sweep.spec.sweep import SweepSpec
from trainables.config.shape import SpeedShape
from trainables.config.trial import TrialConfig


class BudgetGuard:
    """What a sweep may still spend."""

    def __init__(
        self,
        spec: SweepSpec,
        reader: LedgerReader,
        *,
        probed: Mapping[SpeedShape, float] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`probed`: images a second by shape, for trials of whose shape none has run yet."""
        self._clock = clock
        self._probed = dict(probed or {})
        self._sweep, self._budget, self._reader = spec.name, spec.budget, reader
        self._devices = {spec.name: devices_of(spec.resources)}
        limits = (spec.budget.total_images, spec.budget.gpu_hours, spec.budget.wall_hours, spec.budget.trials)
        self._limited = any(limit is not None for limit in limits)

    def refusal(self, row: EntryRow, rows: Sequence[EntryRow], *, handed_out: Sequence[EntryRow] = ()) -> str:
        """Why a trial may not begin; empty where it may. What running trials need to their ends is kept for them, and for those
        that were handed out and whose lanes still come up."""
        if not self._limited:
            return ""
        spending = self._spending({planned.trial_id: planned.trial for planned in rows})
        running = {attempt.trial_id for attempt in spending.open_now}
        coming_up = [planned for planned in handed_out if planned.trial_id not in running]
        unseen = {planned.trial_id for planned in coming_up} - spending.begun
        return refusal(
            self._budget,
            replace(spending.spent, trials=spending.spent.trials + len(unseen)),
            together([spending.reserved, *(_need(spending, planned) for planned in coming_up)]),
            next_need=_need(spending, row),
            has_begun=row.trial_id in spending.begun,
        )

    def is_over(self) -> str:
        """Why even running trials must save and pause; empty where they may go on."""
        if not self._limited:
            return ""
        return is_over(self._budget, self._spending({}).spent)

    def _spending(self, trials: Mapping[str, TrialConfig]) -> Spending:
        """As the ledger has it now; of no other trials are speeds and needs known."""
        attempts = self._reader.attempts_at_trials(self._sweep)
        return Spending(self._sweep, attempts, self._devices, now=self._clock(), trials=trials, probed=self._probed)


def _need(spending: Spending, row: EntryRow) -> Need:
    """What an entry's trial still needs to its end."""
    return spending.need(row.trial, images=max(0, row.images - spending.images_of(row.trial_id)))
