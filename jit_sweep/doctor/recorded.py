"""The ledger against itself: every event has its row, every ended entry its reason, and verdicts follow from the events."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from jit_sweep.doctor.discrepancy import Discrepancy
from jit_sweep.doctor.replay import RaceVerdict, judged, replayed
from jit_sweep.ledger.event_records import EventKind, EventRow
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryState
from jit_sweep.spec.schedulers import Early, NoScheduler
from trainables.report import Rung, Scored

_FOLLOWS = "every verdict follows from the events before it"
_COPY = "nothing here mends a ledger that was changed by hand; bring a copy back"


def of_rows(reader: LedgerReader, sweep: str, events: Sequence[EventRow]) -> Iterator[Discrepancy]:
    """Scores and rung values without which an event stands, and entries that are done without a score."""
    entries = reader.entries(sweep, every=True)
    scores = {(score.trial_id, score.images, score.evaluation_id) for score in reader.scores(sweep, every=True)}
    wanted = {(entry.trial_id, entry.images, entry.evaluation_id) for entry in entries}
    rungs = {(row.trial_id, row.images, row.name) for row in reader.rung_values(sweep)}
    reach = {entry.trial_id: entry.images for entry in sorted(entries, key=lambda entry: entry.images) if not entry.superseded}
    for event in events:
        match event.content:
            case Scored(images=images, evaluation=evaluation):
                score = (event.trial_id, images, evaluation)
                if score in wanted and score not in scores:
                    yield _lacks(event, f"the score at {images} images")
            case Rung(images=images) as rung if images <= reach.get(event.trial_id or "", 0):
                if lost := [name for name in rung.by_name if (event.trial_id, images, name) not in rungs]:
                    yield _lacks(event, f"{', '.join(lost)} at {images} images")
    for entry in entries:
        if entry.state is EntryState.DONE and (entry.trial_id, entry.images, entry.evaluation_id) not in scores:
            found = f"trial {entry.trial_id} is done at {entry.images} images and has no score there"
            yield Discrepancy("every trial that is done has its score", found, _COPY)


def _lacks(event: EventRow, what: str) -> Discrepancy:
    return Discrepancy("every event has its row", f"trial {event.trial_id}: event {event.id} is there, and not {what}", _COPY)


def of_verdicts(
    reader: LedgerReader, sweep: str, events: Sequence[EventRow], scheduler: Early | NoScheduler
) -> Iterator[Discrepancy]:
    """Verdicts that are not what the other events lead to, judged once more from the event log alone.

    scheduler: the sweep's. Of a sweep whose scheduler was another before, the verdicts since then are judged.
    """
    plans = (event for event in events if event.kind is EventKind.ENTRIES_ADDED)
    if isinstance(scheduler, NoScheduler) or not all(map(_has_plan, plans)):
        return
    since = max((place + 1 for place, event in enumerate(events) if event.kind is EventKind.RESCHEDULED), default=0)
    recorded, again = judged(events, since=since), replayed(events, scheduler, since=since)
    for place, (had, follows) in enumerate(zip_longest(recorded, again)):
        if had != follows:
            yield Discrepancy(_FOLLOWS, f"verdict {place + 1} is {_told(had)}; from the events follows {_told(follows)}", _COPY)
            return
    rows = {(row.race, row.racer, row.gate): row.go_on for row in reader.verdicts(sweep)}
    told = {(each.race, each.verdict.racer, each.verdict.gate): each.verdict.go_on for each in recorded}
    if rows != told:
        different = sorted(key for key in rows.keys() | told.keys() if rows.get(key) != told.get(key))
        yield Discrepancy("every event has its row", f"the verdicts on {different} differ from their events", _COPY)


def _told(judged: RaceVerdict | None) -> str:
    """A verdict in words."""
    if judged is None:
        return "none"
    verdict = judged.verdict
    return f"{'go on' if verdict.go_on else 'stop'} for {verdict.racer} at gate {verdict.gate} ({verdict.reason})"


def _has_plan(event: EventRow) -> bool:
    """Whether it tells what was planned; a record of the first schema does not."""
    data: Any = event.data
    return bool(data.get("planned") or data.get("hidden") or not data.get("count"))
