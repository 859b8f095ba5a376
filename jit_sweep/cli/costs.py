"""`status SWEEP --cost`: where a sweep's device-hours went."""

from rich.table import Table

from jit_sweep.budget.costs import Cost, Costs, read_costs
from jit_sweep.cli.output import console, print_json
from jit_sweep.cli.progress import clock
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.reader import LedgerReader


def show(sweep: str, ledger: str, *, as_json: bool) -> int:
    """A sweep's cost by what came of it. UserError: the ledger has no such sweep."""
    found = read_costs(LedgerReader(open_engine(ledger, create=False)), sweep)
    if as_json:
        rows = [{"outcome": str(outcome), **_json(cost)} for outcome, cost in found.by_outcome.items()]
        total = {"total_seconds": found.total.seconds, "total_device_hours": found.total.device_hours}
        print_json("cost", rows, sweep=sweep, unit=f"{found.unit}-hours", **total, saved=_json(found.saved))
    else:
        console().print(_table(sweep, found))
    return 0


def _json(cost: Cost) -> dict[str, float]:
    return {"seconds": cost.seconds, "device_hours": cost.device_hours, "attempts": cost.attempts}


def _table(sweep: str, found: Costs) -> Table:
    table = Table(title=f"sweep {sweep}: what it cost", title_justify="left", box=None, pad_edge=False)
    for heading in ("", "attempts", "time", f"{found.unit}-hours", "share"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    total = found.total
    for outcome, cost in found.by_outcome.items():
        share = f"{100 * cost.seconds / total.seconds:.0f} %" if total.seconds else ""
        table.add_row(str(outcome), str(cost.attempts), clock(cost.seconds), f"{cost.device_hours:.4g}", share)
    table.add_row("in all", "", clock(total.seconds), f"{total.device_hours:.4g}", "", style="bold", end_section=True)
    saved = found.saved
    table.add_row("saved", str(saved.attempts), clock(saved.seconds), f"{saved.device_hours:.4g}", "", style="dim")
    return table
