"""Who holds a sweep, under wrong clocks, equal host names and pids that come again."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, select

from jit_sweep.ledger import schema
from jit_sweep.ledger.clock import database_now
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.holder import Presence, presence, this_process
from jit_sweep.ledger.lease import TTL_S, Lease, LeaseHeld, LedgerGone, acquire
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import Owner
from jit_sweep.ledger.stop_requests import ask_to_stop
from jit_sweep.ledger.writer import LedgerWriter
from tests.support.ledger import BOB, FACTS, LedgerFixture
from tests.support.paths import TOP

HOLD = """
import sys, time
shift_s, namespace = float(sys.argv[2]), sys.argv[3]
true_time = time.time
time.time = lambda: true_time() + shift_s
from jit_sweep.ledger.clock import database_now
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.holder import this_process
from jit_sweep.ledger.lease import acquire
engine, owner = open_engine(sys.argv[1]), this_process()
if namespace:
    owner = owner._replace(pid_namespace=namespace)
def clock(connection):  # of sqlite it is the machine's own
    return database_now(connection) + (shift_s if engine.dialect.name == "sqlite" else 0.0)
lease = acquire(engine, "mine", owner, clock=clock)
print("held", flush=True)
for _ in sys.stdin:
    lease.renew()
    print("renewed", flush=True)
"""
"""Takes the lease of `mine`, and renews it for each line that it is sent; its machine's clock is off, its namespace another."""
FORKED = ("unshare", "--pid", "--fork", "--mount-proc")
BEHIND_S, AHEAD_S = -300.0, 300.0


