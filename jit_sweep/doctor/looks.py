"""Looks at racing seeds, taken once more by the event log: the same scores must have given the same arms more seeds."""

from collections.abc import Iterator

from jit_sweep.doctor.discrepancy import Discrepancy
from jit_sweep.doctor.replay import every_event
from jit_sweep.ledger.event_records import EntriesAdded
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryRow, SweepState
from jit_sweep.results.arms import Arm, with_scores
from jit_sweep.results.leaderboard import marked_asking, planned_arms_of
from jit_sweep.results.more_seeds import wanted_seeds
from jit_sweep.results.verdicts import findings
from search_spaces.cells import arm_label

_RULE = "every further seed follows from the scores before it"


def of_looks(reader: LedgerReader, sweep: str) -> Iterator[Discrepancy]:
    """Arms that got a further seed and were not due one, or were due one and got none. Nothing is said of a sweep whose
    questions have changed, or of which some trials draw samples and others none: earlier versions counted questions about the
    latter among those that are answered together."""
    row, rows = reader.sweep(sweep), reader.entries(sweep)
    asking = marked_asking(reader, row)
    if len(reader.asked(sweep)) > 1 or len({each.draws for each in rows}) > 1:
        return
    planned_at = _planned_at(reader, sweep)
    for stage, race in asking.races.items():
        for count in range(race.min, race.max):
            fresh = [each for each in rows if each.stage == stage and each.seed == count]
            if not fresh and row.state is not SweepState.DONE:
                break
            at = min((planned_at[each.key] for each in fresh if each.key in planned_at), default=float("inf"))
            found = findings(_arms_before(reader, sweep, rows, stage, count, at), asking)
            of_stage = [each for each in found.planned if each.arms[0].stage == stage]
            due, had = set(wanted_seeds(of_stage, asking, most=race.max)), {arm_label(each.arm) for each in fresh}
            if different := sorted(due ^ had):
                told = "; ".join(f"{label} {'was due one and got none' if label in due else 'got one'}" for label in different)
                yield Discrepancy(_RULE, f"stage {stage}, seed {count}: {told}", "nothing here mends it; bring a copy back")
            if not fresh:
                break


def _arms_before(reader: LedgerReader, sweep: str, rows: list[EntryRow], stage: int, count: int, at: float) -> list[Arm]:
    """The arms as they stood when a stage had come to so many seeds, with the scores that were known `at` that time."""
    kept = [row for row in rows if row.stage != stage or row.seed < count]
    scores = [score for score in reader.scores(sweep) if score.created_at <= at]
    return planned_arms_of(reader.sweep(sweep), with_scores(kept, scores), reader.rung_values(sweep))


def _planned_at(reader: LedgerReader, sweep: str) -> dict[str, float]:
    """When each entry was first planned, by key."""
    found: dict[str, float] = {}
    for event in every_event(reader, sweep):
        if isinstance(event.content, EntriesAdded):
            for facts in event.content.planned:
                found.setdefault(str(facts["key"]), event.at)
    return found
