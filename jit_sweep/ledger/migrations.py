"""From the tables of an older version to those of this one, a version at a time.

A migration is never changed again, and calls nothing of the program: what the program means by a word may change.
"""

import json
import time
import uuid
from collections.abc import Callable, Mapping

from sqlalchemy import JSON, BigInteger, Connection, String, bindparam, column, insert, select, table, text, update

from jit_sweep.ledger import schema
from jit_sweep.ledger.stage_identities import content_hash, stages_have_identities


def migrate(connection: Connection, version: int) -> int:
    """Bring the tables from `version` up to date within one transaction; returns the version that stands then."""
    while version < schema.SCHEMA_VERSION:
        _MIGRATIONS[version](connection)
        version += 1
        connection.execute(insert(schema.schema_version).values(version=version, created_at=time.time()))
    return version


def _early_stopping(connection: Connection) -> None:
    """Version 2: races and their verdicts, why an entry stands as it does, and when it may be tried again."""
    for statement in (
        "ALTER TABLE sweep ADD COLUMN stop_asked_by VARCHAR",
        "ALTER TABLE sweep ADD COLUMN searched JSON NOT NULL DEFAULT '[]'",
        "ALTER TABLE entry ADD COLUMN race VARCHAR NOT NULL DEFAULT ''",
        "ALTER TABLE entry ADD COLUMN racer VARCHAR NOT NULL DEFAULT ''",
        "ALTER TABLE entry ADD COLUMN gates JSON NOT NULL DEFAULT '[]'",
        "ALTER TABLE entry ADD COLUMN protected BOOLEAN NOT NULL DEFAULT false",
        "ALTER TABLE entry ADD COLUMN not_before DOUBLE PRECISION NOT NULL DEFAULT 0",
        "ALTER TABLE entry ADD COLUMN alone BOOLEAN NOT NULL DEFAULT false",
        "ALTER TABLE entry ADD COLUMN why TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE attempt ADD COLUMN micro_batch BIGINT",
        "ALTER TABLE score ADD COLUMN collapsed BOOLEAN NOT NULL DEFAULT false",
        "CREATE INDEX entry_race ON entry (sweep, race)",
        "CREATE TABLE verdict (sweep VARCHAR NOT NULL REFERENCES sweep (name), race VARCHAR NOT NULL, racer VARCHAR NOT NULL, "
        "gate INTEGER NOT NULL, go_on BOOLEAN NOT NULL, reason TEXT NOT NULL, created_at DOUBLE PRECISION NOT NULL, "
        "PRIMARY KEY (sweep, race, racer, gate))",
    ):
        connection.execute(text(statement))
    trials = connection.execute(text("SELECT id, config FROM trial")).all()
    racers = [{"trial": row.id, "racer": racer} for row in trials if (racer := _racer(row.config))]
    if racers:
        connection.execute(text("UPDATE entry SET racer = :racer WHERE trial_id = :trial"), racers)


def _racer(config: str) -> str:
    """Names a trial's arm, as version 2 did: the id of the same trial with seed 0. Empty for what is no trial."""
    trial = json.loads(config)
    return content_hash({**trial, "seed": 0, "maths_version": 2}) if "model" in trial else ""


def _entries_by_trial(connection: Connection) -> None:
    """Version 3: a trial's entries are found without a walk through those of its whole sweep."""
    connection.execute(text("CREATE INDEX entry_trial ON entry (sweep, trial_id)"))


