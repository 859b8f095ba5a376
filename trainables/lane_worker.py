"""What each Ray Train worker of a lane runs: trial after trial from the sweep's actor, until told to go.

The actor is found by name. Its methods, all called from here: `take`, `report`, `failed`, `beat`. A worker takes its
work by acknowledgement: the same work is handed out until its end was reported, so that nothing is lost with a message.
"""

import logging
import os
import threading
import traceback
from typing import Any

import ray
import torch
from ray.train import get_context

from trainables.assignment import Assignment
from trainables.checkpoint import CheckpointError
from trainables.memory import Infeasible
from trainables.report import Decision, Report, Rung
from trainables.train import train
from trainables.workers import Workers, global_settings

_log = logging.getLogger(__name__)
NAMESPACE = "jit-sweep"
BEAT_S = 1.0
MISTAKES = ("data_error", "infeasible")
ACTOR_GONE = 75
"""Exit code of a worker whose sweep has ended without telling it."""


def lane_loop(config: dict[str, Any]) -> None:
    """The Train loop of a lane. `config`: `actor` (its name), `lane` (this lane's name), `threads` (torch's)."""
    torch.set_num_threads(config["threads"])
    context = get_context()
    worker = _LaneWorker(
        ray.get_actor(config["actor"], namespace=NAMESPACE),
        lane=config["lane"],
        workers=Workers(rank=context.get_world_rank(), size=context.get_world_size()),
    )
    worker.run()


class _LaneWorker:
    def __init__(self, actor: Any, *, lane: str, workers: Workers) -> None:
        self.actor, self.lane, self.workers = actor, lane, workers
        self.stop = False
        self.over = threading.Event()

    def run(self) -> None:
        threading.Thread(target=self._beat, daemon=True).start()
        number = 0
        try:
            while (work := self._ask("take", rank=self.workers.rank, after=number)) is not None:
                if work:
                    number = work["number"]
                    self._train(Assignment.model_validate_json(work["assignment"]), attempt=work["attempt"])
        finally:
            self.over.set()

    def _train(self, assignment: Assignment, *, attempt: int) -> None:
        """One trial. Whatever it raises is the trial's outcome, not the lane's end."""
        before = global_settings()
        sequence = 0

        def decide(_: Rung) -> Decision:
            return self.decision

        try:
            reports = train(assignment, attempt=attempt, decide=decide, interrupted=lambda: self.stop, workers=self.workers)
            for report in reports:
                sequence += 1
                if self.workers.lead:
                    self.decision = self._report(report, assignment.trial.id, attempt=attempt, sequence=sequence)
        except Exception as error:
            cause = cause_of(error)
            # A mistake has a message of its own; anything else needs to be looked into.
            detail = str(error) if cause in MISTAKES else "".join(traceback.format_exception(error))
            self._ask("failed", trial=assignment.trial.id, attempt=attempt, cause=cause, detail=detail)
            if self.workers.size > 1:
                raise  # the others wait for this one's gradients, and would take the next trial's for them
        if global_settings() != before:
            raise RuntimeError(f"a trial must leave torch's settings as they were, got {global_settings()} from {before}")

    def _report(self, report: Report, trial: str, *, attempt: int, sequence: int) -> Decision:
        answer = self._ask("report", trial=trial, attempt=attempt, sequence=sequence, report=report.model_dump_json())
        return Decision.model_validate_json(answer)

    def _beat(self) -> None:
        """Once a second: hear whether to stop, and notice a sweep that is gone."""
        while not self.over.wait(BEAT_S):
            self.stop = self._ask("beat", rank=self.workers.rank)

    def _ask(self, method: str, **arguments: Any) -> Any:
        """Call the sweep's actor; a sweep that is gone ends this process, since nobody else would."""
        try:
            return ray.get(getattr(self.actor, method).remote(self.lane, **arguments))
        except ray.exceptions.RayActorError:
            _log.error("the sweep's actor is gone; this worker ends")
            os._exit(ACTOR_GONE)


def cause_of(error: Exception) -> str:
    """The name of a failure in the ledger's closed list of causes."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return "out_of_memory"
    if isinstance(error, CheckpointError | OSError):
        return "storage_error"
    if isinstance(error, Infeasible):
        return "infeasible"
    if isinstance(error, ValueError):
        return "data_error"
    return "bug"
