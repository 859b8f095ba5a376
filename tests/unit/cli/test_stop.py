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
from tests.support.ledger import Desk

DEAF = """
import signal, sys
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.lease import acquire, this_process
acquire(open_engine(sys.argv[1]), "mine", this_process())
print("holds it", flush=True)
signal.pause()
"""


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    """One with a sweep that nobody runs."""
    uri = f"sqlite:///{tmp_path}/ledger.db"
    Desk(open_engine(uri)).lease.release()
    return uri


def test_a_run_that_does_not_hear_the_ledger_is_signalled(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen([sys.executable, "-c", DEAF, ledger], stdout=subprocess.PIPE, text=True) as deaf:
        assert deaf.stdout is not None
        assert deaf.stdout.readline() == "holds it\n"
        assert stop.stop("mine", ledger, address=None, wait_s=1.0) == 0
    assert deaf.returncode == -15
    assert "has stopped" in capsys.readouterr().out
    asked = [e for e in LedgerReader(open_engine(ledger)).events_since("mine", 0, limit=100) if e.kind is EventKind.STOP_ASKED]
    assert len(asked) == 1


def test_a_run_on_another_machine_that_does_not_hear_is_told_with_the_remedy(ledger: str) -> None:
    elsewhere = Owner(host=f"not-{socket.gethostname()}", pid=1, user="alice", started_at=0.0)
    acquire(open_engine(ledger), "mine", elsewhere)
    with pytest.raises(UserError, match="on another machine; give the cluster's Jobs address"):
        stop.stop("mine", ledger, address=None, wait_s=0.1)


def test_a_sweep_that_nobody_runs_is_left_alone(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert stop.stop("mine", ledger, address=None, wait_s=0.1) == 0
    assert "nobody runs it" in capsys.readouterr().out