@contextmanager
def holding(uri: str, *before: str, shift_s: float = 0.0, namespace: str = "") -> Iterator["subprocess.Popen[str]"]:
    """A process that holds the lease of `mine`, started by the command `before`; skips where that cannot run here.

    `shift_s`: by how much its machine's clock is off; `namespace`: the pid namespace that it finds itself in.
    """
    if before and (shutil.which(before[0]) is None or subprocess.run([*before, "true"], capture_output=True).returncode):
        pytest.skip(f"`{' '.join(before)}` does not run here: not installed, or not allowed")
    command = [*before, sys.executable, "-c", HOLD, uri, str(shift_s), namespace]
    with subprocess.Popen(command, cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.communicate()


@contextmanager
def renewing(process: "subprocess.Popen[str]") -> Iterator[None]:
    """The holder renews its lease again and again."""
    over = threading.Event()

    def ask() -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        while not over.is_set():
            process.stdin.write("\n")
            process.stdin.flush()
            process.stdout.readline()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def behind(connection: Connection) -> float:
    return database_now(connection) - 300.0


def test_a_holder_killed_on_this_machine_is_replaced_at_once(engine: Engine, ledger_uri: str) -> None:
    with holding(ledger_uri) as holder:
        with pytest.raises(LeaseHeld):
            acquire(engine, "mine", this_process())
        os.kill(holder.pid, signal.SIGKILL)
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet collected: a zombie counts as dead
        assert acquire(engine, "mine", this_process()).epoch == 2


def test_a_missing_process_on_another_machine_proves_nothing(engine: Engine) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    elsewhere = this_process()._replace(pid=gone.pid, boot_id="another machine's")
    assert presence(elsewhere) is Presence.UNKNOWN
    acquire(engine, "mine", elsewhere)
    with pytest.raises(LeaseHeld):
        acquire(engine, "mine", this_process())


def test_a_pid_that_has_come_again_is_not_the_holder_s_process(engine: Engine) -> None:
    before = this_process()._replace(process_start=1)
    assert presence(this_process()) is Presence.ALIVE
    assert presence(before) is Presence.GONE
    acquire(engine, "mine", before)
    assert acquire(engine, "mine", BOB).epoch == 2


def test_a_holder_of_an_older_ledger_is_judged_by_its_lease_alone() -> None:
    assert presence(Owner(host=this_process().host, pid=2**22 + 1, user="alice", started_at=0.0)) is Presence.UNKNOWN


@pytest.mark.parametrize(("before", "namespace"), [((), "pid:[1]"), (FORKED, "")], ids=["told", "unshare"])
def test_a_live_holder_in_another_pid_namespace_with_this_host_name_keeps_its_lease(
    engine: Engine, ledger_uri: str, before: tuple[str, ...], namespace: str
) -> None:
    with holding(ledger_uri, *before, namespace=namespace):
        with engine.connect() as connection:
            row = connection.execute(select(schema.lease)).one()
        here = this_process()
        assert (row.host, row.boot_id) == (here.host, here.boot_id)
        assert row.pid_namespace != here.pid_namespace
        with pytest.raises(LeaseHeld):
            acquire(engine, "mine", here)


@pytest.mark.parametrize("shift_s", [BEHIND_S, AHEAD_S])
def test_a_live_holder_with_a_wrong_clock_keeps_its_lease(engine: Engine, ledger_uri: str, shift_s: float) -> None:
    with holding(ledger_uri, shift_s=shift_s) as holder, renewing(holder), pytest.raises(LeaseHeld):
        acquire(engine, "mine", BOB)


def test_a_lease_s_times_are_the_database_s_whatever_the_holder_s_clock_says(postgres_uri: str) -> None:
    engine = open_engine(postgres_uri)
    with holding(postgres_uri, shift_s=BEHIND_S), engine.connect() as connection:
        expires_at = connection.scalar(select(schema.lease.c.expires_at))
        assert expires_at is not None
        assert 0.0 < expires_at - database_now(connection) <= TTL_S
    engine.dispose()


def test_a_holder_that_lives_and_renews_keeps_a_lease_that_seems_to_have_run_out(engine: Engine) -> None:
    lease = acquire(engine, "mine", this_process(), clock=behind)
    over = threading.Event()

    def renew() -> None:
        while not over.wait(0.02):
            lease.renew()

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        with pytest.raises(LeaseHeld):
            acquire(engine, "mine", BOB)
    finally:
        over.set()
        thread.join()
    lease.renew()


def test_a_holder_that_lives_and_renews_no_more_loses_its_lease(engine: Engine) -> None:
    acquire(engine, "mine", this_process(), clock=behind)
    assert acquire(engine, "mine", BOB, watch_s=0.0).epoch == 2


def test_a_holder_seen_to_live_runs_its_sweep_though_its_lease_seems_to_have_run_out(engine: Engine) -> None:
    lease = acquire(engine, "mine", this_process(), clock=behind)
    registered(engine, lease)
    assert LedgerReader(engine).sweep("mine").is_run
    lease.release()
    assert not LedgerReader(engine).sweep("mine").is_run


def test_a_stop_that_comes_before_the_run_has_registered_is_heard_and_an_older_one_forgotten(engine: Engine) -> None:
    first = LedgerFixture(engine)
    ask_to_stop(engine, "mine", by="bob")
    first.lease.release()
    lease = acquire(engine, "mine", BOB, clock=first.clock)
    assert first.reader.stop_asked_by("mine") is None
    ask_to_stop(engine, "mine", by="carol")
    registered(engine, lease)
    assert first.reader.stop_asked_by("mine") == "carol"


def test_no_two_ledgers_have_the_same_identity(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = open_engine(f"sqlite:///{tmp_path_factory.mktemp('other')}/ledger.db")
    ids = []
    for each in (engine, other):
        with each.connect() as connection:
            ids.append(connection.scalars(select(schema.identity.c.id)).one())
    other.dispose()
    assert ids[0] != ids[1]


def registered(engine: Engine, lease: Lease) -> None:
    """Take the sweep `mine` up with this lease."""
    LedgerWriter(engine, lease).register("mine", fingerprint="f1", identity=FACTS, spec={})


@pytest.mark.parametrize("other", [True, False])
def test_a_ledger_that_is_deleted_or_replaced_under_a_run_is_named_at_the_next_renewal(tmp_path: Path, other: bool) -> None:
    file = tmp_path / "ledger.db"
    engine = open_engine(f"sqlite:///{file}")
    lease = acquire(engine, "mine", this_process())
    lease.renew()
    file.unlink()
    if other:
        beside = tmp_path / "beside.db"
        open_engine(f"sqlite:///{beside}").dispose()
        beside.rename(file)
    with pytest.raises(LedgerGone, match="was replaced by another file" if other else f"the ledger {file} was deleted"):
        lease.renew()
    engine.dispose()
