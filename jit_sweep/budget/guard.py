"""A sweep's budget, read against its ledger before anything more is begun."""

import time
from collections.abc import Callable, Mapping, Sequence

from jit_sweep.budget.allowance import Allowance
from jit_sweep.budget.spending import Spending, devices_of, is_over, tuner_devices_of
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryRow
from jit_sweep.spec.sweep import SweepSpec
from trainables.config.shape import SpeedShape
from trainables.config.trial import TrialConfig

Refusal = Callable[[EntryRow], str]
"""Why an entry's trial may not begin; empty where it may."""


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
        self._devices, self._tuner_devices = {spec.name: devices_of(spec.resources)}, tuner_devices_of(spec.resources)

    def refusals(self, rows: Sequence[EntryRow], *, handed_out: Sequence[EntryRow] = ()) -> Refusal:
        """By what is spent now. `rows`: all entries of the sweep; `handed_out`: those that lanes have, or come up for."""
        if not self._budget.is_limited:
            return _nothing_is_refused
        return self._allowance(rows, handed_out).refusal

    def refusal_at_gate(self, row: EntryRow, images: int, *, rows: Sequence[EntryRow]) -> str:
        """Why a running trial may not go on past the gate at `images`; empty where it may."""
        if not self._budget.is_limited:
            return ""
        return self._allowance(rows, ()).refusal(row, past=images)

    def is_over(self) -> str:
        """Why even running trials must save and pause; empty where they may go on."""
        if not self._budget.is_limited:
            return ""
        return is_over(self._budget, self._spending({}).spent)

    def _allowance(self, rows: Sequence[EntryRow], handed_out: Sequence[EntryRow]) -> Allowance:
        return Allowance(self._budget, self._spending({row.trial_id: row.trial for row in rows}), rows, handed_out)

    def _spending(self, trials: Mapping[str, TrialConfig]) -> Spending:
        """As the ledger has it now; of no other trials are speeds and needs known."""
        attempts = self._reader.attempts_at_trials(self._sweep)
        return Spending(
            self._sweep,
            attempts,
            self._devices,
            now=self._clock(),
            trials=trials,
            probed=self._probed,
            tuning=self._reader.tuning_spans(self._sweep),
            tuner_devices=self._tuner_devices,
        )


def _nothing_is_refused(row: EntryRow) -> str:
    return ""
