"""`status`: an option that is given is answered, whatever its value."""

from pathlib import Path

import pytest

from jit_sweep.cli.running_app import status
from jit_sweep.errors import UserError
from tests.support.ledger import LedgerFixture, planned


def test_an_empty_trial_is_refused_and_never_taken_for_none(ledger: LedgerFixture, tmp_path: Path) -> None:
    ledger.plan(planned())
    with pytest.raises(UserError, match="`--why` must name a trial of the sweep, got ''"):
        status("mine", trial="", home_folder=tmp_path, ledger=str(ledger.engine.url))
    with pytest.raises(UserError, match="`--why` needs a sweep, got none"):
        status(None, trial="", home_folder=tmp_path, ledger=str(ledger.engine.url))
