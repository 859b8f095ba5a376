"""What somebody who does not run a sweep may write about its trials: what they score by evaluations of his own."""

import time
from collections.abc import Callable

from sqlalchemy import Engine, and_, select

from jit_sweep.ledger import events, schema
from jit_sweep.ledger.connect import writing
from jit_sweep.ledger.event_records import Evaluated, NoiseMeasured, Tuned
from jit_sweep.ledger.lease import lock
from jit_sweep.ledger.reader import LedgerReader
from trainables.config.evaluation import EvaluationConfig


class EvaluationLog:
    """Scores that no sweep has planned, kept so that they need not be drawn again. No sweep's state changes by them."""

    def __init__(self, engine: Engine, *, clock: Callable[[], float] = time.time) -> None:
        self.reader = LedgerReader(engine)
        self._engine, self._clock = engine, clock

    def known(self, trial_id: str, *, images: int) -> dict[str, Evaluated]:
        """What is known of a trial's weights at an image count, by the evaluation's id."""
        return {each.evaluation_id: each for each in self.reader.evaluated(trial_id) if each.images == images}

    def planned(self, trial_id: str, evaluation: EvaluationConfig, *, images: int) -> Evaluated | None:
        """What a sweep has scored a trial's weights by this evaluation at an image count; None where none has."""
        score, trial, real = schema.score.c, schema.trial.c, schema.heldout
        same = (real.c.data_digest == trial.data_digest, real.c.n == score.n, real.c.evaluation_id == score.evaluation_id)
        query = select(schema.score, real.c["values"].label("heldout"), real.c["rows"])
        query = query.join(schema.trial, trial.id == score.trial_id).outerjoin(real, and_(*same))
        wanted = (score.trial_id == trial_id, score.images == images, score.evaluation_id == evaluation.id)
        with self._engine.connect() as connection:
            row = connection.execute(query.where(*wanted)).mappings().first()
        if row is None or not row["values"]:
            return None
        return Evaluated(
            images=images,
            evaluation_id=evaluation.id,
            evaluation=evaluation.model_dump(mode="json"),
            heldout=row["heldout"] or {},
            rows=row["rows"] or {},
            seconds=0.0,
            **{name: row[name] for name in ("values", "without_each", "collapsed", "code_version")},
        )

    def add(self, found: Evaluated | NoiseMeasured | Tuned, *, sweep: str, trial_id: str | None = None) -> None:
        """Keep scores of a trial, in a sweep that has planned it; or what many of them say of the sweep."""
        with writing(self._engine) as connection:
            lock(connection, sweep)  # its writer's events and this one come one after the other
            events.append(connection, found, sweep=sweep, at=self._clock(), trial_id=trial_id)
