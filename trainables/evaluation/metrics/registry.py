"""The metrics a trial is scored by: what each is called, needs and costs. No torch here: a metric's code is found by name.

To add one: a file beside this one with a function of the kind its `needs` asks for, and an entry in `METRICS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import AfterValidator, ValidationInfo

from trainables.config.spelling import did_you_mean

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trainables.config.trial import TrialConfig
    from trainables.evaluation.metrics.heldout import HeldoutGrid
    from trainables.evaluation.real import Reference

Direction = Literal["minimize", "maximize"]
ScoredWeights = Literal["evaluated", "raw"]
"""Those that the evaluation names (an average, mostly), or the trained ones as they are."""
Growth = Literal["samples", "pairs"]
"""What a metric's time grows with: the generated images alone, or the pairs of them and the real images."""
_RAW_SUFFIX = "_raw"


@dataclass(frozen=True)
class Samples:
    """Generated images: `compute(features, real)` with their features [n, d] and the `Reference` of one split's real images."""

    extractor: str
    """A name in `trainables.evaluation.features.registry`."""
    against: Literal["train", "heldout"]


@dataclass(frozen=True)
class NetworkAlone:
    """No images: `compute(grid, network, trial)` with the `HeldoutGrid` of fixed held-out images, noise and t."""


@dataclass(frozen=True)
class Metric:
    """One metric."""

    name: str
    direction: Direction
    unit: str
    about: str
    """What it says, for people."""
    needs: Samples | NetworkAlone
    compute: str
    """`module:function`, imported on first use; the function returns a float."""
    cost: Growth = "samples"
    blind_to: frozenset[str] = frozenset()
    """Axes along which its values do not compare; `about` says why."""
    in_tables: bool = True
    """Whether it has a column in the tables for people."""
    judges: bool = False
    """Whether verdicts need it to agree: where such metrics that can judge the axis disagree, the verdict is undecided."""

    def __post_init__(self) -> None:
        """ValueError: the name ends as those of scores of raw weights do."""
        if self.name.endswith(_RAW_SUFFIX):
            rule = f"a metric's name must not end in {_RAW_SUFFIX}, which stands for the weights without averaging"
            raise ValueError(f"{rule}, got {self.name!r}; rename it")

    def loss(self, value: float) -> float:
        """The value, or its negative where higher is better: lower is always better."""
        return loss(value, direction=self.direction)

    def of_samples(self, features: "Tensor", real: "Reference") -> float:
        """The metric of generated images' features [n, d] against one split's. It must need samples."""
        assert isinstance(self.needs, Samples), f"{self.name} needs no samples"
        return float(resolve_name(self.compute)(features, real))

    def of_network(self, grid: "HeldoutGrid", network: "nn.Module", trial: "TrialConfig") -> float:
        """The metric of a network as it is now. It must need the network alone."""
        assert isinstance(self.needs, NetworkAlone), f"{self.name} needs samples"
        return float(resolve_name(self.compute)(grid, network, trial))


RUNG_METRIC = "heldout_v_error"
"""Measured at every rung: it ranks trials rightly from the first updates on, which a Frechet distance does not."""


def by_name(*metrics: Metric) -> dict[str, Metric]:
    """Metrics by name, in the order given. ValueError: a name stands twice."""
    registered = {metric.name: metric for metric in metrics}
    if len(registered) < len(metrics):
        names = [metric.name for metric in metrics]
        repeated = ", ".join(name for name in registered if names.count(name) > 1)
        raise ValueError(f"each metric must have a name of its own, got {repeated} twice; rename one")
    return registered


