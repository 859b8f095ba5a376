"""`status`: how sweeps and their trials stand, why one trial stands as it does, and what a sweep cost."""

from collections import Counter
from collections.abc import Sequence

from rich.table import Table

from jit_sweep.budget.costs import Cost, Costs, read_costs, resources_of
from jit_sweep.cli.output import cell_of, console, print_json
from jit_sweep.cli.progress import clock
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import LOST, EntryRow, EntryState, SweepRow, SweepState, when
from jit_sweep.results import why
from jit_sweep.results.as_json import entry_row
from search_spaces.axes import arm_label
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
        print_json("status", [entry_row(row) for row in rows], sweep=sweep, state=str(named.standing))
        return ExitCode.DONE
    _print_trials(named, rows, reason=reader.end_reason(sweep), every=every)
    return ExitCode.DONE


def _print_trials(sweep: SweepRow, rows: Sequence[EntryRow], *, reason: str, every: bool) -> None:
    """Who runs the sweep, or for what `reason` it ended; its trials, and why those that are lost failed."""
    screen = console()
    held = sweep.is_run
    owner = f", run by {sweep.owner}" if held else ", and nobody runs it" if sweep.state is SweepState.RUNNING else ""
    ending = f": {reason}" if reason and not held else ""
    screen.print(f"sweep {sweep.name}: {sweep.standing}{owner}{ending}", soft_wrap=True)
    screen.print(_counts(rows))
    shown = rows if every else most_interesting(rows)
    screen.print(_trial_table(shown))
    if len(shown) < len(rows):
        screen.print(f"{len(shown)} of {len(rows):,} trials; --all shows every one")
    for row in shown:
        if row.state in LOST:
            screen.print(f"{row.trial_id} {row.state}: {row.cause}: {row.detail.strip().splitlines()[-1]}", soft_wrap=True)


def most_interesting(rows: Sequence[EntryRow], most: int = MOST_ROWS) -> list[EntryRow]:
    """What a person looks for first, in the order of the plan: the urgent states in their order, then what changed last."""
    urgency = {state: rank for rank, state in enumerate(URGENT)}
    first = sorted(rows, key=lambda row: (urgency.get(row.state, len(urgency)), -row.updated_at))[:most]
    keys = {row.key for row in first}
    return [row for row in rows if row.key in keys]


def show_why(sweep: str, trial: str, ledger: str, *, address: str | None, as_json: bool) -> int:
    """One sentence an entry of the trial, and a line for each attempt. UserError: no such sweep or trial."""
    reader = LedgerReader.open(ledger)
    named, rows = reader.sweep(sweep), reader.entries(sweep)
    entries = why.entries_of(rows, trial)
    run = why.RunState(
        resources_of(named.spec),
        running=named.is_run,
        now=reader.now(),
        free=_free(address) if address else None,
        end_reason=reader.end_reason(sweep),
    )
    sentences = [why.why(row, rows, run) for row in entries]
    attempts = [attempt for attempt in reader.attempts_at_trials(sweep) if attempt.trial_id == entries[0].trial_id]
    if as_json:
        facts = [
            {"trial": row.trial_id, "state": str(row.state), "why": words}
            for row, words in zip(entries, sentences, strict=True)
        ]
        print_json("why", facts, sweep=sweep, attempts=why.history(attempts))
        return ExitCode.DONE
    screen = console()
    for row, words in zip(entries, sentences, strict=True):
        screen.print(f"{row.trial_id} {arm_label(row.arm)} seed={row.seed}: {words}", soft_wrap=True)
    for line in why.history(attempts):
        screen.print(f"  {line}", soft_wrap=True)
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
        total = {"total_seconds": costs.total.seconds, "total_device_hours": costs.total.device_hours}
        print_json("cost", rows, sweep=sweep, unit=f"{costs.unit}-hours", **total, saved=_cost_json(costs.saved))
    else:
        console().print(_cost_table(sweep, costs))
    return ExitCode.DONE


def _cost_json(cost: Cost) -> dict[str, float]:
    return {"seconds": cost.seconds, "device_hours": cost.device_hours, "attempts": cost.attempts}


def _cost_table(sweep: str, costs: Costs) -> Table:
    table = Table(title=f"sweep {sweep}: what it cost", title_justify="left", box=None, pad_edge=False)
    for heading in ("", "attempts", "time", f"{costs.unit}-hours", "share"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    total = costs.total
    for outcome, cost in costs.by_outcome.items():
        share = f"{100 * cost.seconds / total.seconds:.0f} %" if total.seconds else ""
        table.add_row(str(outcome), str(cost.attempts), clock(cost.seconds), f"{cost.device_hours:.4g}", share)
    table.add_row("in all", "", clock(total.seconds), f"{total.device_hours:.4g}", "", style="bold", end_section=True)
    saved = costs.saved
    table.add_row("saved", str(saved.attempts), clock(saved.seconds), f"{saved.device_hours:.4g}", "", style="dim")
    return table


def _sweeps(sweeps: list[SweepRow], *, as_json: bool) -> int:
    if as_json:
        rows = [
            {"name": s.name, "state": str(s.standing), "updated_at": s.updated_at, **{str(k): v for k, v in s.counts.items()}}
            for s in sweeps
        ]
        print_json("sweeps", rows)
        return ExitCode.DONE
    table = Table(box=None, pad_edge=False)
    for heading in ("sweep", "state", "trials", "last change"):
        table.add_column(heading)
    for sweep in sweeps:
        counts = ", ".join(f"{count} {state}" for state, count in sweep.counts.items())
        table.add_row(sweep.name, str(sweep.standing), counts, when(sweep.updated_at))
    console().print(table)
    return ExitCode.DONE


def _counts(rows: Sequence[EntryRow]) -> str:
    """How many trials stand how, and what the failed ones failed of, such as `7 done, 3 failed (2 bug, 1 data_error)`."""
    states = Counter(row.state for row in rows)
    causes = Counter(str(row.cause) for row in rows if row.state is EntryState.FAILED)
    of = {EntryState.FAILED: f" ({', '.join(f'{count} {cause}' for cause, count in causes.most_common())})"}
    return ", ".join(f"{states[state]:,} {state}{of.get(state, '')}" for state in EntryState if states[state])


def _trial_table(rows: Sequence[EntryRow]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("stage", "trial", "cell", "seed", "state", "images", "attempt"):
        table.add_column(heading, no_wrap=True, justify="left" if heading in ("trial", "cell", "state") else "right")
    for row in rows:
        done = row.images if row.state is EntryState.DONE else row.attempt.images if row.attempt else 0
        state = f"{row.state} (cached)" if row.cached else str(row.state)
        attempt = str(row.attempt.number) if row.attempt else ""
        table.add_row(str(row.stage), row.trial_id, cell_of(row.arm), str(row.seed), state, f"{done:,}/{row.images:,}", attempt)
    return table
