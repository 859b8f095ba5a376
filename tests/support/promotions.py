"""A home in which sweeps have been trained, with the scores that a test gives them, and in which promotions are played.

A retraining whose trials are scored has nothing left to train: `promote` goes its whole way over it, and starts no Ray.
"""

import gc
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from jit_sweep.cli import promote as command
from jit_sweep.cli.promote import Wish
from jit_sweep.executor.opening import take_up
from jit_sweep.home import Home, home_at
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.lease import acquire
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryRow, SweepState
from jit_sweep.ledger.writer import LedgerWriter
from jit_sweep.models.nomination import Nomination, nominate
from jit_sweep.plan.plan import plan
from jit_sweep.schedulers.decide import NEVER_STOP
from jit_sweep.spec.stored import stored_spec
from jit_sweep.spec.sweep import SweepSpec
from jit_sweep.tracking.registry import Registry
from tests.support.home import forget_artifact_places
from tests.support.ledger import ALICE
from tests.support.sweep_files import tiny_sweep
from trainables.networks.registry import build
from trainables.report import Ended, Scored
from trainables.storage.checkpoint import Store
from trainables.training.ema import Averages

FD = "fd_efflite0_96"
MODEL = "faces"
REAL = {FD: 100.0, "kid_efflite0_96": 0.0}
WHITE = {"white images": {FD: 900.0, "kid_efflite0_96": 1.9}}
Scores = Callable[[EntryRow], float | None]
"""A trial's Frechet distance; None: it diverges."""


@dataclass
class PromotionHome:
    """A home with an MLflow store."""

    home: Home
    engine: Engine

    @classmethod
    def at(cls, folder: Path, *, empty_mlflow: Path) -> "PromotionHome":
        home = home_at(folder)
        home.make()
        shutil.copy(empty_mlflow, home.path / "mlflow.db")
        return cls(home, open_engine(home.ledger))

    @property
    def reader(self) -> LedgerReader:
        return LedgerReader(self.engine)

    def close(self) -> None:
        """Fold sqlite's journals into their files, so that the folder can be copied."""
        self.engine.dispose()
        gc.collect()
        forget_artifact_places()

    def copy(self, folder: Path) -> "PromotionHome":
        """The same home in another folder; this one must be closed."""
        shutil.copytree(self.home.path, folder)
        return PromotionHome(home_at(folder), open_engine(home_at(folder).ledger))

    def sweep(self, name: str, scores: Scores, *, learning_rate: float = 2e-3, seeds: Any = 3, **changes: Any) -> None:
        """Train a sweep of two predictions. Sweeps of another learning rate share no trial."""
        stages = [{"grid": {"axes": {"prediction": ["x", "v"]}, "seeds": seeds}}]
        file = tiny_sweep(name=name, stages=stages, **changes)
        file["baseline"]["optimiser"]["learning_rate"] = learning_rate
        self.train(SweepSpec.model_validate(file), scores)

    def train(self, spec: SweepSpec, scores: Scores, *, collapsed: bool = False) -> None:
        """Bring every trial of a sweep to its score and its checkpoint."""
        planned = plan(spec, source="a test")
        lease = acquire(self.engine, spec.name, ALICE)
        writer = LedgerWriter(self.engine, lease, decider=NEVER_STOP)
        take_up(planned, writer, self.reader)
        for row in self.reader.entries(spec.name):
            attempt = writer.begin(spec.name, row.trial_id, row.images, lane="lane", host="node", pid=1)
            if attempt is not None:
                self._end(writer, row, attempt.number, scores(row), collapsed=collapsed)
        writer.finish(spec.name, SweepState.DONE)
        lease.release()

    def _end(self, writer: LedgerWriter, row: EntryRow, attempt: int, fd: float | None, *, collapsed: bool) -> None:
        costs: dict[str, Any] = {"train_s": 36.0, "evaluation_s": 0.0, "checkpoint_s": 0.0}
        if fd is None:
            lost = Ended(images=8, outcome="diverged", cause="not finite", first_bad_step=1, **costs)
            writer.report(row.trial_id, attempt, 1, lost)
            return
        averages = Averages(build(row.trial), row.trial.ema, batch_size=row.trial.batch_size).tensors
        Store(str(self.home.store)).write(row.trial_id, attempt=attempt, images=row.images, tensors=averages, state={})
        values = {FD: fd, "kid_efflite0_96": fd / 1000, "heldout_v_error": fd / 1000}
        score = Scored(
            images=row.images,
            evaluation=row.evaluation_id,
            n=row.evaluation.n,
            values=values,
            heldout=REAL,
            rows=WHITE,
            collapsed=collapsed,
            grid="memory://grid",
        )
        writer.report(row.trial_id, attempt, 1, score)
        writer.report(row.trial_id, attempt, 2, Ended(images=row.images, outcome="done", cause="", **costs))

    def nomination(self, sweep: str, *, trial: str | None = None) -> Nomination:
        """What promoting from a sweep would train now."""
        spec = stored_spec(self.reader.sweep(sweep).spec, sweep=sweep)
        standing = Registry(self.home.tracking).standing(MODEL)
        return nominate(self.reader, sweep, spec, model=MODEL, trial=trial, seeds=3, standing=standing)

    def retrain(self, sweep: str, values: Sequence[float | None], *, champion: Sequence[float] = (), **more: Any) -> None:
        """Train a candidate on its fresh seeds, and score the champion beside it, with these values by seed."""
        nomination = self.nomination(sweep)
        self.train(nomination.spec, lambda row: values[row.seed - 1000], **more)
        if champion:
            assert nomination.rival is not None
            self.train(nomination.rival.spec, lambda row: champion[row.seed - 1000])

    def promote(self, sweep: str, *, as_json: bool = False, **wish: Any) -> int:
        """The command; its exit code."""
        asked = Wish(MODEL, **wish)
        return command.promote(sweep, self.home, wish=asked, address=None, ledger=None, tracking=None, as_json=as_json)


def by_prediction(values: Mapping[str, float]) -> Scores:
    """Of each prediction its value, and a little more with each seed."""
    return lambda row: values[str(row.arm["prediction"])] * (1 + 0.01 * row.seed)