METRICS: dict[str, Metric] = by_name(
    Metric(
        "fd_efflite0_96",
        "minimize",
        "squared feature distance",
        "Frechet distance to the training split on EfficientNet-lite0 features at 96 px (224 px for images of 128 px and more)",
        needs=Samples("efflite0", against="train"),
        compute="trainables.evaluation.metrics.frechet:distance_to_real",
        judges=True,
    ),
    Metric(
        "fd_efflite0_96_heldout",
        "minimize",
        "squared feature distance",
        "the same against the held-out split",
        needs=Samples("efflite0", against="heldout"),
        compute="trainables.evaluation.metrics.frechet:distance_to_real",
    ),
    Metric(
        "kid_efflite0_96",
        "minimize",
        "squared kernel distance",
        "kernel distance (unbiased) to the training split, same features",
        needs=Samples("efflite0", against="train"),
        compute="trainables.evaluation.metrics.kernel:kernel_distance",
        cost="pairs",
        judges=True,
    ),
    Metric(
        RUNG_METRIC,
        "minimize",
        "mean squared velocity",
        "error of the predicted velocity on a fixed grid of held-out image, noise and t; says nothing along noise_scale, which "
        "scales the velocity itself, nor along t_eps_sample, sampling_steps, sampling_shift and guidance: nothing is sampled",
        needs=NetworkAlone(),
        compute="trainables.evaluation.metrics.heldout:v_error",
        blind_to=frozenset({"noise_scale", "t_eps_sample", "sampling_steps", "sampling_shift", "guidance"}),
        judges=True,
    ),
)
"""By name, in the order in which they are shown."""


class ScoreName(NamedTuple):
    """What a score is of: a metric, and the weights that were measured."""

    metric: str
    weights: ScoredWeights = "evaluated"


def shown(name: ScoreName) -> str:
    """A score's name for people and in files: the metric's, with `_raw` behind it where the weights are raw."""
    return name.metric + (_RAW_SUFFIX if name.weights == "raw" else "")


def parse(text: str) -> ScoreName:
    """A score's name from its shown form. ValueError: no metric is called so."""
    metric = text.removesuffix(_RAW_SUFFIX)
    if metric not in METRICS:
        raise ValueError(f"a score must be of a registered metric: {', '.join(score_names())}, got {text!r}")
    return ScoreName(metric, "evaluated" if metric == text else "raw")


def joined(values: Mapping[str, float], raw_values: Mapping[str, float]) -> dict[str, float]:
    """Both weights' values by shown name."""
    return {**values, **{shown(ScoreName(metric, "raw")): value for metric, value in raw_values.items()}}


def split(values: Mapping[str, float]) -> dict[ScoredWeights, dict[str, float]]:
    """Values by shown name, apart by weights and then by metric; whether a metric is registered does not matter."""
    raw = {name.removesuffix(_RAW_SUFFIX): value for name, value in values.items() if name.endswith(_RAW_SUFFIX)}
    return {"evaluated": {name: value for name, value in values.items() if not name.endswith(_RAW_SUFFIX)}, "raw": raw}


def score_names() -> list[str]:
    """The shown names of every score that a trial can have, in registered order."""
    weights: tuple[ScoredWeights, ...] = ("evaluated", "raw")
    return [shown(ScoreName(metric, which)) for metric in METRICS for which in weights]


def metric_of(text: str) -> Metric:
    """The metric of a score's shown name. ValueError: there is none."""
    return METRICS[parse(text).metric]


def table_metrics() -> list[str]:
    """The metrics that tables for people have a column for."""
    return [metric.name for metric in METRICS.values() if metric.in_tables]


def verdict_metrics() -> list[str]:
    """The metrics that verdicts rest on."""
    return [metric.name for metric in METRICS.values() if metric.judges]


def loss(value: float, *, direction: Direction) -> float:
    """The one rule of which way is better: of two losses the lower."""
    return value if direction == "minimize" else -value


def _registered(name: str, info: ValidationInfo) -> str:
    if name not in score_names():
        rule = f"`{info.field_name}` must be a registered metric: {', '.join(score_names())}"
        raise ValueError(f"{rule}, got {name!r}; {did_you_mean(name, score_names(), otherwise='try one of them')}")
    return name


MetricName = Annotated[str, AfterValidator(_registered)]
"""A score's shown name, as files and rows hold it."""
