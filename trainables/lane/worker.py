"""What each Ray Train worker of a lane runs: trial after trial from the sweep's actor, until told to go.

The actor is found by name. Its methods, all called from here: `take`, `report`, `failed`, `stalled`, `beat`; each may be
called again without harm. A worker takes its work by acknowledgement: the same work is handed out until its end was
reported, so that nothing is lost with a message.
"""

import logging
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any, NoReturn

import ray
import torch
from ray.train import get_context

from trainables.data import DataError
from trainables.lane.loop import LaneSettings
from trainables.lane.messages import (
    Answer,
    AttemptKey,
    FencedOff,
    GoHome,
    Letter,
    NoWorkYet,
    TrialCause,
    WorkerAddress,
    WorkItem,
)
from trainables.lane.namespace import NAMESPACE
from trainables.lane.outbox import Away, Outbox
from trainables.networks.memory import Infeasible
from trainables.report import Decision, Ended, Report, Rung
from trainables.storage.checkpoint import CheckpointError
from trainables.train import train
from trainables.training.workers import Workers, global_settings

_log = logging.getLogger(__name__)
BEAT_S = 1.0
BEAT_WAIT_S = 5.0
LONGEST_SILENCE_S = 50.0
"""Without an answer for this long the sweep counts as gone; shorter than its lease, so that no other run has begun."""
MISTAKES: tuple[TrialCause, ...] = ("data_error", "infeasible")
"""Causes that are reported without a traceback: their message suffices."""
ACTOR_GONE = 75
"""Exit code of a worker whose sweep has ended without telling it."""
STALLED = 76
"""Exit code of a worker that has made no step for too long."""


class Fenced(Exception):
    """The attempt was replaced: nothing that it reports is recorded any more."""


def work(settings: LaneSettings) -> None:
    """Trial after trial in this process, a Ray Train worker."""
    torch.set_num_threads(settings.threads)
    context = get_context()
    worker = _LaneWorker(
        ray.get_actor(settings.actor, namespace=NAMESPACE),
        settings,
        workers=Workers(rank=context.get_world_rank(), size=context.get_world_size()),
    )
    worker.run()


