"""A sweep whose file another version took: commands that read it say what this one refuses, and trace nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jit_sweep.cli.models import _locations
from jit_sweep.errors import UserError
from jit_sweep.home import home_at
from jit_sweep.results.leaderboard import read_results
from jit_sweep.results.pareto import front_in
from jit_sweep.search.journal import export_journal
from jit_sweep.spec.stored import readable
from jit_sweep.spec.sweep import SweepSpec
from tests.support.ledger import FACTS, OBJECTIVE, LedgerFixture, planned
from tests.support.sweep_files import tiny_sweep

READERS: dict[str, Callable[[LedgerFixture, Path], object]] = {
    "ui and promote": lambda ledger, folder: _locations("mine", ledger.reader, home_at(folder)),
    "export --optuna": lambda ledger, folder: export_journal(ledger.reader, "mine", folder / "mine.journal"),
    "leaderboard": lambda ledger, _: front_in(ledger.reader, read_results(ledger.reader, "mine")),
}


def spec(**changes: Any) -> dict[str, Any]:
    return SweepSpec.model_validate(tiny_sweep(name="mine")).model_dump(mode="json", by_alias=True) | changes


@pytest.mark.parametrize("command", READERS)
def test_a_stored_file_that_is_refused_today_is_named_with_its_fault(
    command: str, ledger: LedgerFixture, tmp_path: Path
) -> None:
    ledger.writer.register("mine", fingerprint="f1", identity=FACTS, spec=spec(tracking="mlruns"))
    ledger.train(planned(origin="search"), {OBJECTIVE: 1.0})
    with pytest.raises(UserError, match=r"'mine' must be one that this version reads.*\nmine: tracking: .*got mlruns"):
        READERS[command](ledger, tmp_path)


def test_a_stored_file_is_read_or_it_is_none() -> None:
    assert readable(spec(tracking="mlruns")) is None
    assert readable(spec()) == SweepSpec.model_validate(tiny_sweep(name="mine"))
