"""The ledger's tables, equal on sqlite and PostgreSQL.

Times are seconds since the epoch. Trials, attempts, rung values and scores belong to no sweep: sweeps share them by the
trial's content. A sweep's entries say which of them it planned.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

SCHEMA_VERSION = 8
"""Raised with every change of these tables, together with the migration that makes it (`ledger/migrations.py`)."""

metadata = MetaData()

schema_version = Table(
    "schema_version",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("created_at", Double, nullable=False),
)

# One row: no two ledgers have the same, so that one put in the place of another is told.
identity = Table("identity", metadata, Column("id", String, primary_key=True))

sweep = Table(
    "sweep",
    metadata,
    Column("name", String, primary_key=True),
    Column("fingerprint", String, nullable=False),
    Column("facts", JSON, nullable=False),  # a sweep's identity
    Column("spec", JSON, nullable=False),
    Column("state", String, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("stop_asked_by", String),
    Column("searched", JSON, nullable=False),
)

# No foreign key to sweep: the lease is taken before the sweep is registered.
lease = Table(
    "lease",
    metadata,
    Column("sweep", String, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("host", String, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("user", String, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),  # by the database's clock
    Column("boot_id", String, nullable=False),
    Column("pid_namespace", String, nullable=False),
    Column("process_start", BigInteger, nullable=False),
)

trial = Table(
    "trial",
    metadata,
    Column("id", String, primary_key=True),
    Column("config", Text, nullable=False),
    Column("data_digest", String, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("diverged_images", BigInteger),
    Column("created_at", Double, nullable=False),
)

entry = Table(
    "entry",
    metadata,
    Column("sweep", ForeignKey("sweep.name"), nullable=False),
    Column("key", String, nullable=False),
    Column("stage", Integer, nullable=False),
    Column("stage_id", String, nullable=False),
    Column("content", String, nullable=False),
    Column("base", JSON, nullable=False),
    Column("position", Integer, nullable=False),
    Column("arm", JSON, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("trial_id", ForeignKey("trial.id"), nullable=False),
    Column("images", BigInteger, nullable=False),
    Column("evaluation_id", String, nullable=False),
    Column("evaluation", Text, nullable=False),
    Column("rungs", JSON, nullable=False),
    Column("origin", String, nullable=False),
    Column("state", String, nullable=False),
    Column("attempt", Integer),
    Column("cached", Boolean, nullable=False),
    Column("superseded", Boolean, nullable=False),
    Column("race", String, nullable=False),
    Column("racer", String, nullable=False),
    Column("gates", JSON, nullable=False),
    Column("protected", Boolean, nullable=False),
    Column("not_before", Double, nullable=False),
    Column("alone", Boolean, nullable=False),
    Column("why", Text, nullable=False),
    Column("updated_at", Double, nullable=False),
    PrimaryKeyConstraint("sweep", "key"),
    Index("entry_score", "trial_id", "images", "evaluation_id"),
    Index("entry_race", "sweep", "race"),
    Index("entry_trial", "sweep", "trial_id"),
)

attempt = Table(
    "attempt",
    metadata,
    Column("trial_id", ForeignKey("trial.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("sweep", ForeignKey("sweep.name"), nullable=False),
    Column("target_images", BigInteger, nullable=False),
    Column("lane", String, nullable=False),
    Column("host", String, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("images", BigInteger, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("images_per_second", Double),
    Column("loss", Double),
    Column("activity", JSON(none_as_null=True)),
    Column("micro_batch", BigInteger),
    Column("checkpoint", Text),
    Column("checkpoint_images", BigInteger),
    Column("outcome", String),
    Column("cause", String),
    Column("detail", Text),
    Column("first_bad_step", BigInteger),
    Column("started_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("ended_at", Double),
    PrimaryKeyConstraint("trial_id", "number"),
    Index("attempt_sweep", "sweep"),
)


def _of_attempt() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["trial_id", "attempt"], ["attempt.trial_id", "attempt.number"])


rung_value = Table(
    "rung_value",
    metadata,
    Column("trial_id", String, nullable=False),
    Column("images", BigInteger, nullable=False),
    Column("metric", String, nullable=False),
    Column("weights", String, nullable=False),
    Column("value", Double, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    PrimaryKeyConstraint("trial_id", "images", "metric", "weights"),
    _of_attempt(),
)

score = Table(
    "score",
    metadata,
    Column("trial_id", String, nullable=False),
    Column("images", BigInteger, nullable=False),
    Column("evaluation_id", String, nullable=False),
    Column("n", Integer, nullable=False),
    Column("values", JSON, nullable=False),
    Column("raw_values", JSON, nullable=False),
    Column("without_each", JSON, nullable=False),
    Column("raw_without_each", JSON, nullable=False),
    Column("grid", Text, nullable=False),
    Column("collapsed", Boolean, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("code_version", String, nullable=False),
    Column("created_at", Double, nullable=False),
    PrimaryKeyConstraint("trial_id", "images", "evaluation_id"),
    _of_attempt(),
)

heldout = Table(
    "heldout",
    metadata,
    Column("data_digest", String, nullable=False),
    Column("n", Integer, nullable=False),
    Column("evaluation_id", String, nullable=False),
    Column("values", JSON, nullable=False),
    Column("rows", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    PrimaryKeyConstraint("data_digest", "n", "evaluation_id"),
)

decision = Table(
    "decision",
    metadata,
    Column("trial_id", String, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("images", BigInteger, nullable=False),
    Column("verdict", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    PrimaryKeyConstraint("trial_id", "attempt", "sequence"),
    _of_attempt(),
)

verdict = Table(
    "verdict",
    metadata,
    Column("sweep", ForeignKey("sweep.name"), nullable=False),
    Column("race", String, nullable=False),
    Column("racer", String, nullable=False),
    Column("gate", Integer, nullable=False),
    Column("go_on", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    PrimaryKeyConstraint("sweep", "race", "racer", "gate"),
)

cost = Table(
    "cost",
    metadata,
    Column("trial_id", String, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("kind", String, nullable=False),
    Column("seconds", Double, nullable=False),
    PrimaryKeyConstraint("trial_id", "attempt", "kind"),
    _of_attempt(),
)

event = Table(
    "event",
    metadata,
    # sqlite counts up by itself only in a column of exactly this type.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("sweep", ForeignKey("sweep.name"), nullable=False),
    Column("at", Double, nullable=False),
    Column("kind", String, nullable=False),
    Column("trial_id", String),
    Column("attempt", Integer),
    Column("sequence", Integer),
    Column("data", JSON, nullable=False),
    UniqueConstraint("trial_id", "attempt", "sequence"),
    Index("event_order", "sweep", "id"),
    sqlite_autoincrement=True,
)
