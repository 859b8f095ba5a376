"""`stop`: a sweep that runs elsewhere saves its trials and ends."""

import os
import signal
import time

from jit_sweep.cli.output import console, print_json
from jit_sweep.errors import UserError
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.holder import Presence, presence, this_process
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import Owner
from jit_sweep.ledger.stop_requests import ask_to_stop
from trainables.report import ExitCode

LOOK_S = 0.5


def stop(sweep: str, ledger: str, *, address: str | None, wait_s: float, as_json: bool = False) -> int:
    """Ask through the ledger, and where nobody hears that, by a signal to the process or the job. UserError: neither helped.

    The wish is written though nobody seems to run the sweep: a run that goes on unseen hears it.
    """
    engine = open_engine(ledger, create=False)
    reader, screen = LedgerReader(engine), console(stderr=as_json)
    owner = _owner(reader, sweep)
    ask_to_stop(engine, sweep, by=str(this_process()))
    if owner is None:
        screen.print(f"sweep {sweep}: nobody runs it; a run that goes on unseen is asked to stop all the same")
        return _answered(sweep, None, as_json=as_json)
    screen.print(f"asked {owner} to stop {sweep}; its trials save and pause")
    if not _ended(reader, sweep, owner, wait_s=wait_s):
        _signal(sweep, owner, address=address)
        if not _ended(reader, sweep, owner, wait_s=wait_s):
            raise UserError(f"{owner} must end within {wait_s:g} s of being signalled, and runs {sweep!r} still; look there")
    screen.print(f"sweep {sweep} has stopped; running its file again goes on with it")
    return _answered(sweep, owner, as_json=as_json)


def _answered(sweep: str, owner: Owner | None, *, as_json: bool) -> ExitCode:
    if as_json:
        print_json("stop", [{"sweep": sweep, "stopped": str(owner) if owner else None}])
    return ExitCode.DONE


def _owner(reader: LedgerReader, sweep: str) -> Owner | None:
    row = reader.sweep(sweep)
    return row.owner if row.is_run else None


def _ended(reader: LedgerReader, sweep: str, owner: Owner, *, wait_s: float) -> bool:
    deadline = time.monotonic() + wait_s
    while _owner(reader, sweep) == owner:
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_S)
    return True


def _signal(sweep: str, owner: Owner, *, address: str | None) -> None:
    """The run does not hear the ledger: SIGTERM where it is on this machine, else through the cluster's Jobs API."""
    if address is not None:
        from jit_sweep.submit import stop_jobs  # starts Ray's client

        stop_jobs(sweep, address=address)
    elif presence(owner) is Presence.ALIVE:
        os.kill(owner.pid, signal.SIGTERM)
    else:
        rule = f"{owner} does not hear the ledger, and is on another machine or in another container"
        raise UserError(f"{rule}; give the cluster's Jobs address with --address, or end it there")
