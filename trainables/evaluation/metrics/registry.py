"""The metrics a trial is scored by, and the names of scores. No torch here: a metric's code is found by name.

To add one: a file beside this one with a function of the kind its `needs` asks for, and an entry in `METRICS`.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, ValidationInfo

from trainables.config.features import FILE_KINDS, FeaturesConfig, extractor_name, features_form
from trainables.config.spelling import did_you_mean
from trainables.evaluation.metrics.families import EXTRACTOR_CHOICES, of_features
from trainables.evaluation.metrics.metric import RAW_SUFFIX, Direction, Metric, NetworkAlone, Samples, loss
from trainables.evaluation.metrics.of_networks import of_network

__all__ = ["METRICS", "RUNG_METRIC", "RUNG_METRICS", "Direction", "Metric", "MetricName", "NetworkAlone", "Samples", "loss"]

ScoredWeights = Literal["evaluated", "raw"]
"""Those that the evaluation names (an average, mostly), or the trained ones as they are."""

RUNG_METRIC = "heldout_v_error"
"""Measured at every rung of a flow: it ranks trials rightly from the first updates on, which a Frechet distance does not."""
RUNG_METRICS = {
    "flow": RUNG_METRIC,
    "staged": "heldout_stage_error",
    "karras": "heldout_level_error",
    "latent": "heldout_latent_error",
    "autoencoder": "heldout_reconstruction_error",
    "classifier": "heldout_cross_entropy",
    "masked_tokens": "heldout_masked_error",
    "encoder_pretraining": "heldout_contrast",
}
"""By a trial's `error_kind`: what rungs measure of it. Of two kinds they do not compare."""
UNDRAWN = frozenset({"classifier", "encoder_pretraining"})
"""Kinds of trials that have no scores of samples."""

PIXEL_METRIC = "heldout_pixel_v_error"
"""`RUNG_METRIC` in pixels, whatever they were lifted to."""


def by_name(*metrics: Metric) -> dict[str, Metric]:
    """Metrics by name, in the order given. ValueError: a name stands twice."""
    registered = {metric.name: metric for metric in metrics}
    if len(registered) < len(metrics):
        names = [metric.name for metric in metrics]
        repeated = ", ".join(name for name in registered if names.count(name) > 1)
        raise ValueError(f"each metric must have a name of its own, got {repeated} twice; rename one")
    return registered


METRICS: dict[str, Metric] = by_name(
    *of_features(),
    *of_network(RUNG_METRICS, pixels=PIXEL_METRIC),
)
"""By name, in the order in which they are shown."""


def metrics_under(features: FeaturesConfig, *, n: int) -> list[Metric]:
    """The metrics of an evaluation: those of its features that n images suffice for, and those that need none."""
    own = extractor_name(features)

    def computed(metric: Metric) -> bool:
        if isinstance(metric.needs, NetworkAlone):
            return True
        return metric.needs.extractor == own or metric.needs.extractor not in EXTRACTOR_CHOICES

    return [metric for metric in METRICS.values() if computed(metric) and n >= metric.least_n]


def check_scored(name: str, features: FeaturesConfig, *, n: int) -> None:
    """ValueError: an evaluation of n images under these features gives no score of this shown name."""
    metric = metric_of(name)
    if metric in metrics_under(features, n=n):
        return
    if isinstance(metric.needs, Samples) and metric.needs.extractor == extractor_name(features):
        raise ValueError(f"`{name}` needs at least {metric.least_n:,} images, got n={n}; raise n, or name another metric")
    remedies = [f"try one of {', '.join(each.name for each in metrics_under(features, n=n) if each.judges)}"]
    if isinstance(metric.needs, Samples) and metric.needs.extractor in FILE_KINDS:
        remedies.append(f"or the features {features_form(metric.needs.extractor)}")
    got = extractor_name(features)
    raise ValueError(f"`{name}` must be a score of `evaluation.features`, got {got}; {', '.join(remedies)}")


def measured_on_the_way(names: Iterable[str]) -> str:
    """What rungs with scores of these names measured: the flow's held-out error, or another kind's where no flow was there."""
    found = {*names}
    return next((own for own in RUNG_METRICS.values() if own in found), RUNG_METRIC)


