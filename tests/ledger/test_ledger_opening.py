"""Opening a ledger: made on first use, refused in words, passwords never shown; and the lease that makes one writer of many."""

import socket
import sqlite3
import subprocess
import sys
import tarfile
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import JSON, Connection, Engine, create_engine, inspect, select, sql, text, update
from sqlalchemy.exc import IntegrityError

from jit_sweep.errors import UserError
from jit_sweep.ledger import connect, migrations, schema
from jit_sweep.ledger.connect import open_engine, writing
from jit_sweep.ledger.event_records import CacheHit, EntriesAdded, Failed, Finished, Reopened
from jit_sweep.ledger.file_systems import network_file_system
from jit_sweep.ledger.lease import TTL_S, LeaseHeld, LeaseLost, acquire
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import Cause, EntryState, SweepState
from jit_sweep.ledger.writer import LedgerWriter
from jit_sweep.plan.entry import recipe_id
from jit_sweep.redact import redact, redact_all
from tests.support.ledger import ALICE, BOB, FACTS, OBJECTIVE, HandClock, LedgerFixture, contents, planned
from tests.support.paths import GOLDEN, TOP
from trainables.report import Ended, Progress, Rung, Scored

VERSION_1 = GOLDEN / "ledger_version_1.sql"


def test_a_ledger_is_made_once_and_keeps_its_rows(ledger_uri: str) -> None:
    LedgerFixture(open_engine(ledger_uri))
    assert [row.name for row in LedgerReader(open_engine(ledger_uri)).sweeps()] == ["mine"]


