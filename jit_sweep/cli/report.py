"""`report`: the report of one sweep or several as a page, as Markdown or as JSON, and its parts for a paper."""

import webbrowser
from pathlib import Path

from jit_sweep.cli.output import console, print_json
from jit_sweep.home import Home
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.report.as_json import contents
from jit_sweep.report.joint import read_reports
from jit_sweep.report.paper import draws_pdf, write_paper
from jit_sweep.report.write import checked_format, write_report
from jit_sweep.spec.stored import readable
from trainables.report import ExitCode

NO_PDF = "figures are SVG alone, since svglib is not installed; the extra `pdf` of the package brings it"


def report(
    sweeps: list[str],
    home: Home,
    *,
    ledger: str | None,
    out: Path | None,
    paper: Path | None,
    goal: float | None,
    opened: bool,
    as_json: bool,
) -> int:
    """Write a report, and say where it is.

    UserError: no such sweep, sweeps that share too little, or a file name of no known format.
    """
    path = checked_format(out if out is not None else report_path(home, "+".join(sweeps)))
    reader = LedgerReader.open(home.existing_ledger(ledger))
    found = read_reports(reader, sweeps, goal=goal)
    written = write_report(found, path, storage=_storage(reader, home, sweeps))
    files = write_paper(found, paper) if paper is not None else []
    if as_json:
        print_json("report", **contents(found), written=[str(each) for each in (written, *files)])
    else:
        lines = [f"report: {written}"] + ([f"{len(files)} tables and figures: {paper}"] if files else [])
        lines += [NO_PDF] if files and not draws_pdf() else []
        console().print("\n".join(lines), soft_wrap=True)
    if opened:
        webbrowser.open(written.resolve().as_uri())
    return ExitCode.DONE


def _storage(reader: LedgerReader, home: Home, sweeps: list[str]) -> str | None:
    """Where the trials of all sweeps lie; None where that is not one place."""
    places = {home.locations(readable(reader.sweep(name).spec)).storage for name in sweeps}
    return places.pop() if len(places) == 1 else None


def report_path(home: Home, sweep: str) -> Path:
    """Where a sweep's page lies in a home."""
    return home.store / f"{sweep}-report.html"
