"""A lane: one long-lived Ray Train worker group that takes trial after trial, and the owner that keeps it.

Tune's trial is a class whose actor is reused, and with it the group: from one trial to the next it takes a fraction of a
second instead of the ten that a group of its own would. An evaluator's actor is the owner of such a group too.
"""

import logging
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from typing import Any

import ray
from ray import tune

from jit_sweep.executor.lane_config import LaneConfig, LaneTask
from jit_sweep.executor.ray_internals import names_a_dead_node, names_lack_of_memory
from jit_sweep.ledger.records import Cause
from trainables.lane.messages import AttemptKey, NotOver, Offer, TaskOutcome
from trainables.lane.namespace import NAMESPACE

_log = logging.getLogger(__name__)
LOOK_S = 0.5
"""How often an owner looks whether its group still lives."""
CLEANUP_S = 7.0
"""Tune kills an owner 10 s after it asked it to clean up."""


class Lane:
    """The side of a lane's owner: it starts the worker group, and knows the work in its hands to be over when that is."""

    def __init__(self, config: LaneConfig) -> None:
        self.config = config
        # With the actor's name, which no other run shares: pids come again where containers do.
        self.name = f"{config.actor}-{socket.gethostname()}-{os.getpid()}"
        self.actor = ray.get_actor(config.actor, namespace=NAMESPACE)
        self.known: AttemptKey | None = None
        """The last attempt that an offer has opened."""
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def work(self) -> None:
        """Run the lane's workers until they are sent home."""
        from jit_sweep.executor.lane_group import trainer_of  # starts Ray Train

        trainer_of(self.config, lane=self.name).fit()

    def _run(self) -> None:
        try:
            self.work()
        except BaseException as error:  # noqa: BLE001 - handed to the owner's own thread
            self.failure = error

    def check_lives(self) -> None:
        """RuntimeError: the group has ended."""
        if not self.thread.is_alive():
            raise RuntimeError(f"the lane has ended: {self.failure!r}")

    def bring(self, trial: str, images: int) -> TaskOutcome:
        """Have a trial brought to an image count; returns what became of it. RuntimeError: the lane died, or ends with it."""
        offer = Offer(trial, images, after=self.known)
        opened: AttemptKey | TaskOutcome = self._awaited("offer", offer=offer)
        self.known = opened if isinstance(opened, AttemptKey) else self.known
        outcome: TaskOutcome = opened if isinstance(opened, TaskOutcome) else self._awaited("outcome", key=opened)
        if outcome.lane_over:
            self._end(outcome)
            raise RuntimeError(f"the lane ends with its trial: {outcome.cause}")
        return outcome

    def dismiss(self) -> None:
        """Send the workers home."""
        self._ask("dismiss")
        self.thread.join(CLEANUP_S)

    def _awaited(self, method: str, **arguments: Any) -> Any:
        """What the sweep's actor answers in the end, for as long as the group lives. RuntimeError: it has died."""
        answer = getattr(self.actor, method).remote(self.name, **arguments)
        while True:
            ready, _ = ray.wait([answer], timeout=LOOK_S)
            if ready:
                said = _answer(answer)
                if not isinstance(said, NotOver):
                    return said
                answer = getattr(self.actor, method).remote(self.name, **arguments)
            elif not self.thread.is_alive():
                self._ask("lost", detail=f"the lane died: {self.failure!r}", cause=cause_of_loss(self.failure))
                raise RuntimeError(f"the lane died: {self.failure!r}")

    def _end(self, outcome: TaskOutcome) -> None:
        """Wait for the group to end, and end those of its workers that cannot: the hung ones, where they are on this host."""
        self.thread.join(1.0)
        for worker in outcome.workers:
            if worker.host == socket.gethostname() and self.thread.is_alive():
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(worker.pid, signal.SIGKILL)
        self.thread.join(CLEANUP_S)

    def _ask(self, method: str, **arguments: Any) -> Any:
        """Call the sweep's actor, which may be restarted meanwhile."""
        while True:
            with suppress(ray.exceptions.ActorUnavailableError):
                return ray.get(getattr(self.actor, method).remote(self.name, **arguments))
            time.sleep(LOOK_S)


class LaneTrial(tune.Trainable):
    """A Tune trial; its actor owns the lane."""

    lane_class: type[Lane] = Lane

    def setup(self, config: dict[str, Any]) -> None:
        self.task = LaneTask.from_tune(config)
        self.lane = self.lane_class(self.task.lane)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.lane.check_lives()
        self.task = LaneTask.from_tune(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """The whole trial: waits until its end was reported, or until the lane died."""
        # Not offered before Tune says so: it may hand the trial to another lane while this one comes up.
        outcome = self.lane.bring(self.task.trial, self.task.images)
        return {"outcome": outcome.outcome, "images": outcome.images, "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Tune saves at a trial's end and errors without this; a trial's own checkpoints are in the store."""
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """See save_checkpoint."""

    def cleanup(self) -> None:
        self.lane.dismiss()


def cause_of_loss(failure: BaseException | None) -> Cause:
    """Why a lane's workers died, from what Ray Train raised: their node was taken or lost, or they alone."""
    failures = [failure, *getattr(failure, "worker_failures", {}).values()]
    died = [error for error in failures if isinstance(error, ray.exceptions.ActorDiedError | ray.exceptions.NodeDiedError)]
    if any(getattr(error, "preempted", False) for error in died):
        return Cause.PREEMPTED
    if any(names_lack_of_memory(error) for error in died):
        return Cause.OUT_OF_MEMORY
    if any(isinstance(error, ray.exceptions.NodeDiedError) or names_a_dead_node(error) for error in died):
        return Cause.NODE_LOST
    return Cause.WORKER_LOST


def _answer(asked: Any) -> AttemptKey | TaskOutcome | NotOver:
    """The actor's answer; `NotOver` where it was restarted before it gave one."""
    try:
        said: AttemptKey | TaskOutcome | NotOver = ray.get(asked)
    except ray.exceptions.ActorUnavailableError:
        return NotOver()
    return said