def test_processes_that_open_a_new_ledger_together_all_succeed(ledger_uri: str) -> None:
    program = "import sys; from jit_sweep.ledger.connect import open_engine; open_engine(sys.argv[1])"
    command = [sys.executable, "-c", program, ledger_uri]
    processes = [subprocess.Popen(command, cwd=TOP, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    with open_engine(ledger_uri).connect() as connection:
        assert connection.execute(select(schema.schema_version.c.version)).all() == [(schema.SCHEMA_VERSION,)]


def test_a_newer_ledger_is_refused_by_its_version(ledger_uri: str) -> None:
    newer = schema.SCHEMA_VERSION + 1
    with writing(open_engine(ledger_uri)) as connection:
        connection.execute(update(schema.schema_version).values(version=newer))
    with pytest.raises(UserError, match=rf"newer jit-sweep \(schema {newer}, this one knows {newer - 1}\)"):
        open_engine(ledger_uri)


@pytest.fixture
def old_uri(ledger_uri: str) -> str:
    """A ledger of version 1, with a sweep in it."""
    script = VERSION_1.read_text()
    if ledger_uri.startswith("sqlite"):
        with closing(sqlite3.connect(ledger_uri.removeprefix("sqlite:///"))) as connection:
            connection.executescript(script.replace("{counting}", "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT"))
    else:
        with psycopg.connect(ledger_uri) as connection:
            connection.execute(script.replace("{counting}", "BIGSERIAL PRIMARY KEY").encode())
    return ledger_uri


def test_an_old_ledger_is_brought_up_to_date_and_its_rows_kept(old_uri: str) -> None:
    engine = open_engine(old_uri)
    with engine.connect() as connection:
        versions = connection.scalars(select(schema.schema_version.c.version).order_by("version")).all()
    assert versions == list(range(1, schema.SCHEMA_VERSION + 1))
    reader = LedgerReader(engine)
    rows = reader.entries("mine")
    assert [(row.seed, row.state, row.why, row.race, row.gates, row.alone) for row in rows] == [
        (0, EntryState.DONE, "", "", (), False),
        (1, EntryState.PAUSED, "", "", (), False),
        (0, EntryState.WAITING, "", "", (), False),
    ]
    assert [row.racer for row in rows] == [recipe_id(row.trial) for row in rows]
    assert rows[0].racer == rows[1].racer != rows[2].racer
    assert [(score.values, score.collapsed) for score in reader.scores("mine")] == [({OBJECTIVE: 1200.5}, False)]
    assert [(row.outcome, row.checkpoint_images, row.micro_batch) for row in reader.attempts("mine")] == [
        ("paused", 480, None),
        ("done", 960, None),
    ]
    assert [row.value for row in reader.rung_values("mine")] == [0.5]
    assert len(reader.events_since("mine", 0, limit=100)) == 10
    assert reader.sweep("mine").stop_asked_by is None


def test_every_event_of_an_old_ledger_is_read_as_the_record_of_its_kind(old_uri: str) -> None:
    events = LedgerReader(open_engine(old_uri)).events_since("mine", 0, limit=100)
    kinds = "registered entries_added begun rung committed scored ended begun committed ended"
    assert [event.content.kind for event in events] == kinds.split()
    assert events[1].content == EntriesAdded(count=3)
    assert events[3].content == Rung(images=480, values={"heldout_v_error": 0.5})


VERSION_1_EVENTS = {
    "progress": (
        '{"kind": "progress", "images": 48, "step": 1, "loss": 0.5, "images_per_second": 9.0}',
        Progress(images=48, step=1, loss=0.5, images_per_second=9.0),
    ),
    "cache_hit": (
        '{"key": "0:t:e:960", "attempt": 1, "age_s": 2.0, "code_version": "0.1"}',
        CacheHit(key="0:t:e:960", attempt=1, age_s=2.0, code_version="0.1"),
    ),
    "failed": ('{"cause": "bug", "detail": "KeyError: 1"}', Failed(cause=Cause.BUG, detail="KeyError: 1")),
    "reopened": ('{"lost_attempts": 1, "waiting": 2}', Reopened(lost_attempts=1, waiting=2)),
    "finished": ('{"state": "done"}', Finished(state=SweepState.DONE)),
}
"""By kind: as version 1 has stored it, and what it says; those that the old ledger has none of."""


def test_kinds_of_event_that_the_old_ledger_has_none_of_are_read_as_version_1_stored_them(old_uri: str) -> None:
    rows = [{"kind": kind, "data": stored} for kind, (stored, _) in VERSION_1_EVENTS.items()]
    raw = create_engine(_driver(old_uri))
    with raw.begin() as connection:
        into = "INSERT INTO event (sweep, at, kind, data) VALUES ('mine', 1000.0, :kind, :data)"
        connection.execute(text(into), rows)
    raw.dispose()
    events = LedgerReader(open_engine(old_uri)).events_since("mine", 0, limit=100)[-len(rows) :]
    assert {event.kind: event.content for event in events} == {kind: said for kind, (_, said) in VERSION_1_EVENTS.items()}


def test_every_event_of_a_ledger_of_version_3_is_read_as_the_record_of_its_kind(tmp_path: Path) -> None:
    with tarfile.open(GOLDEN / "home_ce5615d.tar.xz") as archive:
        archive.extract("./ledger.db", tmp_path, filter="data")
    reader = LedgerReader(open_engine(f"sqlite:///{tmp_path}/ledger.db"))
    events = [event for sweep in reader.sweeps() for event in reader.events_since(sweep.name, 0, limit=1000)]
    assert len(events) == 60
    assert [event.content.kind for event in events] == [event.kind for event in events]


def test_an_old_ledger_is_not_upgraded_under_a_run(old_uri: str) -> None:
    _lease_of(old_uri, host="elsewhere", pid=7, expires_at=time.time() + TTL_S)
    with pytest.raises(UserError) as refusal:
        open_engine(old_uri)
    message = str(refusal.value)
    assert "can be upgraded only while no sweep of it runs" in message
    assert "got 'mine' run by alice@elsewhere (pid 7) since 1970-01-01 00:16:40 UTC; let it end or stop it" in message
    raw = create_engine(_driver(old_uri))
    with raw.connect() as connection:
        assert connection.scalars(select(schema.schema_version.c.version)).all() == [1]
    assert "raw_values" not in {column["name"] for column in inspect(raw).get_columns("score")}
    raw.dispose()


def test_a_dead_pid_on_a_host_of_this_name_does_not_prove_that_a_run_is_over(old_uri: str) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    _lease_of(old_uri, host=socket.gethostname(), pid=gone.pid, expires_at=time.time() + TTL_S)
    with pytest.raises(UserError, match="a run that was killed counts for a minute"):
        open_engine(old_uri)


def test_a_lease_that_has_run_out_holds_up_no_upgrade(old_uri: str) -> None:
    _lease_of(old_uri, host="elsewhere", pid=7, expires_at=time.time() - 0.1)
    assert LedgerReader(open_engine(old_uri)).sweep("mine").name == "mine"


def _lease_of(uri: str, **values: str | float) -> None:
    """Set columns of the sweep's lease."""
    raw = create_engine(_driver(uri))
    with raw.begin() as connection:
        connection.execute(update(schema.lease).values(values))
    raw.dispose()


def test_an_upgraded_ledger_has_the_columns_and_indices_of_a_new_one(old_uri: str, tmp_path: Path) -> None:
    upgraded, fresh = inspect(open_engine(old_uri)), inspect(open_engine(f"sqlite:///{tmp_path}/new.db"))
    assert set(upgraded.get_table_names()) == set(fresh.get_table_names()) == set(schema.metadata.tables)
    for name, table in schema.metadata.tables.items():
        columns = {column["name"]: column["nullable"] for column in upgraded.get_columns(name)}
        assert columns == {column.name: column.nullable for column in table.columns}, name
        indices = {index["name"] for index in upgraded.get_indexes(name) if not index.get("duplicates_constraint")}
        assert {index.name for index in table.indexes} <= indices, name
        assert upgraded.get_pk_constraint(name)["constrained_columns"] == [column.name for column in table.primary_key], name


def test_a_sweep_of_an_old_ledger_goes_on(old_uri: str) -> None:
    ledger = LedgerFixture(open_engine(old_uri), clock=HandClock(2000.0))
    ledger.writer.reopen("mine")
    done, paused, waiting = ledger.reader.entries("mine")
    assert [row.state for row in (done, paused, waiting)] == [EntryState.DONE, EntryState.WAITING, EntryState.WAITING]
    attempt = ledger.writer.begin("mine", paused.trial_id, paused.images, lane="lane-0", host="node", pid=11)
    assert attempt is not None
    assert (attempt.number, attempt.images, attempt.checkpoint) == (2, 480, "file:///c/480")
    value = Scored(images=960, evaluation=paused.evaluation_id, n=64, values={OBJECTIVE: 1.0}, grid="file:///g", collapsed=True)
    end = Ended(images=960, outcome="done", train_s=1.0, evaluation_s=1.0, checkpoint_s=1.0)
    ledger.tell(attempt, value, end)
    assert {(score.trial_id, score.collapsed) for score in ledger.reader.scores("mine")} == {
        (done.trial_id, False),
        (paused.trial_id, True),
    }
    ledger.plan(planned(seed=7))
    assert len(ledger.reader.entries("mine")) == 4


def test_an_upgrade_tells_the_values_of_raw_weights_apart(old_uri: str) -> None:
    raw = create_engine(_driver(old_uri))
    with raw.begin() as connection:
        of = "SELECT trial_id, images, metric || '_raw', value + 1, attempt, created_at FROM rung_value"
        connection.execute(text(f"INSERT INTO rung_value (trial_id, images, metric, value, attempt, created_at) {of}"))
        values = {OBJECTIVE: 1200.5, f"{OBJECTIVE}_raw": 1300.25}
        connection.execute(update(sql.table("score", sql.column("values", JSON))).values({"values": values}))
    raw.dispose()
    reader = LedgerReader(open_engine(old_uri))
    [score] = reader.scores("mine")
    assert (score.values, score.raw_values) == ({OBJECTIVE: 1200.5}, {OBJECTIVE: 1300.25})
    assert [score.value(name) for name in (OBJECTIVE, f"{OBJECTIVE}_raw", "kid_efflite0_96")] == [1200.5, 1300.25, None]
    rungs = reader.rung_values("mine")
    assert [(rung.metric, rung.weights, rung.value) for rung in rungs] == [
        ("heldout_v_error", "evaluated", 0.5),
        ("heldout_v_error", "raw", 1.5),
    ]


def test_a_trial_in_a_form_that_is_read_no_more_does_not_stop_the_upgrade(old_uri: str) -> None:
    raw = create_engine(_driver(old_uri))
    with raw.begin() as connection:
        connection.execute(text("UPDATE trial SET config = '{}'"))
    raw.dispose()
    with open_engine(old_uri).connect() as connection:
        assert set(connection.scalars(select(schema.entry.c.racer))) == {""}


def test_processes_that_upgrade_a_ledger_together_all_succeed(old_uri: str) -> None:
    program = "import sys; from jit_sweep.ledger.connect import open_engine; open_engine(sys.argv[1])"
    command = [sys.executable, "-c", program, old_uri]
    processes = [subprocess.Popen(command, cwd=TOP, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, errors
    with open_engine(old_uri).connect() as connection:
        assert len(connection.execute(select(schema.schema_version)).all()) == schema.SCHEMA_VERSION


def test_who_comes_second_with_an_upgrade_changes_nothing(old_uri: str) -> None:
    engine = open_engine(old_uri)
    before = contents(engine)
    with writing(engine) as connection:
        assert connect._upgrade(connection, uri=old_uri) == schema.SCHEMA_VERSION
    assert contents(engine) == before


def test_an_upgrade_that_fails_leaves_the_old_ledger_as_it_was(old_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(connection: Connection) -> None:
        good(connection)
        raise OSError("the power is out")

    good = migrations._MIGRATIONS[1]
    monkeypatch.setattr(migrations, "_MIGRATIONS", {1: failing})
    with pytest.raises(OSError, match="power"):
        open_engine(old_uri)
    monkeypatch.undo()
    with pytest.raises(UserError, match="schema 1"):
        open_engine(old_uri, create=False)
    assert len(LedgerReader(open_engine(old_uri)).entries("mine")) == 3


def test_a_command_that_only_reads_leaves_an_old_ledger_alone_and_says_what_upgrades_it(old_uri: str) -> None:
    for _ in range(2):
        with pytest.raises(
            UserError, match=r"older jit-sweep \(schema 1, this one needs \d+\); running a sweep in it upgrades it"
        ):
            open_engine(old_uri, create=False)


def _driver(uri: str) -> str:
    return uri.replace("postgresql:", "postgresql+psycopg:")


def test_reading_where_no_ledger_is_says_so_and_makes_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no ledger at sqlite:///.*run a sweep there first"):
        open_engine(f"sqlite:///{tmp_path}/deep/ledger.db", create=False)
    assert list(tmp_path.iterdir()) == []


def test_reading_an_empty_database_says_so_and_makes_no_tables(postgres_uri: str) -> None:
    with pytest.raises(UserError, match="no ledger at postgresql:"):
        open_engine(postgres_uri, create=False)
    with pytest.raises(UserError, match="no ledger at"):
        open_engine(postgres_uri, create=False)


def test_a_server_that_is_down_is_named_without_its_password() -> None:
    with socket.socket() as taken:  # bound but not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match="check that the server is up") as refusal:
            open_engine(f"postgresql://alice:hunter2@127.0.0.1:{port}/ledger")
    message = str(refusal.value)
    assert f"postgresql://alice:***@127.0.0.1:{port}/ledger" in message
    assert "hunter2" not in message


@pytest.mark.parametrize("uri", ["postgresql://u:pa@hunter2@h/db", "postgresql://u:hunter2@/db?host=/nowhere/hunter2"])
def test_a_password_that_the_driver_repeats_is_not_shown(uri: str) -> None:
    with pytest.raises(UserError, match=r"\*\*\*") as refusal:
        open_engine(uri)
    assert "hunter2" not in str(refusal.value).removeprefix("the ledger must be readable and writable, got " + redact(uri))


def test_a_database_that_does_not_exist_is_the_users_mistake(postgres_server: str) -> None:
    with pytest.raises(UserError, match='database "missing" does not exist'):
        open_engine(postgres_server.replace("/postgres?", "/missing?"))


def test_a_folder_that_cannot_be_made_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="folder must be writable"):
        open_engine(f"sqlite:///{tmp_path}/file/ledger.db")


MOUNTS = """\
/dev/sda1 / ext4 rw,relatime 0 0
tmpfs /dev/shm tmpfs rw 0 0
filer:/export {folder}/home nfs4 rw,vers=4.2 0 0
/dev/sdb1 {folder}/home/scratch xfs rw 0 0
me@host:/ {folder}/with\\040blank\\134and\\011tab fuse.sshfs rw 0 0
//server/share {folder}/büro cifs rw 0 0
/dev/sdc1 {folder}/over nfs rw 0 0
/dev/sdc2 {folder}/over ext4 rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("", ""),
        ("homestead", ""),
        ("home", "nfs4"),
        ("home/alice/sweeps", "nfs4"),
        ("home/scratch/alice", ""),
        ("with blank\\and\ttab/deep", "fuse.sshfs"),
        ("büro", "cifs"),
        ("over/it", ""),
    ],
)
def test_a_folder_lies_on_the_file_system_that_is_mounted_nearest_above_it(tmp_path: Path, folder: str, kind: str) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS.format(folder=tmp_path))
    assert network_file_system(tmp_path / folder, mounts=mounts) == kind


def test_a_link_lies_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "mounts").write_text(MOUNTS.format(folder=tmp_path))
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "home")
    assert network_file_system(tmp_path / "link", mounts=tmp_path / "mounts") == "nfs4"


def test_where_nothing_tells_the_mounts_a_folder_counts_as_local(tmp_path: Path) -> None:
    assert network_file_system(tmp_path, mounts=tmp_path / "missing") == ""


def test_a_mount_whose_name_is_no_text_hides_no_other(tmp_path: Path) -> None:
    lines = MOUNTS.format(folder=tmp_path).encode() + b"/dev/sdd1 /\xff\xfe ext4 rw 0 0\n"
    (tmp_path / "mounts").write_bytes(lines)
    assert network_file_system(tmp_path / "home", mounts=tmp_path / "mounts") == "nfs4"


def test_a_sqlite_ledger_on_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mounts").write_text(MOUNTS.format(folder=tmp_path))
    monkeypatch.setattr(connect, "network_file_system", partial(network_file_system, mounts=tmp_path / "mounts"))
    with pytest.raises(UserError) as refusal:
        open_engine(f"sqlite:///{tmp_path}/home/alice/ledger.db")
    assert str(refusal.value) == (
        "a sqlite ledger must lie on a local disk, since its locks fail on network file systems, got "
        f"{tmp_path}/home/alice (nfs4); choose another home with --home, or a postgresql:// ledger"
    )
    assert not (tmp_path / "home/alice/ledger.db").exists()
    open_engine(f"sqlite:///{tmp_path}/home/scratch/ledger.db")


def test_a_file_that_is_no_database_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("a letter to my landlord, long enough to be looked at\n" * 100)
    with pytest.raises(UserError, match="must be readable and writable.*file is not a database"):
        open_engine(f"sqlite:///{tmp_path}/ledger.db")


@pytest.mark.parametrize(
    "uri",
    [
        "mysql://host/db",
        "ledger.db",
        "",
        "http://alice:hunter2@host",
        "postgresql://u:hunter2@h:port/db",
        "nonsense://u:hunter2@h",
    ],
)
def test_other_kinds_of_ledger_are_refused_without_their_password(uri: str) -> None:
    with pytest.raises(UserError, match="must be sqlite:///FILE or postgresql://") as refusal:
        open_engine(uri)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///:memory:"])
def test_a_ledger_in_memory_is_refused(uri: str) -> None:
    with pytest.raises(UserError, match="must outlive the command"):
        open_engine(uri)


def test_sqlite_runs_in_wal_mode_and_keeps_references(tmp_path: Path) -> None:
    ledger = LedgerFixture(open_engine(f"sqlite:///{tmp_path}/ledger.db"))
    with ledger.engine.connect() as connection:
        pragmas = [connection.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous", "busy_timeout")]
    assert pragmas == ["wal", 1, 30_000]
    with pytest.raises(IntegrityError), writing(ledger.engine) as connection:
        connection.execute(schema.event.insert().values(sweep="nobody's", at=0.0, kind="begun", data={}))


def test_a_reader_is_not_held_up_by_an_open_write(tmp_path: Path) -> None:
    ledger = LedgerFixture(open_engine(f"sqlite:///{tmp_path}/ledger.db"))
    ledger.plan(planned())
    with writing(ledger.engine) as connection:
        connection.execute(update(schema.entry).values(state="done"))
        assert [row.state for row in ledger.reader.entries("mine")] == ["waiting"]


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://alice:hunter2@host:5432/db", "postgresql://alice:***@host:5432/db"),
        ("postgresql://alice:hun/ter@2@host/db", "postgresql://alice:***@host/db"),
        (
            "postgresql://alice@host/db?password=hunter2&sslmode=require",
            "postgresql://alice@host/db?password=***&sslmode=require",
        ),
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        ("sqlite:////tmp/a@b:c/ledger.db", "sqlite:////tmp/a@b:c/ledger.db"),
        ("http://localhost:5000", "http://localhost:5000"),
        ("models:/name@champion", "models:/name@champion"),
    ],
)
def test_only_secrets_are_redacted(uri: str, shown: str) -> None:
    assert redact(uri) == shown


def test_a_password_is_redacted_in_a_text_that_repeats_it_decoded() -> None:
    told = redact_all("no entry for p@ss or p%40ss", uri="postgresql://u:p%40ss@host/db")
    assert told == "no entry for *** or ***"


def test_a_second_command_is_told_who_runs_the_sweep_and_since_when(engine: Engine) -> None:
    LedgerFixture(engine)
    with pytest.raises(LeaseHeld) as refusal:
        acquire(engine, "mine", BOB, clock=HandClock(1012.0))
    message = str(refusal.value)
    assert "alice@elsewhere (pid 7)" in message
    assert "since 1970-01-01 00:16:40 UTC" in message
    assert f"try again {TTL_S - 12:g} s after it is gone" in message


def test_other_sweeps_are_not_held_up_by_a_lease(engine: Engine) -> None:
    ledger = LedgerFixture(engine)
    assert acquire(engine, "another", BOB, clock=ledger.clock).epoch == 1


def test_a_lease_that_is_not_renewed_runs_out_and_its_writer_changes_nothing_more(engine: Engine) -> None:
    ledger = LedgerFixture(engine)
    ledger.clock.now += TTL_S + 0.1
    taken = acquire(engine, "mine", BOB, clock=ledger.clock)
    assert taken.epoch == ledger.lease.epoch + 1
    before = contents(engine)
    with pytest.raises(LeaseLost, match=r"bob@nowhere \(pid 8\) runs it"):
        ledger.plan(planned())
    with pytest.raises(LeaseLost):
        ledger.lease.renew()
    ledger.lease.release()
    assert contents(engine) == before


def test_a_renewed_lease_stands(engine: Engine) -> None:
    ledger = LedgerFixture(engine)
    ledger.clock.now += TTL_S - 1
    ledger.lease.renew()
    ledger.clock.now += TTL_S - 1
    with pytest.raises(LeaseHeld):
        acquire(engine, "mine", BOB, clock=ledger.clock)


def test_a_released_lease_is_free_at_once(engine: Engine) -> None:
    ledger = LedgerFixture(engine)
    ledger.lease.release()
    assert acquire(engine, "mine", BOB, clock=ledger.clock).epoch == 2


def test_a_sweep_says_who_runs_it(engine: Engine) -> None:
    ledger = LedgerFixture(engine)
    assert ledger.reader.sweep("mine").owner == ALICE
    ledger.lease.release()
    assert ledger.reader.sweep("mine").owner is None


def test_a_writer_writes_about_its_own_sweep_only(engine: Engine) -> None:
    ledger = LedgerFixture(engine)
    with pytest.raises(AssertionError, match="lease is for 'mine'"):
        LedgerWriter(engine, ledger.lease).register("other", fingerprint="f", identity=FACTS, spec={})


def test_the_file_is_a_plain_sqlite_database(tmp_path: Path) -> None:
    LedgerFixture(open_engine(f"sqlite:///{tmp_path}/ledger.db"))
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        assert connection.execute("SELECT name, state FROM sweep").fetchall() == [("mine", "running")]
