"""`doctor`: whether a sweep's ledger, storage, MLflow and registry agree."""

from collections.abc import Sequence
from dataclasses import replace

from jit_sweep.cli.output import console, noise_to, print_json
from jit_sweep.cli.tables import Column, say, table_of
from jit_sweep.doctor.discrepancy import Discrepancy, Looked
from jit_sweep.home import Home
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.spec.stored import readable, stored_spec
from trainables.config.fields import counted
from trainables.report import ExitCode


def doctor(sweep: str, home: Home, *, ledger: str, tracking: str | None, mends: bool, as_json: bool) -> int:
    """Compare a sweep's parts, and mend what can be mended. UserError: a part is out of reach."""
    reader = LedgerReader.open(ledger)
    locations = home.locations(stored_spec(reader.sweep(sweep).spec, sweep=sweep))
    locations = replace(locations, tracking=tracking) if tracking is not None else locations
    specs = {row.name: readable(row.spec) for row in reader.sweeps()}
    storages = {name: home.locations(spec).storage for name, spec in specs.items() if spec is not None}
    with noise_to(home.log("doctor.log")):
        from jit_sweep.doctor.examine import Subject, examine, repair

        subject = Subject(reader, sweep, locations, storages)
        mended, looked = repair(subject) if mends else ((), examine(subject))
    if as_json:
        rows = [_row(finding, mended=True) for finding in mended] + [_row(finding, mended=False) for finding in looked.findings]
        print_json("doctor", rows, looked_at=looked.counts, in_training=list(looked.in_training))
    else:
        _print(sweep, mended, looked, mends=mends)
    return ExitCode.FINDINGS if looked.findings else ExitCode.DONE


def _row(finding: Discrepancy, *, mended: bool) -> dict[str, object]:
    able = finding.mend is not None
    return {"rule": finding.rule, "found": finding.found, "remedy": finding.remedy, "mendable": able, "mended": mended}


def _print(sweep: str, mended: Sequence[Discrepancy], looked: Looked, *, mends: bool) -> None:
    screen = console()
    for heading, findings in (("mended", mended), ("found" if not mends else "cannot be mended", looked.findings)):
        if findings:
            screen.print(f"{heading}:")
            screen.print(table_of(_columns(findings), width=screen.width))
    counts = ", ".join(f"{count} {name}" for name, count in looked.counts.items())
    found = counted(len(looked.findings), "finding") if looked.findings else "ledger, storage, MLflow and registry agree"
    say(screen, f"{sweep}: {found} ({counts} looked at)")
    if looked.in_training:
        screen.print(f"left alone, since they are being trained: {', '.join(looked.in_training)}", soft_wrap=True)


def _columns(findings: Sequence[Discrepancy]) -> list[Column]:
    return [
        Column("rule", [finding.rule for finding in findings], wraps=True),
        Column("found", [finding.found for finding in findings], wraps=True),
        Column("remedy", [finding.remedy for finding in findings], wraps=True),
    ]
