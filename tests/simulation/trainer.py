"""The played trainer: what `trainables.train` yields, without a network. A trial's measurements follow from its id alone."""

import random
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from tests.simulation.world import Commit, World
from trainables.assignment import Assignment
from trainables.data import DataError
from trainables.evaluation.metrics.registry import verdict_metrics
from trainables.report import ASKED_TO_STOP, Committed, Decision, Ended, Phase, Progress, Report, Rung, Scored

SAVE_EVERY = 3
"""Updates from one interim checkpoint to the next."""


def level(trial: str) -> float:
    """How good a trial ends up; lower is better."""
    return random.Random(f"level {trial}").uniform(0.2, 1.0)


def measured(trial: str, images: int) -> float:
    """A trial's rung metric at an image count: it falls towards the trial's level, not in the order of the levels."""
    return level(trial) + random.Random(f"rung {trial} {images}").uniform(0.0, 8.0) / images


def diverges_at(trial: str, *, share: float) -> float:
    """The images at which a trial diverges; infinity for most."""
    drawn = random.Random(f"fate {trial}")
    return drawn.choice((8, 16, 32)) if drawn.random() < share else float("inf")


@dataclass
class Trainer:
    """One attempt at an assignment, in a world."""

    world: World
    assignment: Assignment
    update_s: float
    diverging: float
    stop: bool = False
    images: int = 0

    async def reports(self, sleep: Any) -> AsyncGenerator[Report, Decision | None]:
        """As the real trainer's. StorageAway; DataError where what was trained before is gone."""
        given, trial = self.assignment, self.assignment.trial.id
        commit = self.world.latest(trial, most=given.images)
        self.images = resumed = commit.images if commit is not None else 0
        if resumed < given.resume_from:
            raise DataError(f"a longer budget must go on from the checkpoint at {given.resume_from} images, got {resumed}")
        if resumed < given.images:
            yield Phase(
                images=resumed,
                start="checkpoint" if commit is not None else "seed",
                device="played",
                workers=1,
                micro_batch=given.micro_batch or 8,
                activation_checkpointing=False,
            )
        due = commit is not None and commit.rung_due and resumed in given.rungs
        bad, updates = diverges_at(trial, share=self.diverging), 0
        while due or self.images < given.images:
            if not due:
                await sleep(self.update_s)
                self.images += given.trial.batch_size
                self.world.trained[trial] += given.trial.batch_size
                updates += 1
                if self.images >= bad:
                    yield self.ended("diverged", cause="the loss is NaN", first_bad_step=updates)
                    return
            if due or self.images in given.rungs:
                due = False
                yield self.progress(updates)
                decision = (
                    yield Rung(images=self.images, values={given.rung_metric: measured(trial, self.images)})
                ) or Decision()
                if decision.verdict != "go_on" and self.images < given.images:
                    yield self.committed()
                    yield self.ended("paused" if decision.verdict == "pause" else "stopped", cause=decision.reason)
                    return
            if self.images < given.images and (self.stop or updates % SAVE_EVERY == 0):
                yield self.committed()
                if self.stop:
                    yield self.ended("paused", cause=ASKED_TO_STOP)
                    return
        if self.images > resumed:
            yield self.committed()
        for evaluation in given.evaluations:
            await sleep(self.update_s)
            values = dict.fromkeys(verdict_metrics(), level(trial) * 100)
            yield Scored(images=self.images, evaluation=evaluation.id, n=evaluation.n, values=values, grid="memory://grid")
        yield self.ended("done")

    def progress(self, updates: int) -> Progress:
        speed = self.assignment.trial.batch_size / self.update_s
        return Progress(images=self.images, step=updates, loss=1.0, images_per_second=speed)

    def committed(self) -> Committed:
        trial = self.assignment.trial.id
        self.world.commit(trial, Commit(self.images))
        return Committed(images=self.images, uri=f"played://{trial}/{self.images}")

    def ended(self, outcome: Any, **told: Any) -> Ended:
        return Ended(images=self.images, outcome=outcome, train_s=1.0, evaluation_s=0.5, checkpoint_s=0.25, **told)
