"""Opening a ledger: by URL, checked, and made on first use."""

import json
import os
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import from_json
from sqlalchemy import URL, Connection, Engine, create_engine, event, func, insert, inspect, make_url, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.sql.dml import Insert
from sqlalchemy.sql.schema import Table

from jit_sweep.errors import UserError
from jit_sweep.ledger import schema
from jit_sweep.ledger.clock import database_now
from jit_sweep.ledger.file_systems import network_file_system
from jit_sweep.ledger.migrations import migrate
from jit_sweep.ledger.records import Owner, when
from jit_sweep.redact import redact, redact_all
from jit_sweep.spec.uri import LEDGER_FORMS, sqlite_path

DatabaseAway = DBAPIError
"""What a call raises while the database cannot be reached, is busy for too long or has no space left."""
BUSY_TIMEOUT_S = 30
CONNECT_TIMEOUT_S = 10
_WRITING = "ledger_writing"
OPENED = "ledger_opened"
"""Under which a connection's `info` has the file that it has open."""
_CREATION_LOCK = 0x6A69745F73776570


_PRIMARY = 0xFF
"""The part of an sqlite error code that names its kind."""
_UNUSABLE = frozenset(
    {
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    }
)


class NoLedger(UserError):
    """Nothing has made one there yet."""


def open_engine(uri: str, *, create: bool = True) -> Engine:
    """Connect to a ledger and make its tables where they are missing.

    uri: `sqlite:///FILE` or `postgresql://...`. With `create=False` a missing ledger is an error and nothing is made.
    UserError: no such ledger, unreachable, unwritable, written by a newer version, or by an older one that runs a sweep in it.
    """
    url = _url(uri)
    try:
        engine = _engine(url, create=create, uri=uri)
    except ModuleNotFoundError as error:
        raise UserError(f"a PostgreSQL ledger needs {error.name}; pip install 'jit-sweep[postgresql]'") from None
    try:
        _prepare(engine, create=create, uri=uri)
    except SQLAlchemyError as error:
        engine.dispose()
        raise UserError(_unusable(uri, error)) from None
    except UserError:
        engine.dispose()
        raise
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that writes: all of it or nothing."""
    # sqlite must ask for its write lock at the start: a reader that turns writer is refused without waiting.
    with engine.connect().execution_options(**{_WRITING: True}) as connection, connection.begin():
        yield connection


def is_away(error: DBAPIError) -> bool:
    """Whether the same call may succeed later: the database is at fault, and not what was asked of it."""
    return isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated


def unusable(error: DBAPIError) -> str:
    """What keeps an sqlite ledger from being written, such as a full disk; empty for a server, and where it is only busy."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    lacks_tables = code == sqlite3.SQLITE_ERROR and "no such table" in str(error.orig)
    return str(error.orig) if lacks_tables or (code is not None and code & _PRIMARY in _UNUSABLE) else ""


def insert_new(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert the rows whose keys are not there yet; the others stay as they are."""
    if not rows:
        return
    connection.execute(_insert_new(connection.dialect.name, table), rows)


@cache
def _insert_new(dialect: str, table: Table) -> Insert:
    insert_of = sqlite.insert if dialect == "sqlite" else postgresql.insert
    return insert_of(table).on_conflict_do_nothing()


def _url(uri: str) -> URL:
    try:
        url = make_url(uri)
    except (ArgumentError, ValueError):  # the latter for a port that is no number
        url = None
    backend = url.get_backend_name() if url is not None else None
    if url is None or backend not in ("sqlite", "postgresql", "postgres"):
        raise UserError(f"`ledger` must be {LEDGER_FORMS}, got {redact(uri)}")
    if backend == "sqlite":
        file = sqlite_path(uri)
        if file is None or str(file) == ":memory:":
            raise UserError(f"`ledger` must outlive the command, got {redact(uri)}; name a file, as sqlite:///ledger.db")
        return url.set(drivername="sqlite+pysqlite", database=str(file))
    return url.set(drivername="postgresql+psycopg")


def _engine(url: URL, *, create: bool, uri: str) -> Engine:
    texts = {"json_serializer": partial(json.dumps, allow_nan=False), "json_deserializer": from_json}
    if url.get_backend_name() == "postgresql":
        timeout = {"connect_timeout": CONNECT_TIMEOUT_S} if "connect_timeout" not in url.query else {}
        return create_engine(url, **texts, connect_args=timeout, pool_pre_ping=True)
    _check_file(Path(str(url.database)), create=create, uri=uri)
    engine = create_engine(url, **texts, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _check_file(file: Path, *, create: bool, uri: str) -> None:
    if not create:
        if not file.is_file():
            raise NoLedger(f"no ledger at {redact(uri)}; run a sweep there first, or name another home with --home")
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"{file.parent}: {error.strerror}"
        raise UserError(f"the ledger's folder must be writable, got {reason}; choose another home with --home") from None
    if kind := network_file_system(file.parent):
        rule = "a sqlite ledger must lie on a local disk, since its locks fail on network file systems"
        raise UserError(f"{rule}, got {file.parent} ({kind}); choose another home with --home, or a postgresql:// ledger")


class Opened(NamedTuple):
    """The file that a connection to sqlite has open; another one under its name is no longer it."""

    file: str
    device: int
    inode: int


def opened_file(file: str) -> Opened:
    """What is at a path now. FileNotFoundError."""
    there = os.stat(file)
    return Opened(file, there.st_dev, there.st_ino)


def _configure_sqlite(connection: Any, record: Any) -> None:
    record.info[OPENED] = opened_file(connection.execute("PRAGMA database_list").fetchone()[2])
    # The driver's own transaction control begins too late and without the write lock: `_begin_sqlite` begins instead.
    connection.isolation_level = None
    _switch_to_wal(connection)
    for pragma in ("synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _switch_to_wal(connection: Any) -> None:
    """Processes that open a new file together lock each other out, and sqlite refuses without waiting."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").close()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def _begin_sqlite(connection: Connection) -> None:
    mode = "BEGIN IMMEDIATE" if connection.get_execution_options().get(_WRITING) else "BEGIN"
    connection.exec_driver_sql(mode)


