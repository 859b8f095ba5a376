"""From the tables of an older version to those of this one, a version at a time. A migration is never changed again."""

import time
from collections.abc import Callable, Mapping

from sqlalchemy import Connection, insert, text

from jit_sweep.ledger import schema
from jit_sweep.plan.entry import recipe_id
from trainables.config.trial import TrialConfig


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
    """Names a trial's arm; empty for a trial in a form that is read no more, which no sweep can plan again either."""
    try:
        return recipe_id(TrialConfig.model_validate_json(config))
    except ValueError:
        return ""


def _entries_by_trial(connection: Connection) -> None:
    """Version 3: a trial's entries are found without a walk through those of its whole sweep."""
    connection.execute(text("CREATE INDEX entry_trial ON entry (sweep, trial_id)"))


_MIGRATIONS: Mapping[int, Callable[[Connection], None]] = {1: _early_stopping, 2: _entries_by_trial}
"""By the version that each starts from."""
