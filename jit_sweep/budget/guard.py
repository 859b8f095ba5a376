"""A sweep's budget, read against its ledger before anything more is begun."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from jit_sweep.budget import spending
from jit_sweep.budget.costs import devices_of
from jit_sweep.budget.spending import Need
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import AttemptRow, EntryRow
from jit_sweep.spec.sweep import SweepSpec
from trainables.config.shape import SpeedShape


class BudgetGuard:
    """What a sweep may still spend."""

    def __init__(self, spec: SweepSpec, reader: LedgerReader, *, probed: Mapping[SpeedShape, float] | None = None) -> None:
        """`probed`: images a second by shape, for trials of whose shape none has run yet."""
        self._probed = dict(probed or {})
        self._sweep, self._budget, self._reader = spec.name, spec.budget, reader
        self._devices = devices_of(spec.resources)
        limits = (spec.budget.total_images, spec.budget.gpu_hours, spec.budget.wall_hours, spec.budget.trials)
        self._limited = any(limit is not None for limit in limits)

    def refusal(self, row: EntryRow, rows: Sequence[EntryRow], *, handed_out: Sequence[EntryRow] = ()) -> str:
        """Why a trial may not begin; empty where it may. What running trials need to their ends is kept for them, and for those
        that were handed out and whose lanes still come up."""
        if not self._limited:
            return ""
        attempts = self._reader.attempts_at_trials(self._sweep)
        trials = {each.trial_id: each.trial for each in rows}
        speeds = self._probed | spending.speeds(attempts, trials=trials)
        begun = {attempt.trial_id for attempt in attempts if attempt.sweep == self._sweep}
        open_now = {attempt.trial_id for attempt in attempts if attempt.sweep == self._sweep and attempt.outcome is None}
        coming = [each for each in handed_out if each.trial_id not in open_now]
        spent = spending.spent(self._sweep, attempts, devices=self._devices, now=time.time())
        spent = replace(spent, trials=spent.trials + len({each.trial_id for each in coming} - begun))
        running = spending.reserved(self._sweep, attempts, trials=trials, speeds=speeds, devices=self._devices)
        need = self._need(row, attempts, speeds)
        return spending.refusal(
            self._budget,
            spent,
            spending.together([running, *(self._need(each, attempts, speeds) for each in coming)]),
            next_images=need.images,
            next_hours=need.device_hours,
            next_wall_hours=need.wall_hours,
            has_begun=row.trial_id in begun,
        )

    def _need(self, row: EntryRow, attempts: Sequence[AttemptRow], speeds: Mapping[SpeedShape, float]) -> Need:
        """What an entry's trial still needs to its end."""
        done = max((attempt.images for attempt in attempts if attempt.trial_id == row.trial_id), default=0)
        return spending.need(row.trial, images=max(0, row.images - done), speeds=speeds, devices=self._devices)

    def is_over(self) -> str:
        """Why even running trials must save and pause; empty where they may go on."""
        if not self._limited:
            return ""
        attempts = self._reader.attempts_at_trials(self._sweep)
        spent = spending.spent(self._sweep, attempts, devices=self._devices, now=time.time())
        return spending.is_over(self._budget, spent)
