"""An MLflow database that came with its home to another place: its files are found beside it again, never where they were.

MLflow keeps the full address of every run's files and has no call to change one.
"""

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from jit_sweep.errors import UserError
from jit_sweep.spec.uri import artifact_uri
from trainables.storage.address import local_path

_log = logging.getLogger(__name__)
_DEFAULT = ("store", "mlflow")
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)
_YOUNGEST = ("experiments", "creation_time")
"""Of the columns that are read here the one that MLflow makes last: without it nothing was ever recorded."""
_EXPERIMENTS = "SELECT experiment_id, artifact_location, creation_time FROM experiments"


def follow(database: Path) -> None:
    """Name the present place of files that lie in the home whose database this is; another's is left as it is.

    UserError: it cannot be written.
    """
    if not _is_of_home(database):
        return
    try:
        with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
            for old, new in _moves(connection, database.parent):
                _log.info("the files below %s came to %s", old, new)
                _rename(connection, old, artifact_uri(str(new)))
    except sqlite3.Error as error:
        rule = f"an MLflow database must be readable, and writable where its home was moved or copied, got {database}"
        raise UserError(f"{rule} ({error}); make it so, or copy the home again") from None


def _is_of_home(database: Path) -> bool:
    """Whether it lies in a home (`jit_sweep.home.Home`): a database that homes share moves with none of them."""
    home = database.parent
    return database.name == "mlflow.db" and ((home / "ledger.db").is_file() or (home / "store").is_dir())


def _moves(connection: sqlite3.Connection, home: Path) -> Iterator[tuple[str, Path]]:
    """What experiments are named for a place that these files have left, and where they lie in this home."""
    if not _has(connection, *_YOUNGEST):
        return
    for number, root, made_at in connection.execute(_EXPERIMENTS).fetchall():
        old = _path(root)
        if old is None or old.is_relative_to(home):
            continue
        runs = [run for (run,) in connection.execute("SELECT run_uuid FROM runs WHERE experiment_id = ?", (number,))]
        new = _lies_with_runs(old, home, runs) or (_lies_in_store(old, home) if _has_left(old, number, made_at) else None)
        if new is not None and not _same(old, new):
            yield str(root), new


def _path(root: str | None) -> Path | None:
    try:
        return local_path(root) if root else None
    except ValueError:
        return None


def _lies_with_runs(old: Path, home: Path, runs: list[str]) -> Path | None:
    """The folder of this home that holds files of these runs as `old` did; None where there is none."""
    places = [home.joinpath(*old.parts[first:]) for first in range(1, len(old.parts))]
    return next((place for place in places if place.is_dir() and any((place / run).is_dir() for run in runs)), None)


def _lies_in_store(old: Path, home: Path) -> Path | None:
    """A home's own store in this home; None where `old` was elsewhere."""
    return home.joinpath(*_DEFAULT) if old.parts[-2:] == _DEFAULT else None


def _has_left(old: Path, experiment: int, made_at: int) -> bool:
    """Whether the home of `old` is gone, or was copied: its own database has the same experiment."""
    home = old.parents[1] if len(old.parts) > 2 else old
    if not home.exists():
        return True
    if not (home / "mlflow.db").is_file():
        return False
    with closing(sqlite3.connect(f"{(home / 'mlflow.db').as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        known = _has(connection, *_YOUNGEST) and connection.execute(_EXPERIMENTS).fetchall()
    return any((number, made) == (experiment, made_at) for number, _, made in known or ())


def _same(old: Path, new: Path) -> bool:
    return old.exists() and new.exists() and os.path.samefile(old, new)


def _rename(connection: sqlite3.Connection, old: str, new: str) -> None:
    for table, column in _ADDRESSES:
        if _has(connection, table, column):
            below = f'"{column}" = ?1 OR substr("{column}", 1, length(?1) + 1) = ?1 || \'/\''
            changed = f'UPDATE "{table}" SET "{column}" = ?2 || substr("{column}", length(?1) + 1) WHERE {below}'
            connection.execute(changed, (old, new))


def _has(connection: sqlite3.Connection, table: str, column: str) -> bool:
    return column in [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
