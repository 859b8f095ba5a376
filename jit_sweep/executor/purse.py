"""A sweep's budget, read against its ledger before anything more is begun."""

import time
from collections.abc import Mapping, Sequence

from jit_sweep import budgets
from jit_sweep.budgets import SpeedShape
from jit_sweep.costs import devices_of
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryRow
from jit_sweep.spec import SweepSpec


class Purse:
    """What a sweep may still spend."""

    def __init__(self, spec: SweepSpec, reader: LedgerReader, *, probed: Mapping[SpeedShape, float] | None = None) -> None:
        """`probed`: images a second by shape, for trials of whose shape none has run yet."""
        self._probed = dict(probed or {})
        self._sweep, self._budget, self._reader = spec.name, spec.budget, reader
        self._devices = devices_of(spec.resources)
        limits = (spec.budget.total_images, spec.budget.gpu_hours, spec.budget.wall_hours, spec.budget.trials)
        self._limited = any(limit is not None for limit in limits)

    def refusal(self, row: EntryRow, rows: Sequence[EntryRow]) -> str:
        """Why a trial may not begin; empty where it may. What running trials need to their ends is kept for them."""
        if not self._limited:
            return ""
        attempts = self._reader.attempts_at_trials(self._sweep)
        trials = {each.trial_id: each.trial for each in rows}
        speeds = self._probed | budgets.speeds(attempts, trials=trials)
        done = max((attempt.images for attempt in attempts if attempt.trial_id == row.trial_id), default=0)
        need = budgets.need(row.trial, images=max(0, row.images - done), speeds=speeds, devices=self._devices)
        return budgets.refusal(
            self._budget,
            budgets.spent(self._sweep, attempts, devices=self._devices, now=time.time()),
            budgets.reserved(self._sweep, attempts, trials=trials, speeds=speeds, devices=self._devices),
            next_images=need.images,
            next_hours=need.device_hours,
            next_wall_hours=need.wall_hours,
            has_begun=any(attempt.trial_id == row.trial_id and attempt.sweep == self._sweep for attempt in attempts),
        )

    def is_over(self) -> str:
        """Why even running trials must save and pause; empty where they may go on."""
        if not self._limited:
            return ""
        attempts = self._reader.attempts_at_trials(self._sweep)
        spent = budgets.spent(self._sweep, attempts, devices=self._devices, now=time.time())
        return budgets.is_over(self._budget, spent)