def _weights_apart(connection: Connection) -> None:
    """Version 4: which weights were measured stands beside a metric's name, where `_raw` stood behind it."""
    for statement in (
        "ALTER TABLE score ADD COLUMN raw_values JSON NOT NULL DEFAULT '{}'",
        "ALTER TABLE rung_value RENAME TO rung_value_3",
        "CREATE TABLE rung_value (trial_id VARCHAR NOT NULL, images BIGINT NOT NULL, metric VARCHAR NOT NULL, "
        "weights VARCHAR NOT NULL, value DOUBLE PRECISION NOT NULL, attempt INTEGER NOT NULL, "
        "created_at DOUBLE PRECISION NOT NULL, PRIMARY KEY (trial_id, images, metric, weights), "
        "FOREIGN KEY (trial_id, attempt) REFERENCES attempt (trial_id, number))",
        "INSERT INTO rung_value SELECT trial_id, images, substr(metric, 1, length(metric) - 4), 'raw', value, attempt, "
        "created_at FROM rung_value_3 WHERE substr(metric, length(metric) - 3) = '_raw'",
        "INSERT INTO rung_value SELECT trial_id, images, metric, 'evaluated', value, attempt, created_at FROM rung_value_3 "
        "WHERE substr(metric, length(metric) - 3) <> '_raw'",
        "DROP TABLE rung_value_3",
    ):
        connection.execute(text(statement))
    key = (column("trial_id", String), column("images", BigInteger), column("evaluation_id", String))
    score = table("score", *key, column("values", JSON), column("raw_values", JSON))
    rows = connection.execute(select(*key, score.c["values"])).all()
    split = [
        {
            **{f"at_{name}": value for name, value in zip((part.name for part in key), row[:3], strict=True)},
            "values": {name: value for name, value in row[3].items() if not name.endswith("_raw")},
            "raw_values": {name.removesuffix("_raw"): value for name, value in row[3].items() if name.endswith("_raw")},
        }
        for row in rows
    ]
    if split:
        connection.execute(update(score).where(*(part == bindparam(f"at_{part.name}") for part in key)), split)


def _owners(connection: Connection) -> None:
    """Version 5: a lease's holder is named by boot, pid namespace and process start; the ledger has an identity."""
    for statement in (
        "ALTER TABLE lease ADD COLUMN boot_id VARCHAR NOT NULL DEFAULT ''",
        "ALTER TABLE lease ADD COLUMN pid_namespace VARCHAR NOT NULL DEFAULT ''",
        "ALTER TABLE lease ADD COLUMN process_start BIGINT NOT NULL DEFAULT 0",
        "CREATE TABLE identity (id VARCHAR NOT NULL PRIMARY KEY)",
    ):
        connection.execute(text(statement))
    connection.execute(text("INSERT INTO identity VALUES (:id)"), {"id": uuid.uuid4().hex})


def _activities(connection: Connection) -> None:
    """Version 7: what an attempt is about while it does not train."""
    connection.execute(text("ALTER TABLE attempt ADD COLUMN activity JSON"))


def _errors_and_rows(connection: Connection) -> None:
    """Version 8: what a score's standard error follows from; rows of no model's images, by evaluation: features differ."""
    for statement in (
        "ALTER TABLE score ADD COLUMN without_each JSON NOT NULL DEFAULT '{}'",
        "ALTER TABLE score ADD COLUMN raw_without_each JSON NOT NULL DEFAULT '{}'",
        "ALTER TABLE heldout RENAME TO heldout_7",
        "CREATE TABLE heldout (data_digest VARCHAR NOT NULL, n INTEGER NOT NULL, evaluation_id VARCHAR NOT NULL, "
        '"values" JSON NOT NULL, "rows" JSON NOT NULL, created_at DOUBLE PRECISION NOT NULL, '
        "PRIMARY KEY (data_digest, n, evaluation_id))",
        "INSERT INTO heldout SELECT old.data_digest, old.n, used.evaluation_id, old.\"values\", '{}', old.created_at "
        "FROM heldout_7 AS old JOIN (SELECT DISTINCT trial.data_digest, score.n, score.evaluation_id FROM score "
        "JOIN trial ON trial.id = score.trial_id) AS used ON used.data_digest = old.data_digest AND used.n = old.n",
        "DROP TABLE heldout_7",
    ):
        connection.execute(text(statement))


_MIGRATIONS: Mapping[int, Callable[[Connection], None]] = {
    1: _early_stopping,
    2: _entries_by_trial,
    3: _weights_apart,
    4: _owners,
    5: stages_have_identities,
    6: _activities,
    7: _errors_and_rows,
}
"""By the version that each starts from."""
