"""A trained network's own best setting of sampling: searched for on few images, confirmed on many that it was not chosen by."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jit_sweep.errors import UserError
from jit_sweep.inference.evaluate import Evaluations
from jit_sweep.ledger.event_records import Tuned, TunedView
from jit_sweep.search.settings import Setting, Tried, next_setting
from trainables.config.evaluation import EvaluationConfig
from trainables.config.evaluation_rules import check_draws
from trainables.config.tuning import CHOOSING, CONFIRMING, Tuning, with_setting
from trainables.evaluation.finite import NotFinite
from trainables.evaluation.metrics.registry import METRICS, Samples, check_scored, metric_of


class Choice(NamedTuple):
    """A setting that was tried."""

    evaluation: EvaluationConfig
    value: float | None
    """Of the metric; None where its images were no numbers, or the network has collapsed."""


class Search(NamedTuple):
    """What a search has come to."""

    record: Tuned
    choices: tuple[Choice, ...]
    """In the order in which they were tried."""


def tune(
    evaluations: Evaluations,
    evaluation: EvaluationConfig,
    tuning: Tuning,
    *,
    metric: str,
    begun: Callable[[EvaluationConfig], None] = lambda _: None,
) -> Search:
    """Search, confirm, and keep it in the ledger. What is known already is not drawn again, so that a search goes on where it
    was cut short. `begun` hears which evaluation is asked for. UserError: a setting or the metric cannot be."""
    _check_metric(metric, evaluation, tuning)
    weights = list(evaluations.subject.weights)
    try:
        check_draws(evaluations.subject.trial, asked="it tunes sampling")
        for each in tuning.each_alone(evaluation, weights=weights):
            evaluations.check(each)
    except ValueError as error:
        raise UserError(f"`tune`: {error}") from error
    search = _Trying(evaluations, evaluation, tuning, metric, begun)
    choices = search.choices(tuning.listed(evaluation, weights=weights))
    best = search.best
    record = Tuned(
        images=evaluations.subject.images or 0,
        evaluation_id=evaluation.id,
        metric=metric,
        tuning=tuning.model_dump(mode="json"),
        tried=len(choices),
        shared=search.confirmed({}),
        best=search.confirmed(best),
        seconds=sum(evaluations.spent_s.values()),
    )
    evaluations.keep(record)
    return Search(record, tuple(choices))


@dataclass
class _Trying:
    """One search under way."""

    evaluations: Evaluations
    evaluation: EvaluationConfig
    tuning: Tuning
    metric: str
    begun: Callable[[EvaluationConfig], None]
    tried: list[Tried] = field(default_factory=list)

    def choices(self, listed: Mapping[str, Sequence[Any]]) -> list[Choice]:
        """Try settings until there are enough."""
        few = {"n": self.tuning.images(self.evaluation.n), "seed": self.evaluation.seed + CHOOSING}
        made = []
        while (setting := next_setting(listed, self.tried, trials=self.tuning.trials)) is not None:
            choice = self._tried(with_setting(self.evaluation, {**setting, **few}))
            self.tried.append(Tried(setting, None if choice.value is None else metric_of(self.metric).loss(choice.value)))
            made.append(choice)
        return made

    def _tried(self, asked: EvaluationConfig) -> Choice:
        """A setting whose samples are no numbers is not chosen, and the search goes on."""
        self.begun(asked)
        try:
            record = self.evaluations.scores(asked).record
        except NotFinite:
            return Choice(asked, None)
        return Choice(asked, None if record.collapsed else record.values[self.metric])

    @property
    def best(self) -> Setting:
        """The setting that was best; of equal ones the first."""
        scored = [(each.loss, place) for place, each in enumerate(self.tried) if each.loss is not None]
        if not scored:
            rule = f"{self.evaluations.subject.name} has no setting whose images are sound"
            raise UserError(f"{rule}: it has diverged or collapsed; score it without --tune")
        return self.tried[min(scored)[1]].setting

    def confirmed(self, setting: Setting) -> TunedView:
        """A setting on all images, of noise that nothing was chosen by."""
        fresh = {"n": self.evaluation.n, "seed": self.evaluation.seed + CONFIRMING}
        asked = with_setting(self.evaluation, {**setting, **fresh})
        self.begun(asked)
        try:
            record = self.evaluations.scores(asked).record
        except NotFinite:
            return TunedView(evaluation=asked.model_dump(mode="json"), value=None, error=None)
        error = record.errors.get(self.metric)
        return TunedView(evaluation=record.evaluation, value=record.values[self.metric], error=error)


def default_metric(evaluation: EvaluationConfig, objective: str | None) -> str:
    """The sweep's objective where it is a score of samples, else the distance of the evaluation's features."""
    if objective is not None and isinstance(metric_of(objective).needs, Samples):
        return objective
    for name, metric in METRICS.items():
        if metric.judges and isinstance(metric.needs, Samples) and _is_scored(name, evaluation):
            return name
    raise UserError("`evaluate` has no metric of samples to tune by; raise n")


def _check_metric(metric: str, evaluation: EvaluationConfig, tuning: Tuning) -> None:
    if not isinstance(metric_of(metric).needs, Samples):
        raise UserError(f"settings of sampling must be tuned by a score of samples, got {metric}; name another objective")
    try:
        check_scored(metric, evaluation.features, n=tuning.images(evaluation.n))
    except ValueError as error:
        raise UserError(f"`tune`: {error}") from error


def _is_scored(metric: str, evaluation: EvaluationConfig) -> bool:
    try:
        check_scored(metric, evaluation.features, n=evaluation.n)
    except ValueError:
        return False
    return True
