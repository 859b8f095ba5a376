"""The one training loop. It knows no Ray: it yields reports, and its consumer answers a rung with a decision."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch

from trainables.assignment import Assignment
from trainables.config.evaluation import EvaluationConfig
from trainables.evaluation.finite import NotFinite
from trainables.evaluation.generate import Interrupted
from trainables.methods.guiding import TRIAL
from trainables.networks.cost import training_flops
from trainables.report import (
    ASKED_TO_STOP,
    Activity,
    Committed,
    Decision,
    Ended,
    Phase,
    Progress,
    Report,
    Rung,
    Scored,
    SetBack,
    TrialOutcome,
)
from trainables.storage.checkpoint import Commit, Store
from trainables.training.beginning import Beginning, begin, planned_images
from trainables.training.fitting import fitted
from trainables.training.hardware import peak_flops
from trainables.training.health import Divergence
from trainables.training.latents import latents_of
from trainables.training.learner import Learner, share_of
from trainables.training.pictures import RungPictures
from trainables.training.scoring import Scoring
from trainables.training.telling import Telling
from trainables.training.usage import Usage, cpus, cuda_version, host
from trainables.training.workers import Ask, Workers

REPORT_INTERVAL_S = 1.0
KEPT = 2
"""Checkpoints of a trial on its way: were the last one damaged, it goes on from the one before."""

Reports = Generator[Report, Decision | None, None]
"""A trial's reports. A rung is answered by `send`; None, which plain iteration sends, means to go on."""


@dataclass
class Stopwatch:
    """Seconds by kind of work."""

    clock: Callable[[], float] = time.perf_counter
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("train", "evaluation", "checkpoint"), 0.0))

    @contextmanager
    def count(self, kind: str) -> Iterator[None]:
        start = self.clock()
        try:
            yield
        finally:
            self.seconds[kind] += self.clock() - start


def train(
    assignment: Assignment,
    *,
    attempt: int = 1,
    interrupted: Callable[[], bool] = lambda: False,
    tell: Callable[[Activity], object] = lambda _: None,
    workers: Workers = Workers(),  # noqa: B008 - frozen
) -> Reports:
    """Bring a trial to its image count and score it there, from its last committed checkpoint where there is one.

    Yields the trial's reports; the last is `Ended`. A `Rung` is answered by what is sent next; `interrupted` is read before
    every update. Either can end the trial early, with a checkpoint. `tell` hears, from within what takes long, how far that is.
    Every worker of a group consumes its own generator; all yield the same reports but for the pictures, which are the lead's,
    and only what is sent to the lead counts.

    DataError: the data is not the trial's. OSError: storage failed.
    """
    return _Run(assignment, attempt=attempt, interrupted=interrupted, tell=tell, workers=workers).reports()


