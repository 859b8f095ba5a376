"""The one training loop. It knows no Ray: it yields reports, and asks its consumer at each rung whether to go on."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache

from trainables.checkpoint import Commit, Store
from trainables.config import Assignment, EvaluationConfig
from trainables.data import ImageSet, open_images
from trainables.evaluation.finite import NotFinite
from trainables.evaluation.generate import Interrupted, generate, sample_labels
from trainables.evaluation.grid import write_grid
from trainables.evaluation.heldout import HeldoutGrid
from trainables.evaluation.score import Scorer
from trainables.learner import Learner
from trainables.metrics import RUNG_METRIC
from trainables.report import Committed, Decision, Ended, Outcome, Progress, Report, Rung, Scored
from trainables.workers import Ask, Workers

REPORT_INTERVAL_S = 1.0
GRID_IMAGES = 32
GRID_COLUMNS = 8

Decide = Callable[[Rung], Decision]


def go_on(_: Rung) -> Decision:
    """The decision of a consumer that stops nothing."""
    return Decision()


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
    decide: Decide = go_on,
    interrupted: Callable[[], bool] = lambda: False,
    workers: Workers = Workers(),  # noqa: B008 - frozen
) -> Iterator[Report]:
    """Bring a trial to its image count and score it there, from its last committed checkpoint where there is one.

    Yields the trial's reports; the last is `Ended`. At each rung `decide` is asked; `interrupted` is read before every
    update. Either can end the trial early, with a checkpoint. Every worker of a group consumes its own generator; all
    yield the same reports but for the scores, which are the lead's, and only the lead's `decide` is asked.

    ValueError: the data is not the trial's. OSError: storage failed.
    """
    return _Run(assignment, attempt=attempt, decide=decide, interrupted=interrupted, workers=workers).reports()


@lru_cache(maxsize=1)
def _kept(uri: str, *, holdout: int | None) -> ImageSet:
    return open_images(uri, holdout=holdout)


def _opened(uri: str, *, holdout: int | None, digest: str) -> ImageSet:
    """The image set, from this process's memory where the last trial has read it and it is what this one was planned on."""
    if _kept(uri, holdout=holdout).fingerprint != digest:
        _kept.cache_clear()
    return _kept(uri, holdout=holdout)


