"""What a stage plans as it runs: all that builds on an earlier stage's best arm, the arms at their best settings where they are
tuned, further seeds where these race."""

from collections.abc import Sequence

from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryRow, ScoreRow
from jit_sweep.plan.entry import Entry, Plan
from jit_sweep.plan.races import races
from jit_sweep.plan.tuned_arms import tunings
from jit_sweep.results.choices import decided
from jit_sweep.results.comparable import Marks
from jit_sweep.results.leaderboard import marks_of
from jit_sweep.results.more_seeds import more_seeds, raced_before
from jit_sweep.results.tuning import arms_at_their_best


def growing(plan: Plan) -> set[int]:
    """The stages that plan more once their trials have ended, or those of the stages before them."""
    return {*races(plan), *tunings(plan), *plan.waiting}


def further(plan: Plan, reader: LedgerReader, *, stage: int) -> list[Entry]:
    """What a stage plans next, all of whose trials have ended; nothing where it has ended itself. The same scores always give
    the same."""
    name = plan.spec.name
    rows, scores = reader.entries(name), reader.scores(name)
    plan, known = decided(plan, rows, scores, marks=marks_of(reader.heldout(name))), {row.key for row in rows}
    if fresh := [entry for entry in plan.entries if entry.stage == stage and entry.key not in known]:
        return fresh
    if stage in races(plan):
        return more_seeds(plan, reader, stage=stage)
    best = arms_at_their_best(plan, rows, scores)
    return [entry for entry in best if entry.stage == stage and entry.key not in known]


def with_further(plan: Plan, rows: Sequence[EntryRow], scores: Sequence[ScoreRow], *, marks: Marks) -> Plan:
    """The plan with what its stages have planned besides in earlier runs, as the file has it now."""
    plan = decided(plan, rows, scores, marks=marks)
    more = [*raced_before(plan, rows), *arms_at_their_best(plan, rows, scores)]
    return plan.model_copy(update={"entries": (*plan.entries, *more)}) if more else plan
