"""The trials that a stage with racing seeds plans as it runs: one seed more for each arm of a question that is still open."""

from collections.abc import Iterator, Sequence

from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryRow
from jit_sweep.plan.entry import Entry, Plan
from jit_sweep.plan.races import races
from jit_sweep.results.findings import Asking, Finding
from jit_sweep.results.leaderboard import read_findings
from jit_sweep.results.looks import open_findings
from jit_sweep.spec.seeds import RacingSeeds
from search_spaces.cells import arm_label


def more_seeds(plan: Plan, reader: LedgerReader, *, stage: int) -> list[Entry]:
    """What a stage plans next, all of whose trials have ended; nothing where no question of it is open. The same scores always
    give the same."""
    found, asking = read_findings(reader, plan.spec.name)
    of_stage = [each for each in found.planned if each.arms[0].stage == stage]
    wanted = wanted_seeds(of_stage, asking, most=races(plan)[stage].max)
    rows = [row for row in reader.entries(plan.spec.name) if row.stage == stage]
    last = max((row.position for row in rows), default=-1)
    return [
        entry.with_seed(wanted[entry.label], position=last + 1 + place)
        for place, entry in enumerate(entry for entry in _one_an_arm(plan, stage) if entry.label in wanted)
    ]


def wanted_seeds(found: Sequence[Finding], asking: Asking, *, most: int) -> dict[str, int]:
    """The next seed of each arm of an open question, by the arm's label."""
    arms = {arm.label: arm for each in open_findings(found, asking) for arm in each.arms}
    return {label: len(arm.trials) for label, arm in arms.items() if len(arm.trials) < most}


def raced_before(plan: Plan, rows: Sequence[EntryRow]) -> list[Entry]:
    """The further seeds that a plan's races have planned before."""
    return [entry for stage, race in races(plan).items() for entry in _known(plan, rows, stage=stage, race=race)]


def _known(plan: Plan, rows: Sequence[EntryRow], *, stage: int, race: RacingSeeds) -> Iterator[Entry]:
    arms = {entry.label: entry for entry in _one_an_arm(plan, stage)}
    for row in rows:
        entry = arms.get(arm_label(row.arm))
        if entry is not None and row.stage_id == entry.stage_id and not row.superseded and race.min <= row.seed < race.max:
            yield entry.with_seed(row.seed, position=row.position)


def _one_an_arm(plan: Plan, stage: int) -> list[Entry]:
    return [entry for entry in plan.entries if entry.stage == stage and entry.seed == 0]
