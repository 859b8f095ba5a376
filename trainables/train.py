"""The one training loop. It knows no Ray: it yields reports, and its consumer answers a rung with a decision."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from trainables.assignment import Assignment
from trainables.config.evaluation import EvaluationConfig
from trainables.config.evaluation_rules import check_heldout
from trainables.config.recipe import Parent
from trainables.data import DataError, ImageSet, open_images
from trainables.data.holdout import Holdout
from trainables.evaluation.finite import NotFinite
from trainables.evaluation.generate import Interrupted
from trainables.evaluation.score import check_files
from trainables.networks.cost import training_flops
from trainables.process_caches import ProcessCache
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
    WeightsFrom,
)
from trainables.storage.checkpoint import CheckpointError, Commit, Damage, Store
from trainables.storage.whole import Whole, newest_whole
from trainables.training.ema import MODEL
from trainables.training.fitting import fitted
from trainables.training.hardware import peak_flops
from trainables.training.health import Divergence
from trainables.training.learner import Learner, share_of
from trainables.training.pictures import RungPictures
from trainables.training.scoring import Scoring
from trainables.training.telling import Telling
from trainables.training.truths import check_truths
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


_image_sets: ProcessCache[tuple[str, Holdout | None], ImageSet] = ProcessCache("image sets", most=1)
"""By address and what is held out."""


def _planned_images(assignment: Assignment) -> ImageSet:
    """The image set that the trial was planned on; a kept one of other content is read anew. DataError: it still differs."""
    key, planned = (assignment.data, assignment.holdout), assignment.trial.data.digest
    read = partial(open_images, assignment.data, holdout=assignment.holdout)
    if _image_sets.get(key, make=read).fingerprint != planned:
        _image_sets.clear()
    images = _image_sets.get(key, make=read)
    if images.fingerprint != planned:
        rule = "the data must be what the trial was planned on"
        raise DataError(f"{rule}, got digest {images.fingerprint}, planned {planned}; plan again")
    return images


def _check_files(assignment: Assignment, images: ImageSet) -> None:
    """DataError: a file that the trial or an evaluation names is not what it says."""
    try:
        check_truths(assignment.trial)
        for evaluation in assignment.evaluations:
            check_files(evaluation, images)
    except ValueError as error:
        raise DataError(str(error)) from None


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
        self.images = _planned_images(assignment)
        for evaluation in assignment.evaluations:
            check_heldout(evaluation, heldout=len(self.images.heldout))
        _check_files(assignment, self.images)
        self.store = Store(assignment.storage)
        share = share_of(self.trial, workers)
        fit = fitted(self.trial, self.images, share=share, workers=workers.size, limits=assignment)
        self.learner = Learner(self.trial, self.images, workers=workers, fit=fit)
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
        self.start: WeightsFrom = "seed" if self.trial.parent is None else "parent"
        self.resumed_at = 0
        self.rung_due = False
        self.reported_at = self.saved_at = time.perf_counter()
        self.waited_s = 0.0
        """What the learner had waited for images at the last report."""
        self.interim: list[Commit] = []
        """The last checkpoints that are not of a trial's end, in order: `KEPT` of them stay until it comes."""
        self.damages: tuple[Damage, ...] = ()
        """What the trial cannot go on from, though it was saved."""
        self.pending = Ask.NOTHING
        """What the lead has asked for and the workers have not heard yet."""
        self.usage = Usage(self.learner.device)
        self.device_name = torch.cuda.get_device_name() if self.trial.device == "cuda" else "cpu"

    def reports(self) -> Reports:
        """Resume, train to the end, score; the last report is `Ended`."""
        try:
            self.resume()
            for damage in self.damages:
                yield SetBack(images=self.resumed_at, had=damage.images, why=damage.why)
            if self.learner.images < self.assignment.images:
                yield self.phase()
            early = yield from self.train_on()
            if early is not None:
                yield early
                return
            if self.learner.images > self.resumed_at:
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

    def resume(self) -> None:
        """Go on from the newest checkpoint that is whole, else from the parent's weights, else from the seed's."""
        with self.watch.count("checkpoint"):
            most = self.assignment.images
            found = newest_whole(self.store, self.trial.id, most_images=most) if self.workers.lead else None
            told = (found.commit, self.set_backs(found)) if found is not None else (None, ())
            commit, self.damages = self.workers.agree(told)
            self.check_start(commit)
            if commit is not None:
                self.start = "checkpoint"
                checkpoint = (found.checkpoint if found is not None else None) or self.store.read(commit)
                self.learner.restore(checkpoint.tensors, checkpoint.state)
                self.rung_due = checkpoint.state.get("rung_due", False)
                if not checkpoint.state["final"]:
                    self.interim = [*self.before(found), commit]
        if commit is None and self.trial.parent is not None:
            self.learner.begin_from(self.parent_weights(self.trial.parent))
        self.resumed_at = self.learner.images

    def set_backs(self, found: Whole) -> tuple[Damage, ...]:
        """Why the trial does not go on from what it had: what is damaged, or was collected after its end."""
        had, images = self.assignment.resume_from, found.commit.images if found.commit is not None else 0
        if images >= had or had not in self.store.collected(self.trial.id):
            return found.damages
        gone = Damage(images=had, why=f"the checkpoint at {had} images was removed, by `retention` or `gc`")
        return (gone, *found.damages)

    def check_start(self, commit: Commit | None) -> None:
        """DataError where what was finished before is not in the storage, and nothing says why."""
        had, images = self.assignment.resume_from, commit.images if commit is not None else 0
        if images < had and not any(damage.images >= had for damage in self.damages):
            rule = f"a longer budget must go on from the checkpoint at {had} images"
            got = f"one at {images}" if commit is not None else "none"
            raise DataError(f"{rule}, got {got} in {self.assignment.storage}; bring it back, or plan other seeds")

    def before(self, found: Whole | None) -> list[Commit]:
        """The checkpoint before the one that the trial goes on from, where that is not of an end."""
        earlier = found.earlier if found is not None else None
        return [earlier] if earlier is not None and not self.store.is_final(earlier) else []

    def parent_weights(self, parent: Parent) -> dict[str, Tensor]:
        """A parent's weights, not averaged. DataError where its checkpoint is not in the trial's own storage."""
        with self.watch.count("checkpoint"):
            latest = self.store.latest(parent.trial, most_images=parent.images) if self.workers.lead else None
            commit = self.workers.agree(latest)
            if commit is None or commit.images != parent.images:
                rule = f"`parent` must have a checkpoint at {parent.images} images in the trial's storage"
                got = f"{commit.images} images" if commit else "none"
                raise DataError(f"{rule}, got {got} of {parent.trial}; train it there first")
            try:
                return self.store.read(commit).tensors[MODEL]
            except CheckpointError as error:
                raise DataError(f"the checkpoint of `parent` must be whole: {error}; train it again") from error

    def phase(self) -> Phase:
        """The stretch of training that begins now."""
        parent, fit = self.trial.parent, self.learner.fit
        return Phase(
            images=self.learner.images,
            start=self.start,
            parent=f"{parent.trial}@{parent.images}" if parent is not None else None,
            device=self.device_name,
            host=host(),
            cpus=cpus(),
            cuda=cuda_version(self.learner.device),
            workers=self.workers.size,
            micro_batch=fit.micro_batch,
            activation_checkpointing=fit.activation_checkpointing,
        )

    def train_on(self) -> Generator[Report, Decision | None, Ended | None]:
        """Train to the assignment's image count; returns the `Ended` of a trial that ends before it."""
        self.reported_at = self.saved_at = time.perf_counter()
        since = self.learner.images
        if self.rung_due and since in self.assignment.rungs and (early := (yield from self.stand_at_rung())) is not None:
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
                    state={**self.learner.state(), "final": final, "rung_due": rung_due},
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