def _prepare(engine: Engine, *, create: bool, uri: str) -> None:
    with engine.connect() as connection:
        version = _stored_version(connection)
    if version is None:
        if not create:
            raise NoLedger(f"no ledger at {redact(uri)}; run a sweep there first, or name another home with --home")
        with writing(engine) as connection:
            version = _create(connection)
    elif create and version < schema.SCHEMA_VERSION:
        with writing(engine) as connection:
            version = _upgrade(connection, uri=uri)
    if version < schema.SCHEMA_VERSION:
        have = f"schema {version}, this one needs {schema.SCHEMA_VERSION}"
        raise UserError(
            f"the ledger {redact(uri)} was written by an older jit-sweep ({have}); running a sweep in it upgrades it"
        )
    if version > schema.SCHEMA_VERSION:
        have = f"schema {version}, this one knows {schema.SCHEMA_VERSION}"
        raise UserError(f"the ledger {redact(uri)} was written by a newer jit-sweep ({have}); upgrade, or choose another home")


def _stored_version(connection: Connection) -> int | None:
    if not inspect(connection).has_table(schema.schema_version.name):
        return None
    version: int | None = connection.scalar(select(func.max(schema.schema_version.c.version)))
    return version


def _create(connection: Connection) -> int:
    """Make the tables unless another process was first; returns the version that stands."""
    _alone(connection)
    version = _stored_version(connection)
    if version is not None:
        return version
    schema.metadata.create_all(connection)
    connection.execute(insert(schema.identity).values(id=uuid.uuid4().hex))
    connection.execute(insert(schema.schema_version).values(version=schema.SCHEMA_VERSION, created_at=time.time()))
    return schema.SCHEMA_VERSION


def _upgrade(connection: Connection, *, uri: str) -> int:
    """Migrate the tables unless another process was first; returns the version that stands. UserError: a sweep runs."""
    _alone(connection)
    version = _stored_version(connection)
    assert version is not None
    if version < schema.SCHEMA_VERSION:
        _refuse_under_a_run(connection, uri=uri)
    return migrate(connection, version)


def _refuse_under_a_run(connection: Connection, *, uri: str) -> None:
    """UserError: an older jit-sweep runs a sweep of this ledger, and could not write to the migrated tables."""
    held = text('SELECT sweep, host, pid, "user", started_at FROM lease WHERE expires_at > :now ORDER BY sweep')
    holders = connection.execute(held, {"now": database_now(connection)}).all()
    if holders:
        runs = "; ".join(f"{row.sweep!r} run by {Owner(*row[1:])} since {when(row.started_at)}" for row in holders)
        rule = f"the ledger {redact(uri)} is of an older jit-sweep and can be upgraded only while no sweep of it runs"
        remedy = "let it end or stop it with Ctrl-C where it runs, then try again; a run that was killed counts for a minute"
        raise UserError(f"{rule}, got {runs}; {remedy}")


def _alone(connection: Connection) -> None:
    """Keep others from making or migrating tables until this transaction ends; sqlite's write lock does so already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _CREATION_LOCK})


def _unusable(uri: str, error: SQLAlchemyError) -> str:
    cause = getattr(error, "orig", None) or error
    reason = " ".join(redact_all(str(cause), uri=uri).split()) or type(cause).__name__
    remedy = (
        "check that the server is up and takes this user" if uri.startswith("postgres") else "choose another home with --home"
    )
    return f"the ledger must be readable and writable, got {redact(uri)}: {reason}; {remedy}"
