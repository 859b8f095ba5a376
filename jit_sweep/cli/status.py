"""`status`: how sweeps and their trials stand, why one trial stands as it does, and what a sweep cost."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console, Group

from jit_sweep.budget.costs import Cost, Costs, read_costs, resources_of
from jit_sweep.cli.output import console, print_json
from jit_sweep.cli.progress import phase_of, standing
from jit_sweep.cli.silence import clock
from jit_sweep.cli.tables import Column, cell_column, say, table_of
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import LOST, EntryRow, EntryState, SweepRow, SweepState, when
from jit_sweep.plan.foundations import foundations
from jit_sweep.results import why
from jit_sweep.results.as_json import standing_row
from jit_sweep.results.retired import retired
from jit_sweep.results.tuned_sampling import untuned
from jit_sweep.results.words import explained, state_in_words
from jit_sweep.spec.stored import readable
from search_spaces.cells import arm_label
from trainables.config.fields import counted
from trainables.report import ExitCode

MOST_ROWS = 50
"""Trials that are shown without being asked for all."""
URGENT = (EntryState.RUNNING, EntryState.FAILED, EntryState.HELD, EntryState.PAUSED)
"""States of the trials that are shown before all others."""


def status(sweep: str | None, ledger: str, *, every: bool = False, as_json: bool) -> int:
    """All sweeps, or the trials of one: a large sweep's most interesting ones, or every one. As JSON it is always every one."""
    reader = LedgerReader.open(ledger)
    if sweep is None:
        return _sweeps(reader.sweeps(), as_json=as_json)
    named, rows = reader.sweep(sweep), reader.entries(sweep)
    if as_json:
        print_json("status", [standing_row(row) for row in rows], sweep=sweep, state=str(named.standing))
        return ExitCode.DONE
    _print_trials(named, rows, reason=reader.end_reason(sweep), every=every)
    spec = readable(named.spec)
    for each in foundations(rows, is_counted=spec is not None and spec.budget.count_earlier_stages):
        say(console(), f"stage {each.stage}: {each.line}")
    if spec is not None and spec.evaluation.tune is not None:
        done, left = len(reader.tuned(sweep)), len(untuned(spec, reader))
        say(console(), f"sampling is tuned of {counted(done, 'trial')}{f', and still to be of {left:,}' if left else ''}")
    if gone := retired(reader.entries(sweep, every=True)):
        say(console(), f"retired: {len(gone):,} trials that the file plans no more; the leaderboard has them")
    return ExitCode.DONE


def _print_trials(sweep: SweepRow, rows: Sequence[EntryRow], *, reason: str, every: bool) -> None:
    """Who runs the sweep, or for what `reason` it ended; its trials, and why those that are lost failed."""
    screen = console()
    held = sweep.is_run
    owner = f", run by {sweep.owner}" if held else ", and nobody runs it" if sweep.state is SweepState.RUNNING else ""
    ending = f": {reason}" if reason and not held else ""
    say(screen, f"sweep {sweep.name}: {sweep.standing}{owner}{ending}")
    say(screen, _counts(rows))
    shown = rows if every else most_interesting(rows)
    _print_table(shown, screen)
    if len(shown) < len(rows):
        screen.print(f"{len(shown)} of {len(rows):,} trials; --all shows every one")
    for line in explained([*map(phase_of, shown), *("cached" for row in shown if row.cached)]):
        say(screen, line, style="dim")
    for row in shown:
        if row.state in LOST:
            say(screen, f"{row.trial_id} {row.state}: {row.cause}: {row.detail.strip().splitlines()[-1]}")


def most_interesting(rows: Sequence[EntryRow], most: int = MOST_ROWS) -> list[EntryRow]:
    """What a person looks for first, in the order of the plan: the urgent states in their order, then what changed last."""
    urgency = {state: rank for rank, state in enumerate(URGENT)}
    first = sorted(rows, key=lambda row: (urgency.get(row.state, len(urgency)), -row.updated_at))[:most]
    keys = {row.key for row in first}
    return [row for row in rows if row.key in keys]


def show_why(sweep: str, trial: str, ledger: str, *, address: str | None, as_json: bool) -> int:
    """One sentence an entry of the trial, and a line for each attempt. UserError: no such sweep or trial."""
    reader = LedgerReader.open(ledger)
    named, every = reader.sweep(sweep), reader.entries(sweep, every=True)
    rows = [row for row in every if not row.superseded]
    entries = why.entries_of([*rows, *retired(every)], trial)
    run = why.RunState(
        resources_of(named.spec),
        running=named.is_run,
        now=reader.now(),
        free=_free(address) if address else None,
        end_reason=reader.end_reason(sweep),
    )
    sentences = [why.why(row, rows, run) for row in entries]
    attempts = [attempt for attempt in reader.attempts_at_trials(sweep) if attempt.trial_id == entries[0].trial_id]
    lines = why.history(attempts, reader.cost(sweep))
    if as_json:
        facts = [
            {"trial": row.trial_id, "state": str(row.state), "why": words}
            for row, words in zip(entries, sentences, strict=True)
        ]
        print_json("why", facts, sweep=sweep, attempts=lines)
        return ExitCode.DONE
    screen = console()
    for row, words in zip(entries, sentences, strict=True):
        say(screen, f"{row.trial_id} {arm_label(row.arm)} seed={row.seed}: {words}")
    for line in lines:
        say(screen, line, indent="  ")
    return ExitCode.DONE


