"""`export --optuna`: a sweep for Optuna's own tools."""

from pathlib import Path

from jit_sweep.cli.output import console, noise_to
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.reader import LedgerReader


def export(sweep: str, ledger: str, *, file: Path, log: Path) -> int:
    """Write the sweep's journal."""
    with noise_to(log):
        from jit_sweep.search.journal import export_journal

        studies = export_journal(LedgerReader(open_engine(ledger, create=False)), sweep, file)
    console().print(f"{file}: {', '.join(studies)}\n\nnext:\n  optuna-dashboard {file}", soft_wrap=True)
    return 0