class _Run:
    """One attempt at an assignment."""

    def __init__(
        self,
        assignment: Assignment,
        *,
        attempt: int,
        decide: Decide,
        interrupted: Callable[[], bool],
        workers: Workers,
    ) -> None:
        self.assignment, self.trial = assignment, assignment.trial
        self.attempt, self.decide, self.interrupted, self.workers = attempt, decide, interrupted, workers
        self.images = _opened(assignment.data, holdout=assignment.holdout, digest=self.trial.data.digest)
        if self.images.fingerprint != self.trial.data.digest:
            rule = "the data must be what the trial was planned on"
            raise ValueError(f"{rule}, got digest {self.images.fingerprint}, planned {self.trial.data.digest}; plan again")
        self.store = Store(assignment.storage)
        self.learner = Learner(self.trial, self.images, workers=workers, micro_batch=assignment.micro_batch)
        self.heldout = HeldoutGrid(self.images, device=self.learner.device)
        self.watch = Stopwatch()
        self.on_the_way: Commit | None = None
        self.last_rung: Rung | None = None

    def reports(self) -> Iterator[Report]:
        """The attempt, as prose: resume, train to the end, score, say so."""
        try:
            self.resume()
            early = yield from self.train_on()
            if early is not None:
                yield early
                return
            if self.learner.images > self.resumed_at:
                yield self.commit(final=True)
            if self.workers.lead:
                for evaluation in self.assignment.evaluations:
                    yield self.score(evaluation)
            yield self.ended("done")
        except NotFinite as error:
            yield self.ended("diverged", cause=str(error), first_bad_step=self.learner.step)
        except Interrupted:
            yield self.ended("paused", cause="asked to stop")

    def resume(self) -> None:
        commit = self.store.latest(self.trial.id, most_images=self.assignment.images) if self.workers.lead else None
        commit = self.workers.agree(commit)
        if commit is not None:
            with self.watch.count("checkpoint"):
                checkpoint = self.store.read(commit)
                self.learner.restore(checkpoint)
            self.on_the_way = None if checkpoint.state["final"] else commit
        self.resumed_at = self.learner.images

    def train_on(self) -> Generator[Report, None, Ended | None]:
        """Train to the assignment's image count; returns the `Ended` of a trial that ends before it."""
        self.looked = self.saved = time.perf_counter()
        since = self.learner.images
        while self.learner.images < self.assignment.images:
            with self.watch.count("train"):
                asked = self.learner.update(ask=self.asks())
            at_rung = self.learner.images in self.assignment.rungs
            at_end = self.learner.images >= self.assignment.images
            if asked or at_rung or at_end:
                if self.learner.first_bad_step is not None:
                    return self.diverged()
                yield self.progress(since)
                since = self.learner.images
            if at_rung:
                early = yield from self.stand_at_rung()
                if early is not None:
                    return early
            if at_end:
                break
            if asked & (Ask.SAVE | Ask.STOP):
                yield self.commit(final=False)
            if asked & Ask.STOP:
                return self.ended("paused", cause="asked to stop")
        return None

    def asks(self) -> Ask:
        """What the lead wants done after the coming update."""
        now, ask = time.perf_counter(), Ask.NOTHING
        if self.interrupted():
            ask |= Ask.STOP
        if now - self.looked >= REPORT_INTERVAL_S:
            ask |= Ask.LOOK
        if now - self.saved >= self.assignment.checkpoint_interval_s:
            ask |= Ask.SAVE
        return ask

    def stand_at_rung(self) -> Generator[Report, None, Ended | None]:
        """Measure, ask the consumer, and save where the answer is not to go on; returns the trial's `Ended` then."""
        rung = self.rung()
        yield rung
        decision = self.workers.agree(self.decide(rung) if self.workers.lead else Decision())
        if decision.verdict == "go_on" or self.learner.images >= self.assignment.images:
            return None
        yield self.commit(final=False)
        return self.ended("paused" if decision.verdict == "pause" else "stopped", cause=decision.reason)

    def progress(self, since: int) -> Progress:
        now, trained = time.perf_counter(), self.learner.images - since
        seconds, self.looked = now - self.looked, now
        return Progress(
            images=self.learner.images,
            step=self.learner.step,
            loss=self.learner.mean_loss(),
            images_per_second=trained / max(seconds, 1e-9),
        )

    def rung(self) -> Rung:
        with self.watch.count("evaluation"), self.learner.ema.swapped(self.learner.network):
            error = self.heldout.v_error(self.learner.network, self.trial)
        self.last_rung = Rung(images=self.learner.images, values={RUNG_METRIC: error})
        self.looked = time.perf_counter()  # speed is training's
        return self.last_rung

    def commit(self, *, final: bool) -> Committed:
        """Write a checkpoint; one on the way to another is removed once the next is committed."""
        uri = ""
        if self.workers.lead:
            with self.watch.count("checkpoint"):
                commit = self.store.write(
                    self.trial.id,
                    attempt=self.attempt,
                    images=self.learner.images,
                    tensors=self.learner.parts(),
                    state={**self.learner.state(), "final": final},
                )
                if self.on_the_way is not None and self.on_the_way.images != commit.images:
                    self.store.remove(self.on_the_way)
            self.on_the_way = None if final else commit
            uri = self.store.address(commit)
        self.saved = self.looked = time.perf_counter()
        return Committed(images=self.learner.images, uri=uri)

    def score(self, evaluation: EvaluationConfig) -> Scored:
        """The scores of averaged and raw weights, from samples with equal noise and labels over all trials."""
        values: dict[str, float] = {}
        with self.watch.count("evaluation"):
            scorer = Scorer(self.images, cache=self.assignment.storage)
            labels = sample_labels(self.images, evaluation)
            for suffix, weights in (("_raw", nullcontext()), ("", self.learner.ema.swapped(self.learner.network))):
                with weights:
                    samples = generate(self.learner.network, self.trial, evaluation, labels, interrupted=self.interrupted)
                values |= {f"{name}{suffix}": value for name, value in scorer.score(samples).items()}
            values |= self.heldout_errors()
            grid = f"{self.store.folder(self.trial.id, self.attempt)}/samples-{self.learner.images}-{evaluation.id}.png"
            write_grid(samples[:GRID_IMAGES], grid, columns=GRID_COLUMNS)
        return Scored(
            images=self.learner.images,
            evaluation=evaluation.id,
            n=evaluation.n,
            values=values,
            heldout=scorer.heldout_row(evaluation.n),
            grid=grid,
        )

    def heldout_errors(self) -> dict[str, float]:
        """The held-out error of averaged and raw weights; the former is known where a rung stood at this image count."""
        raw = self.heldout.v_error(self.learner.network, self.trial)
        at_rung = self.last_rung is not None and self.last_rung.images == self.learner.images
        rung = self.last_rung if at_rung and self.last_rung else self.rung()
        return {f"{RUNG_METRIC}_raw": raw, **rung.values}

    def diverged(self) -> Ended:
        step = self.learner.first_bad_step
        return self.ended("diverged", cause=f"the loss was not finite at step {step}", first_bad_step=step)

    def ended(self, outcome: Outcome, *, cause: str = "", first_bad_step: int | None = None) -> Ended:
        return Ended(
            images=self.learner.images,
            outcome=outcome,
            cause=cause,
            first_bad_step=first_bad_step,
            train_s=self.watch.seconds["train"],
            evaluation_s=self.watch.seconds["evaluation"],
            checkpoint_s=self.watch.seconds["checkpoint"],
        )
