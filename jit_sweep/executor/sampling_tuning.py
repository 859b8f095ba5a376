"""After a sweep's trials: the best setting of sampling of each, searched for on the cluster and kept in the ledger."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ray

from jit_sweep.budget.guard import BudgetGuard
from jit_sweep.errors import UserError
from jit_sweep.executor.cluster import concurrent_lanes
from jit_sweep.executor.ending import RunEnd
from jit_sweep.executor.interrupt import Interrupt
from jit_sweep.inference.evaluate import Evaluations
from jit_sweep.inference.trained import Places, Trained, of_trial
from jit_sweep.inference.tune import default_metric, tune
from jit_sweep.ledger.connect import DatabaseAway
from jit_sweep.ledger.evaluations import EvaluationLog
from jit_sweep.ledger.event_records import Tuned
from jit_sweep.ledger.lease import Lease
from jit_sweep.ledger.records import EntryRow, SweepState
from jit_sweep.plan.entry import Plan
from jit_sweep.redact import redact
from jit_sweep.results.tuned_sampling import untuned
from jit_sweep.spec.sweep import Resources
from trainables.config.evaluation import EvaluationConfig
from trainables.config.fields import counted

if TYPE_CHECKING:
    from trainables.evaluation.evaluator import Evaluation

LOOK_S = 0.25
RENEW_S = 5.0
"""How often the run says that it lives, and looks whether somebody has asked it to stop."""


class TuningStopped(Exception):
    """A search was asked to stop; what it has drawn is kept."""


def budget_ended(over: str) -> RunEnd:
    """How a run ends whose trials have ended, and whose budget holds no more of the searches."""
    return RunEnd(SweepState.INCOMPLETE, f"{over}; sampling is tuned no further")


@dataclass
class SamplingTuning:
    """The searches of one sweep, as many at once as trials would run.

    `tell` hears how far they are and what cannot be tuned. What was drawn before a stop is in the ledger, and not drawn again.
    """

    plan: Plan
    places: Places
    log: EvaluationLog
    lease: Lease
    guard: BudgetGuard
    interrupt: Interrupt
    tell: Callable[[str], None]
    _stopping: threading.Event = field(default_factory=threading.Event)
    _over: str = ""
    """Why the budget holds no more of it."""

    def to_end(self) -> RunEnd:
        """Tune what is still to be tuned, or as much as there is time for. UserError: the cluster does not hold a trial."""
        self.lease.renew()
        rows = untuned(self.plan.spec, self.log.reader)
        if not rows:
            return RunEnd(SweepState.DONE)
        self.tell(f"tuning how {counted(len(rows), 'trained network')} sample")
        with self.interrupt.listening(), ThreadPoolExecutor(concurrent_lanes(self.plan.spec.resources)) as pool:
            searches = {pool.submit(self._tuned, row): row for row in rows}
            try:
                for done, future in enumerate(self._ended(searches), start=1):
                    if isinstance(future.exception(), TuningStopped):
                        break
                    self.tell(f"tuned {done} of {len(rows)}: {_said(searches[future], future)}")
            except DatabaseAway as error:
                return RunEnd(SweepState.INCOMPLETE, f"the ledger was away while sampling was tuned: {redact(str(error))}")
            finally:
                self._stopping.set()
        if self.interrupt.asked.is_set():
            return RunEnd(SweepState.INTERRUPTED)
        if self._is_asked_to_stop():
            return RunEnd(SweepState.INCOMPLETE, "stopped while sampling was tuned; running the sweep again goes on with it")
        if self._over:
            return budget_ended(self._over)
        return RunEnd(SweepState.DONE)

    def _ended(self, futures: Iterable[Future[Tuned]]) -> Iterator[Future[Tuned]]:
        """Those that have ended, as they do, until all have or something asks to stop."""
        left, renewed = {*futures}, time.monotonic()
        while left and not self._stopping.is_set():
            ended, left = wait(left, timeout=LOOK_S, return_when=FIRST_COMPLETED)
            yield from ended
            if time.monotonic() - renewed > RENEW_S:
                self.lease.renew()
                renewed = time.monotonic()
                self._over = self.guard.is_over()
                if self._over or self._is_asked_to_stop():
                    return
            if self.interrupt.asked.is_set():
                return

    def _is_asked_to_stop(self) -> bool:
        return self.log.reader.stop_asked_by(self.plan.spec.name) is not None

    def _tuned(self, row: EntryRow) -> Tuned:
        """Search in this thread; an actor draws and scores."""
        tuning = self.plan.spec.evaluation.tune
        assert tuning is not None
        self._go_on()
        subject = of_trial([row], self.places, images=row.images)
        actor = _actor_of(subject, self.plan.spec.resources)
        try:
            evaluations = Evaluations(
                subject, log=self.log, elsewhere=lambda asked: self._asked(actor, asked), tunes_sweep=True
            )
            metric = default_metric(row.evaluation, self.plan.spec.objective)
            return tune(evaluations, row.evaluation, tuning, metric=metric, begun=self._begins).record
        finally:
            ray.kill(actor)

    def _asked(self, actor: Any, evaluation: EvaluationConfig) -> "Evaluation":
        """What the actor finds; a stop does not wait for it."""
        asked = actor.evaluate.remote(evaluation)
        while not ray.wait([asked], timeout=LOOK_S)[0]:
            self._go_on()
        found: Evaluation = ray.get(asked)
        return found

    def _go_on(self) -> None:
        if self._stopping.is_set():
            raise TuningStopped

    def _begins(self, _: EvaluationConfig) -> None:
        """Before each evaluation: what is spent by then is in the ledger."""
        self._over = self._over or self.guard.is_over()
        if self._over:
            self._stopping.set()
        self._go_on()


class _Scorer:
    """Draws and scores one trained network, wherever the cluster has room for a trial."""

    def __init__(self, subject: Trained) -> None:
        self._evaluations = Evaluations(subject)

    def evaluate(self, evaluation: EvaluationConfig) -> "Evaluation":
        return self._evaluations.drawn_here(evaluation)


def _actor_of(subject: Trained, resources: Resources) -> Any:
    """On one worker's share. Lost with its node, it starts elsewhere and draws again."""
    scorer: Any = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus, max_restarts=3, max_task_retries=3)(_Scorer)
    return scorer.remote(subject)


def _said(row: EntryRow, future: Future[Tuned]) -> str:
    try:
        found = future.result()
    except (UserError, DatabaseAway, ray.exceptions.RayError) as error:
        return f"{row.trial_id} was passed over: {str(error).strip().splitlines()[-1]}"
    shared, best = (f"{view.value:.5g}" if view.value is not None else "no numbers" for view in (found.shared, found.best))
    return f"{row.trial_id} {found.metric} {shared} at the shared setting, {best} at its best"