class ScoreName(NamedTuple):
    """What a score is of: a metric, and the weights that were measured."""

    metric: str
    weights: ScoredWeights = "evaluated"


def shown(name: ScoreName) -> str:
    """A score's name for people and in files: the metric's, with `_raw` behind it where the weights are raw."""
    return name.metric + (RAW_SUFFIX if name.weights == "raw" else "")


def parse(text: str) -> ScoreName:
    """A score's name from its shown form. ValueError: no metric is called so."""
    metric = text.removesuffix(RAW_SUFFIX)
    if metric not in METRICS:
        raise ValueError(_unregistered("a score must be of a registered metric", text))
    return ScoreName(metric, "evaluated" if metric == text else "raw")


def joined(values: Mapping[str, float], raw_values: Mapping[str, float]) -> dict[str, float]:
    """Both weights' values by shown name."""
    return {**values, **{shown(ScoreName(metric, "raw")): value for metric, value in raw_values.items()}}


def split(values: Mapping[str, float]) -> dict[ScoredWeights, dict[str, float]]:
    """Values by shown name, apart by weights and then by metric; whether a metric is registered does not matter."""
    raw = {name.removesuffix(RAW_SUFFIX): value for name, value in values.items() if name.endswith(RAW_SUFFIX)}
    return {"evaluated": {name: value for name, value in values.items() if not name.endswith(RAW_SUFFIX)}, "raw": raw}


def score_names() -> list[str]:
    """The shown names of every score that a trial can have, in registered order."""
    return [name for metric in METRICS for name in (metric, metric + RAW_SUFFIX)]


def metric_of(text: str) -> Metric:
    """The metric of a score's shown name. ValueError: there is none."""
    return METRICS[parse(text).metric]


def has_score(kind: str, name: str) -> bool:
    """Whether trials of this `error_kind` have the score of this shown name."""
    needs = metric_of(name).needs
    return kind not in UNDRAWN if isinstance(needs, Samples) else kind == needs.of


class ScoreKinds(NamedTuple):
    """What the trials of a sweep have scores of."""

    extractor: str = "efflite0"
    """The network on whose features their images are compared."""
    kinds: frozenset[str] = frozenset({NetworkAlone().of})
    """Their `error_kind`s."""


def table_metrics(objective: str = RUNG_METRIC, scored: ScoreKinds = ScoreKinds()) -> list[str]:  # noqa: B008 - a constant
    """The metrics that tables for people have a column for, of a sweep with this objective and such scores."""
    return [metric.name for metric in _beside(objective, scored) if metric.in_tables]


def verdict_metrics(objective: str = RUNG_METRIC, scored: ScoreKinds = ScoreKinds()) -> list[str]:  # noqa: B008 - a constant
    """The metrics that verdicts rest on, of a sweep with this objective: those on its features, and those of no images."""
    return [metric.name for metric in _beside(objective, scored) if metric.judges]


def _beside(objective: str, scored: ScoreKinds) -> list[Metric]:
    """On the objective's features, or the evaluation's where it needs none; and of the trials' own kinds, or of its own."""
    needs = metric_of(objective).needs
    kinds = {needs.of} if isinstance(needs, NetworkAlone) else scored.kinds
    own = needs.extractor if isinstance(needs, Samples) else scored.extractor
    others, drawn = EXTRACTOR_CHOICES - {own}, not kinds or bool(kinds - UNDRAWN)

    def is_beside(metric: Metric) -> bool:
        if isinstance(metric.needs, Samples):
            return drawn and metric.needs.extractor not in others
        return metric.needs.of in kinds

    return [metric for metric in METRICS.values() if is_beside(metric)]


def _registered(name: str, info: ValidationInfo) -> str:
    if name not in score_names():
        raise ValueError(_unregistered(f"`{info.field_name}` must be a registered metric", name))
    return name


def _unregistered(rule: str, name: str) -> str:
    """What was probably meant; there are too many names to list."""
    usual = f"try one of {', '.join(verdict_metrics())}, or of docs/metrics.md"
    return f"{rule}, got {name!r}; {did_you_mean(name, score_names(), otherwise=usual)}"


MetricName = Annotated[str, AfterValidator(_registered)]
"""A score's shown name, as files and rows hold it."""