def _free(address: str) -> why.Free:
    from jit_sweep.executor.before_ray import check_answers
    from jit_sweep.executor.cluster import free_resources  # starts Ray

    check_answers(address)
    return free_resources(address)


def show_cost(sweep: str, ledger: str, *, as_json: bool) -> int:
    """A sweep's cost by what came of it. UserError: the ledger has no such sweep."""
    costs = read_costs(LedgerReader.open(ledger), sweep)
    if as_json:
        rows = [{"outcome": str(outcome), **_cost_json(cost)} for outcome, cost in costs.by_outcome.items()]
        total: dict[str, float | None] = {"total_seconds": costs.total.seconds, "total_device_hours": costs.total.device_hours}
        total["data_wait"] = costs.data_wait
        print_json("cost", rows, sweep=sweep, unit=f"{costs.unit}-hours", **total, saved=_cost_json(costs.saved))
    else:
        screen = console()
        say(screen, f"sweep {sweep}: what it cost")
        screen.print(_cost_table(costs, width=screen.width))
        if costs.data_wait is not None:
            say(screen, f"data wait: {costs.data_wait:.1%} of training", style="dim")
    return ExitCode.DONE


def _cost_json(cost: Cost) -> dict[str, float]:
    return {"seconds": cost.seconds, "device_hours": cost.device_hours, "attempts": cost.attempts}


def _cost_table(costs: Costs, *, width: int) -> Group:
    total, saved = costs.total, costs.saved
    rows = [
        (outcome.in_words, str(cost.attempts), cost, f"{100 * cost.seconds / total.seconds:.0f} %" if total.seconds else "")
        for outcome, cost in costs.by_outcome.items()
    ]
    rows += [("in all", "", total, ""), ("saved", str(saved.attempts), saved, "")]
    columns = [
        Column("outcome", [name for name, *_ in rows]),
        Column("attempts", [attempts for _, attempts, *_ in rows], right=True),
        Column("time", [clock(cost.seconds) for *_, cost, _ in rows], right=True),
        Column(f"{costs.unit}-hours", [f"{cost.device_hours:.4g}" for *_, cost, _ in rows], right=True),
        Column("share", [share for *_, share in rows], 1, right=True),
    ]
    return table_of(columns, width=width, styles={len(rows) - 2: "bold", len(rows) - 1: "dim"})


def _sweeps(sweeps: list[SweepRow], *, as_json: bool) -> int:
    if as_json:
        rows = [
            {"name": s.name, "state": str(s.standing), "updated_at": s.updated_at, **{str(k): v for k, v in s.counts.items()}}
            for s in sweeps
        ]
        print_json("sweeps", rows)
        return ExitCode.DONE
    screen = console()
    counts = [", ".join(f"{count} {state_in_words(state)}" for state, count in sweep.counts.items()) for sweep in sweeps]
    columns = [
        Column("sweep", [sweep.name for sweep in sweeps]),
        Column("state", [str(sweep.standing) for sweep in sweeps]),
        Column("trials", counts, wraps=True),
        Column("last change", [when(sweep.updated_at) for sweep in sweeps], 1),
    ]
    screen.print(table_of(columns, width=screen.width))
    return ExitCode.DONE


def _counts(rows: Sequence[EntryRow]) -> str:
    """How many trials stand how, and what the failed ones failed of, such as `7 done, 3 failed (2 bug, 1 data_error)`."""
    states = Counter(row.state for row in rows)
    causes = Counter(str(row.cause) for row in rows if row.state is EntryState.FAILED)
    of = {EntryState.FAILED: f" ({', '.join(f'{count} {cause}' for cause, count in causes.most_common())})"}
    return ", ".join(f"{states[state]:,} {state_in_words(state)}{of.get(state, '')}" for state in EntryState if states[state])


def _print_table(rows: Sequence[EntryRow], screen: Console) -> None:
    cells, common = cell_column([row.arm for row in rows])
    if common:
        say(screen, common.removeprefix("; "))
    screen.print(
        table_of(
            [
                Column("stage", [str(row.stage) for row in rows], 3, right=True),
                Column("trial", [row.trial_id for row in rows]),
                cells,
                Column("seed", [str(row.seed) for row in rows], right=True),
                Column("state", [f"{standing(row)}{' (cached)' if row.cached else ''}" for row in rows]),
                Column("images", [f"{_done(row):,}/{row.images:,}" for row in rows], 1, right=True),
                Column("attempt", [str(row.attempt.number) if row.attempt else "" for row in rows], 2, right=True),
            ],
            width=screen.width,
        )
    )


def _done(row: EntryRow) -> int:
    """Images that count: those of its last checkpoint, or all."""
    return row.images if row.state is EntryState.DONE else row.attempt.images if row.attempt else 0