class Pulse:
    """When training last made a step: set by the training loop, read by another thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at: float | None = None

    def beat(self) -> None:
        self._at = self._clock()

    def rest(self) -> None:
        """Nothing is being trained."""
        self._at = None

    @property
    def age_s(self) -> float:
        """Seconds since the last step; 0 while nothing is being trained."""
        at = self._at
        return 0.0 if at is None else self._clock() - at


class _LaneWorker:
    def __init__(self, actor: Any, settings: LaneSettings, *, workers: Workers) -> None:
        self.actor, self.workers = actor, workers
        self.lane, self.stall_s = settings.lane, settings.stall_s
        self.stop = False
        self.over = threading.Event()
        self.pulse = Pulse()
        self.key: AttemptKey | None = None
        """The attempt in hand, or the last one."""
        self.address = WorkerAddress(rank=workers.rank, host=socket.gethostname(), pid=os.getpid(), node=_node())
        self.outbox = Outbox(self._deliver)

    def run(self) -> None:
        threading.Thread(target=self._watch, daemon=True).start()
        try:
            while not isinstance(work := self._take(), GoHome):
                if isinstance(work, WorkItem):
                    self._train(work)
        finally:
            self.over.set()
            self.outbox.drop()

    def _take(self) -> WorkItem | NoWorkYet | GoHome:
        work: WorkItem | NoWorkYet | GoHome = self._ask("take", address=self.address, after=self.key)
        return work

    def _train(self, work: WorkItem) -> None:
        """One trial. Whatever it raises is the trial's outcome, not the lane's end."""
        before = global_settings()
        self.key = work.key
        self.pulse.beat()
        try:
            self._consume(work)
        except Fenced as error:
            _log.warning("%s", error)
            self.outbox.drop()
            if self.workers.size > 1:
                raise
        except Exception as error:
            cause = cause_of(error)
            # A mistake has a message of its own; anything else needs to be looked into.
            detail = str(error) if cause in MISTAKES else "".join(traceback.format_exception(error))
            self.pulse.rest()
            self._fail(work.key, cause, detail=detail)
            if cause == "out_of_memory" or self.workers.size > 1:
                raise  # memory may be in fragments; and the others wait for this one's gradients
        finally:
            self.pulse.rest()
        if global_settings() != before:
            raise RuntimeError(f"a trial must leave torch's settings as they were, got {global_settings()} from {before}")

    def _fail(self, key: AttemptKey, cause: TrialCause, *, detail: str) -> None:
        """Report how the trial ended, after all that it reported before."""
        try:
            if self.workers.lead:
                self.outbox.deliver_all()
            self._ask("failed", key=key, cause=cause, detail=detail)
        except Fenced as error:
            _log.warning("%s", error)
            self.outbox.drop()

    def _consume(self, work: WorkItem) -> None:
        def interrupted() -> bool:
            self.pulse.beat()
            return self.stop

        sequences = count(1)

        def post(report: Report) -> Decision | None:
            self.pulse.beat()
            letter = Letter(key=work.key, sequence=next(sequences), report=report)
            if isinstance(report, Rung):  # the sweep's actor may be away for longer than a collective waits
                return self.workers.awaited(lambda: self._post(letter))
            return self._post(letter) if self.workers.lead else None

        reports = train(
            work.assignment,
            attempt=work.key.attempt,
            interrupted=interrupted,
            tell=post,
            workers=self.workers,
        )
        decision: Decision | None = None
        with suppress(StopIteration):
            while True:
                decision = post(reports.send(decision))

    def _post(self, letter: Letter) -> Decision | None:
        """Deliver a letter, or keep it for later; the decision where one is waited for."""
        self.pulse.rest()  # waiting for the writer is no stall
        if isinstance(letter.report, Rung | Ended):
            decision = self.outbox.ask(letter)
        else:
            decision = None
            self.outbox.post(letter)
        self.pulse.beat()
        return decision

    def _deliver(self, letter: Letter, patience_s: float) -> Decision:
        """Away: the actor did not answer in time. Fenced: the attempt was replaced."""
        try:
            answer: Answer = ray.get(self.actor.report.remote(self.lane, letter=letter), timeout=patience_s)
        except ray.exceptions.ActorDiedError:
            _gone()
        except (ray.exceptions.GetTimeoutError, ray.exceptions.RayActorError) as error:
            raise Away(str(error).strip().splitlines()[0]) from None
        if isinstance(answer, FencedOff):
            raise Fenced(answer.reason)
        return answer

    def _watch(self) -> None:
        """Once a second: hear whether to stop, show that this process lives, and see that training does too."""
        heard = time.monotonic()
        while not self.over.wait(BEAT_S):
            # The lead alone: the others wait for it whenever it waits for an answer.
            if self.workers.lead and self.pulse.age_s > self.stall_s:
                self._stall()
            try:
                beat = self.actor.beat.remote(self.lane, address=self.address)
                self.stop = ray.get(beat, timeout=BEAT_WAIT_S)
                heard = time.monotonic()
            except ray.exceptions.ActorDiedError:
                _gone()
            except (ray.exceptions.GetTimeoutError, ray.exceptions.RayActorError) as error:
                _log.warning("the sweep's actor does not answer: %s", error)
                if time.monotonic() - heard > LONGEST_SILENCE_S:
                    _gone()

    def _stall(self) -> None:
        """End this process, whose main thread hangs, with the stacks of all threads kept."""
        detail = f"no step for {self.pulse.age_s:.0f} s, more than `stall_s`, {self.stall_s:g}\n{stacks()}"
        try:
            ray.get(self.actor.stalled.remote(self.lane, key=self.key, detail=detail), timeout=BEAT_WAIT_S)
        except ray.exceptions.RayError as error:
            _log.error("a stall was not heard: %s\n%s", error, detail)
        os._exit(STALLED)

    def _ask(self, method: str, **arguments: Any) -> Any:
        """Call the sweep's actor; a sweep that is gone ends this process, since nobody else would."""
        while True:
            try:
                return ray.get(getattr(self.actor, method).remote(self.lane, **arguments))
            except ray.exceptions.ActorDiedError:
                _gone()
            except ray.exceptions.RayActorError as error:  # it is being restarted
                _log.warning("asking again for %s: %s", method, error)
                time.sleep(BEAT_S)


def stacks() -> str:
    """What every thread of this process is doing."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = [
        f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()
    ]
    return "\n".join(parts)


def cause_of(error: Exception) -> TrialCause:
    """The name of a failure in the ledger's closed list of causes."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return "out_of_memory"
    if isinstance(error, CheckpointError | OSError):
        return "storage_error"
    if isinstance(error, Infeasible):
        return "infeasible"
    if isinstance(error, DataError):
        return "data_error"
    return "bug"


def _node() -> str:
    return str(ray.get_runtime_context().get_node_id())


def _gone() -> NoReturn:
    _log.error("the sweep's actor is gone; this worker ends")
    os._exit(ACTOR_GONE)
