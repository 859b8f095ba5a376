"""`gc`: checkpoints that nobody needs any more."""

from dataclasses import asdict

from rich.filesize import decimal

from jit_sweep.cli.output import console, noise_to, print_json
from jit_sweep.cli.tables import Column, table_of
from jit_sweep.home import Home, Locations
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import SweepRow
from jit_sweep.models.retention import Collected, Removal, collect
from jit_sweep.spec.stored import readable, stored_spec
from trainables.config.fields import counted
from trainables.report import ExitCode


def gc(sweep: str | None, home: Home, *, ledger: str, tracking: str | None, dry_run: bool, as_json: bool) -> int:
    """Remove what a sweep, or any sweep of the ledger, has stored and nobody needs. UserError: a part is out of reach."""
    reader = LedgerReader.open(ledger)
    locations, unreadable = _locations(reader, sweep, home)
    with noise_to(home.log("gc.log")):
        registries = frozenset({tracking}) if tracking is not None else frozenset()
        collected = collect(reader, locations, dry_run=dry_run, registries=registries)
    if as_json:
        rows = [asdict(removal) for removal in collected.removed]
        more = {"in_training": list(collected.in_training), "unreadable_sweeps": unreadable}
        print_json("gc", rows, dry_run=dry_run, size=collected.size, **more)
    else:
        _print(collected, unreadable, dry_run=dry_run)
    return ExitCode.DONE


def _locations(reader: LedgerReader, sweep: str | None, home: Home) -> tuple[dict[str, Locations], list[str]]:
    """Where the sweeps lie, and the names of those whose stored file cannot be read."""
    rows: list[SweepRow] = reader.sweeps() if sweep is None else [reader.sweep(sweep)]
    specs = {row.name: readable(row.spec) if sweep is None else stored_spec(row.spec, sweep=sweep) for row in rows}
    unreadable = [name for name, spec in specs.items() if spec is None]
    return {name: home.locations(spec) for name, spec in specs.items() if spec is not None}, unreadable


def _print(collected: Collected, unreadable: list[str], *, dry_run: bool) -> None:
    screen = console()
    if collected.removed:
        screen.print(table_of(_columns(collected.removed), width=screen.width))
    would = "would remove" if dry_run else "removed"
    counts = [(sum(removal.kind == kind for removal in collected.removed), kind) for kind in ("checkpoint", "leftover")]
    found = " and ".join(counted(count, kind) for count, kind in counts if count)
    screen.print(f"{would} {found}, {decimal(collected.size)}" if found else "nothing to remove", soft_wrap=True)
    if collected.in_training:
        screen.print(f"left alone, since they are being trained: {', '.join(collected.in_training)}", soft_wrap=True)
    if unreadable:
        screen.print(f"left alone, since another version ran them: {', '.join(unreadable)}", soft_wrap=True)


def _columns(removed: tuple[Removal, ...]) -> list[Column]:
    return [
        Column("trial", [removal.trial_id for removal in removed]),
        Column("attempt", [str(removal.attempt) for removal in removed], 1, right=True),
        Column("images", [f"{removal.images:,}" for removal in removed], right=True),
        Column("what", [removal.kind for removal in removed]),
        Column("size", [decimal(removal.size) for removal in removed], right=True),
        Column("where", [removal.address for removal in removed], 2),
    ]
