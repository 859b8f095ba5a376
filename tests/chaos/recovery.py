"""How long it took after each kill until the sweep went on."""

from collections.abc import Sequence
from typing import NamedTuple

from jit_sweep.ledger.event_records import EventKind, EventRow
from tests.chaos.disturb import MEASURED, Disturbed, Struck
from tests.chaos.victims import LANE_KINDS


class Recovery(NamedTuple):
    """From a kill to the next sign of progress."""

    kind: str
    seconds: float | None
    """Until something was measured again: of the trial that lost its lane, where one did. None: the sweep was over before."""


def recoveries(sweep: Disturbed) -> list[Recovery]:
    """Of each kill, in order."""
    events = sweep.events
    return [Recovery(each.kill.kind, _seconds(each, events)) for each in sweep.struck]


def _seconds(struck: Struck, events: Sequence[EventRow]) -> float | None:
    after = [event for event in events if event.id > struck.event and event.at >= struck.at]
    lost = next((event for event in after if event.kind is EventKind.FAILED), None)
    if struck.kill.kind in LANE_KINDS and lost is not None:
        after = [event for event in after if event.trial_id == lost.trial_id and (event.attempt or 0) > (lost.attempt or 0)]
    first = next((event for event in after if event.kind in MEASURED), None)
    return None if first is None else first.at - struck.at
