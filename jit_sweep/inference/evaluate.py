"""Scores of a subject by any evaluation; what the ledger has of its trial is not drawn again."""

import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from jit_sweep.errors import UserError
from jit_sweep.inference.trained import ImagesAt, Trained
from jit_sweep.ledger.evaluations import EvaluationLog
from jit_sweep.ledger.event_records import Evaluated, Tuned
from jit_sweep.ledger.reports import code_version
from trainables.config.evaluation import EvaluationConfig
from trainables.config.evaluation_rules import check_draws, check_evaluation, check_sampling, check_weights
from trainables.config.spelling import did_you_mean

if TYPE_CHECKING:
    from trainables.data import ImageSet
    from trainables.evaluation.evaluator import Evaluation, Evaluator

Told = Callable[[str, int, int], None]
"""Hears what is under way, how many images of it are done, and of how many."""


class Scores(NamedTuple):
    """What an evaluation gave."""

    record: Evaluated
    cached: bool
    """Whether it was known before."""


class Evaluations:
    """The scores of one subject.

    `images`: those to score against; None: those that it was trained on. `log`: of the ledger that its trial is in.
    `elsewhere`: draws and scores in another process; None: this one does. `tunes_sweep`: as its file asks.
    UserError: the images are not known, cannot be read, or are of another size.
    """

    def __init__(
        self,
        subject: Trained,
        *,
        images: ImagesAt | None = None,
        log: EvaluationLog | None = None,
        told: Told = lambda *_: None,
        elsewhere: "Callable[[EvaluationConfig], Evaluation] | None" = None,
        tunes_sweep: bool = False,
    ) -> None:
        self.subject, self._told, self._elsewhere, self._tunes_sweep = subject, told, elsewhere, tunes_sweep
        self._at = images or subject.data
        if self._at is None:
            rule = f"{subject.name} does not say which images it was trained on"
            raise UserError(f"{rule}; give those to score against with --data, such as --data emoji32")
        self.spent_s: dict[str, float] = {}
        """What drawing and scoring has ever taken, of the evaluations that were asked for, by id."""
        self._are_own = images is None and subject.owned is not None
        self._log = log if self._are_own else None

    def scores(self, evaluation: EvaluationConfig) -> Scores:
        """The scores by one evaluation. UserError: the subject cannot be scored so."""
        self.check(evaluation)
        known = self._known.get(evaluation.id) or self._of_sweep(evaluation)
        if known is not None:
            self.spent_s[evaluation.id] = known.seconds
            return Scores(known, cached=True)
        record = self._drawn(evaluation)
        self.spent_s[evaluation.id] = record.seconds
        owned = self.subject.owned
        if self._log is not None and owned is not None:
            self._log.add(record, sweep=owned.sweep, trial_id=owned.trial_id)
        self._known[evaluation.id] = record
        return Scores(record, cached=False)

    @cached_property
    def _known(self) -> dict[str, Evaluated]:
        """By the evaluation's id, at the subject's image count."""
        owned, images = self.subject.owned, self.subject.images
        if self._log is None or owned is None or images is None:
            return {}
        return self._log.known(owned.trial_id, images=images)

    def _of_sweep(self, evaluation: EvaluationConfig) -> Evaluated | None:
        """What its own sweep has scored."""
        owned, images = self.subject.owned, self.subject.images
        if self._log is None or owned is None or images is None:
            return None
        return self._log.planned(owned.trial_id, evaluation, images=images)

    def draw_pictures(self, evaluation: EvaluationConfig, folder: str) -> list[str]:
        """Write samples, samples by class, and samples above their nearest training images; the files.

        UserError: they cannot be drawn or written so.
        """
        self.check(evaluation)
        try:
            check_draws(self.subject.trial, asked="pictures are")
            return list(self.evaluator.draw_pictures(evaluation, folder).values())
        except ValueError as error:
            raise UserError(f"{self.subject.name} cannot be drawn so: {error}") from error
        except OSError as error:
            raise UserError(f"`--pictures` must be a folder that can be written, got {folder} ({error})") from error

    def keep(self, found: Tuned) -> None:
        """Leave it in the ledger, where the subject's trial has one."""
        owned = self.subject.owned
        if self._log is not None and owned is not None:
            self._log.add(found, sweep=owned.sweep, trial_id=owned.trial_id)

    def _drawn(self, evaluation: EvaluationConfig) -> Evaluated:
        begun = time.perf_counter()
        self._told("drawing samples", 0, evaluation.n)
        try:
            found = (self._elsewhere or self.drawn_here)(evaluation)
        except (ValueError, OSError) as error:
            raise UserError(f"{self.subject.name} cannot be scored so: {error}") from error
        return Evaluated(
            images=self.subject.images or 0,
            evaluation_id=evaluation.id,
            evaluation=evaluation.model_dump(mode="json"),
            values=found.scores.values,
            without_each=found.scores.without_each,
            heldout=found.heldout,
            rows=found.rows,
            collapsed=found.collapsed,
            seconds=time.perf_counter() - begun,
            code_version=code_version(),
            tunes_sweep=self._tunes_sweep,
        )

    def drawn_here(self, evaluation: EvaluationConfig) -> "Evaluation":
        """Draw and score, whatever is known. ValueError, OSError: it cannot be scored so."""
        return self.evaluator.evaluate(evaluation, drawn=lambda done: self._told("drawing samples", done, evaluation.n))

    @cached_property
    def evaluator(self) -> "Evaluator":
        """Made on first use: what is known already needs neither images nor a network."""
        from trainables.evaluation.evaluator import Evaluator
        from trainables.training.encoders import latent_of

        subject = self.subject
        try:
            read = lambda done, of: self._told("reading the real images' features", done, of)  # noqa: E731
            content = subject.autoencoder
            space = None if content is None else (lambda device: latent_of(subject.trial, content, device=device))
            return Evaluator(
                subject.trial,
                subject.weights,
                self.image_set,
                cache=subject.storage,
                space=space,
                guide=subject.guide,
                read=read,
            )
        except ValueError as error:
            raise UserError(str(error)) from error

    @cached_property
    def image_set(self) -> "ImageSet":
        from trainables.data import DataError, open_images

        assert self._at is not None
        try:
            found = open_images(self._at.address, holdout=self._at.holdout)
        except DataError as error:
            raise UserError(str(error)) from error
        planned = self.subject.trial.data.digest
        if self._are_own and found.fingerprint != planned:
            rule = f"the images of {self.subject.name} must be those it was trained on"
            raise UserError(f"{rule}, got digest {found.fingerprint}, trained on {planned}; name others with --data")
        return found

    def check(self, evaluation: EvaluationConfig) -> None:
        """UserError: the weights are not there, or no image can be drawn so."""
        trial, names = self.subject.trial, list(self.subject.weights)
        if evaluation.weights not in names:
            rule = f"`weights` must be one of {', '.join(names)}, which {self.subject.name} has, got {evaluation.weights!r}"
            raise UserError(f"{rule}; {did_you_mean(evaluation.weights, names, otherwise='try one of them')}")
        try:
            if self.subject.images:
                check_evaluation(trial, evaluation, images=self.subject.images)
            else:
                check_weights(trial, evaluation.weights)
                if trial.draws:
                    check_sampling(trial.diffusion, evaluation, num_classes=trial.data.num_classes)
        except ValueError as error:
            raise UserError(str(error)) from error

    @property
    def remarks(self) -> list[str]:
        """What the scores say less than they seem to, in words."""
        trial, images = self.subject.trial, self.image_set
        classes = len(set(images.labels(images.train).tolist()))
        said = []
        if classes < trial.data.num_classes:
            known = trial.data.num_classes
            said.append(f"the network knows {known} classes, and the images are of {classes}: the others are not drawn")
        if images.fingerprint != trial.data.digest:
            said.append("scored against other images than it was trained on")
        return said
