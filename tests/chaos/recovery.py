"""How long it took after each kill until the sweep went on."""

from collections.abc import Sequence
from typing import NamedTuple

from jit_sweep.ledger.event_records import EventKind, EventRow
from tests.chaos.disturb import MEASURED, Disturbed
from tests.chaos.victims import LANE_KINDS

LOSSES = frozenset({EventKind.FAILED, EventKind.REOPENED})
"""By which the ledger knows that an attempt is no more."""


class Recovery(NamedTuple):
    """From a kill to the next sign of progress, in seconds; the first two parts are waiting, the third is work."""

    kind: str
    seconds: float | None
    """Until something was measured again: of the trial that lost its lane, where one did. None: the sweep was over before."""
    missed: float | None = None
    """Until the ledger knew of the loss; None where nothing was lost that it could know of."""
    placed: float | None = None
    """From then until a lane had begun on the trial again: a place, and processes that start."""
    worked: float | None = None
    """From then until something was measured."""


def recoveries(sweep: Disturbed) -> list[Recovery]:
    """Of each kill, in order."""
    events = sweep.events
    return [recovery(each.kill.kind, each.at, [event for event in events if event.id > each.event]) for each in sweep.struck]


def recovery(kind: str, at: float, events: Sequence[EventRow]) -> Recovery:
    """Of a kill at a time. events: those that the ledger did not have then."""
    after = [event for event in events if event.at >= at]
    lost = next((event for event in after if event.kind in LOSSES), None)
    if kind in LANE_KINDS and lost is not None:
        after = [event for event in after if event.trial_id == lost.trial_id and (event.attempt or 0) > (lost.attempt or 0)]
    measured = next((event for event in after if event.kind in MEASURED), None)
    if measured is None:
        return Recovery(kind, None)
    begun = next((event for event in after if event.kind is EventKind.BEGUN and event.id < measured.id), None)
    if lost is None or begun is None or begun.id < lost.id:
        return Recovery(kind, measured.at - at)
    return Recovery(kind, measured.at - at, lost.at - at, begun.at - lost.at, measured.at - begun.at)
