"""What a kill costs is told apart by phase, from the ledger's events alone."""

from typing import Any

from jit_sweep.ledger.event_records import EventKind, EventRow
from tests.chaos.recovery import Recovery, recovery


def told(*events: tuple[float, EventKind, str | None, int | None]) -> list[EventRow]:
    some: dict[str, Any] = {"sweep": "chaos", "sequence": None, "data": {}}
    return [
        EventRow(id=number, at=at, kind=kind, trial_id=trial, attempt=attempt, **some)
        for number, (at, kind, trial, attempt) in enumerate(events)
    ]


def test_a_lost_lane_s_time_is_until_it_was_missed_until_another_had_begun_and_until_that_had_measured() -> None:
    events = told(
        (12.0, EventKind.PROGRESS, "other", 1),
        (25.0, EventKind.FAILED, "lost", 1),
        (26.0, EventKind.PROGRESS, "other", 1),
        (60.0, EventKind.BEGUN, "lost", 2),
        (68.0, EventKind.PROGRESS, "lost", 2),
    )
    assert recovery("worker", 10.0, events) == Recovery("worker", 58.0, missed=15.0, placed=35.0, worked=8.0)


def test_what_takes_no_lane_has_no_phases_and_what_is_over_none_at_all() -> None:
    assert recovery("s3", 10.0, told((12.0, EventKind.PROGRESS, "one", 1))) == Recovery("s3", 2.0)
    assert recovery("owner", 10.0, told((12.0, EventKind.FAILED, "one", 1))) == Recovery("owner", None)
