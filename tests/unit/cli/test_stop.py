"""`stop` where nobody hears the ledger: the process that runs the sweep gets the signal."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from jit_sweep.cli import stop
from jit_sweep.errors import UserError
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.event_records import EventKind
from jit_sweep.ledger.lease import acquire
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import Owner
from tests.support.ledger import LedgerFixture

DEAF = """
import signal, sys
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.holder import this_process
from jit_sweep.ledger.lease import acquire
acquire(open_engine(sys.argv[1]), "mine", this_process())
print("holds it", flush=True)
signal.pause()
"""


@pytest.fixture
def idle_ledger(tmp_path: Path) -> str:
    """One with a sweep that nobody runs."""
    uri = f"sqlite:///{tmp_path}/ledger.db"
    LedgerFixture(open_engine(uri)).lease.release()
    return uri


@pytest.mark.slow
def test_a_run_that_does_not_hear_the_ledger_is_signalled(idle_ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen([sys.executable, "-c", DEAF, idle_ledger], stdout=subprocess.PIPE, text=True) as deaf:
        assert deaf.stdout is not None
        assert deaf.stdout.readline() == "holds it\n"
        assert stop.stop("mine", idle_ledger, address=None, wait_s=1.0) == 0
    assert deaf.returncode == -15
    assert "has stopped" in capsys.readouterr().out
    asked = [
        e for e in LedgerReader(open_engine(idle_ledger)).events_since("mine", 0, limit=100) if e.kind is EventKind.STOP_ASKED
    ]
    assert len(asked) == 1


def test_a_run_on_another_machine_that_does_not_hear_is_told_with_the_remedy(idle_ledger: str) -> None:
    elsewhere = Owner(host=f"not-{socket.gethostname()}", pid=1, user="alice", started_at=0.0)
    acquire(open_engine(idle_ledger), "mine", elsewhere)
    with pytest.raises(UserError, match="on another machine or in another container; give the cluster's Jobs address"):
        stop.stop("mine", idle_ledger, address=None, wait_s=0.1)


def test_a_sweep_that_nobody_is_seen_to_run_is_asked_all_the_same(idle_ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert stop.stop("mine", idle_ledger, address=None, wait_s=0.1) == 0
    assert "nobody runs it; a run that goes on unseen is asked" in capsys.readouterr().out
    assert LedgerReader(open_engine(idle_ledger)).stop_asked_by("mine") is not None