class _Run:
    """One attempt at an assignment."""

    def __init__(
        self,
        assignment: Assignment,
        *,
        attempt: int,
        interrupted: Callable[[], bool],
        tell: Callable[[Activity], object],
        workers: Workers,
    ) -> None:
        self.assignment, self.trial = assignment, assignment.trial
        self.attempt, self.interrupted, self.workers = attempt, interrupted, workers
        self.images = planned_images(assignment)
        self.store = Store(assignment.storage)
        share = share_of(self.trial, workers)
        fit = fitted(self.trial, self.images, share=share, workers=workers.size, limits=assignment)
        encoding = Telling(tell, images=lambda: 0)
        encoded = partial(encoding, "encoding the training images")
        latents = latents_of(self.trial, self.images, assignment.storage, encoded=encoded)
        self.learner = Learner(self.trial, self.images, workers=workers, fit=fit, latents=latents)
        self.telling = Telling(tell, images=lambda: self.learner.images)
        self.scoring = Scoring(
            assignment,
            self.learner,
            self.images,
            workers=workers,
            interrupted=interrupted,
            telling=self.telling,
        )
        self.pictures = RungPictures(assignment, self.learner, self.images)
        self.watch = Stopwatch()
        self.reported_at = self.saved_at = time.perf_counter()
        self.waited_s = 0.0
        """What the learner had waited for images at the last report."""
        self.interim: list[Commit] = []
        """The last checkpoints that are not of a trial's end, in order: `KEPT` of them stay until it comes."""
        self.pending = Ask.NOTHING
        """What the lead has asked for and the workers have not heard yet."""
        self.usage = Usage(self.learner.device)
        self.device_name = torch.cuda.get_device_name() if self.trial.device == "cuda" else "cpu"

    def reports(self) -> Reports:
        """Begin or resume, train to the end, score; the last report is `Ended`."""
        try:
            beginning = self.begin()
            begun_at = self.learner.images
            for damage in beginning.damages:
                yield SetBack(images=begun_at, had=damage.images, why=damage.why)
            if begun_at < self.assignment.images:
                yield self.phase(beginning)
            early = yield from self.train_on(beginning)
            if early is not None:
                yield early
                return
            if self.learner.images > begun_at:
                yield self.commit(final=True)
            if not self.assignment.scores:
                yield self.ended("trained")
                return
            for evaluation in self.assignment.evaluations:
                yield self.score(evaluation)
            yield self.ended("done")
        except NotFinite as error:
            yield self.ended("diverged", cause=str(error), first_bad_step=self.learner.step)
        except Interrupted:
            yield self.ended("paused", cause=ASKED_TO_STOP)

    def begin(self) -> Beginning:
        with self.watch.count("checkpoint"):
            beginning = begin(self.assignment, self.learner, self.store, workers=self.workers)
        self.interim = [*beginning.interim]
        return beginning

    def phase(self, beginning: Beginning) -> Phase:
        """The stretch of training that begins now."""
        parent, fit = self.trial.parent, self.learner.fit
        return Phase(
            images=self.learner.images,
            start=beginning.weights,
            parent=f"{parent.trial}@{parent.images}" if parent is not None else None,
            device=self.device_name,
            host=host(),
            cpus=cpus(),
            cuda=cuda_version(self.learner.device),
            workers=self.workers.size,
            micro_batch=fit.micro_batch,
            activation_checkpointing=fit.activation_checkpointing,
        )

    def train_on(self, beginning: Beginning) -> Generator[Report, Decision | None, Ended | None]:
        """Train to the assignment's image count; returns the `Ended` of a trial that ends before it."""
        self.reported_at = self.saved_at = time.perf_counter()
        since = self.learner.images
        if beginning.rung_due and since in self.assignment.rungs and (early := (yield from self.stand_at_rung())) is not None:
            return early
        if self.learner.images < self.assignment.images and self.learner.compiles:
            self.telling("compiling")
        while self.learner.images < self.assignment.images:
            asked = self.update()
            at_rung = self.learner.images in self.assignment.rungs
            at_end = self.learner.images >= self.assignment.images
            report_due = bool(asked) or at_rung or at_end
            if (report_due or self.learner.at_look) and (divergence := self.divergence()) is not None:
                return self.diverged(divergence)
            if report_due:
                yield self.progress(since)
                since = self.learner.images
            if at_rung and (early := (yield from self.stand_at_rung())) is not None:
                return early
            if at_end:
                break
            if asked & (Ask.SAVE | Ask.STOP):
                yield self.commit(final=False)
            if asked & Ask.STOP:
                return self.ended("paused", cause=ASKED_TO_STOP)
        return None

    def update(self) -> Ask:
        """One update; what every worker is to do after it."""
        with self.watch.count("train"):
            asked = self.learner.update(ask=self.asks())
        self.pending &= ~asked
        return asked

    def asks(self) -> Ask:
        """What the lead wants done after the coming update, or some updates later; not again what is on its way."""
        now, wish = time.perf_counter(), Ask.NOTHING
        if self.interrupted():
            wish |= Ask.STOP
        if now - self.reported_at >= REPORT_INTERVAL_S:
            wish |= Ask.LOOK
        if now - self.saved_at >= self.assignment.checkpoint_interval_s:
            wish |= Ask.SAVE
        fresh = wish & ~self.pending
        self.pending |= fresh
        return fresh

    def stand_at_rung(self) -> Generator[Report, Decision | None, Ended | None]:
        """Measure, ask the consumer, and save where the answer is not to go on; returns the trial's `Ended` then."""
        try:
            rung = self.rung()
        except Interrupted:
            yield self.commit(final=self.learner.images >= self.assignment.images, rung_due=True)
            return self.ended("paused", cause=ASKED_TO_STOP)
        answer = yield rung
        decision = self.workers.agree(answer or Decision())
        if decision.verdict == "go_on" or self.learner.images >= self.assignment.images:
            return None
        yield self.commit(final=False)
        return self.ended("paused" if decision.verdict == "pause" else "stopped", cause=decision.reason)

    def progress(self, since: int) -> Progress:
        with self.watch.count("train"):  # it waits for what was trained
            loss = self.learner.health.mean_loss()
        now, images = time.perf_counter(), self.learner.images - since
        seconds, self.reported_at = now - self.reported_at, now
        waited, self.waited_s = self.learner.data_s - self.waited_s, self.learner.data_s
        images_per_second = images / max(seconds, 1e-9)
        return Progress(
            images=self.learner.images,
            step=self.learner.step,
            loss=loss,
            images_per_second=images_per_second,
            flops=training_flops(self.trial, images=self.learner.images),
            mfu=self.mfu(images_per_second),
            grad_norm=self.learner.health.grad_norm(),
            data_wait=min(1.0, waited / max(seconds, 1e-9)),
            system=self.usage.read(),
        )

    def mfu(self, images_per_second: float) -> float | None:
        """Model FLOPs utilisation: what was computed over what the workers' devices could at best in bf16."""
        peak = peak_flops(self.device_name)
        if peak is None or self.trial.precision != "bf16":
            return None
        return training_flops(self.trial, images=1) * images_per_second / (peak * self.workers.size)

    def divergence(self) -> Divergence | None:
        with self.watch.count("train"):  # it waits for what was trained
            return self.learner.health.divergence(self.workers)

    def rung(self) -> Rung:
        with self.watch.count("evaluation"):
            rung = self.scoring.rung()
            if self.workers.lead:
                pictures = self.pictures.draw(self.store.folder(self.trial.id, self.attempt))
                rung = rung.model_copy(update={"pictures": pictures})
        self.reported_at = time.perf_counter()  # speed is training's
        return rung

    def commit(self, *, final: bool, rung_due: bool = False) -> Committed:
        """Write a checkpoint. Of those on the way `KEPT` stay; all are removed once one of an end is committed.

        `rung_due`: the rung at this image count is still to be measured.
        """
        uri = ""
        if self.workers.lead:
            with self.watch.count("checkpoint"):
                commit = self.store.write(
                    self.trial.id,
                    attempt=self.attempt,
                    images=self.learner.images,
                    tensors=self.learner.parts(),
                    state={
                        **self.learner.state(),
                        "final": final,
                        "rung_due": rung_due,
                        TRIAL: self.trial.model_dump(mode="json"),
                    },
                )
                others = [interim for interim in self.interim if interim.images != commit.images]
                self.interim = [] if final else [*others[-(KEPT - 1) :], commit]
                for interim in others:
                    if interim not in self.interim:
                        self.store.remove(interim)
            uri = self.store.address(commit)
        self.saved_at = self.reported_at = time.perf_counter()
        return Committed(images=self.learner.images, uri=uri)

    def score(self, evaluation: EvaluationConfig) -> Scored:
        grid = f"{self.store.folder(self.trial.id, self.attempt)}/samples-{self.learner.images}-{evaluation.id}.png"
        with self.watch.count("evaluation"):
            return self.scoring.score(evaluation, grid=grid)

    def diverged(self, divergence: Divergence) -> Ended:
        """A trial that diverged ended at its first bad update, whenever that was seen."""
        images = divergence.step * self.trial.batch_size
        end = self.ended("diverged", cause=str(divergence), first_bad_step=divergence.step)
        return end.model_copy(update={"images": images, "bad_t": divergence.bad_t, "grad_norm": divergence.grad_norm})

    def ended(self, outcome: TrialOutcome, *, cause: str = "", first_bad_step: int | None = None) -> Ended:
        return Ended(
            images=self.learner.images,
            outcome=outcome,
            cause=cause,
            first_bad_step=first_bad_step,
            grad_norm=self.learner.health.grad_norm(),
            train_s=self.watch.seconds["train"],
            evaluation_s=self.watch.seconds["evaluation"],
            checkpoint_s=self.watch.seconds["checkpoint"],
            data_s=self.learner.data_s,
        )
