"""How a sweep may stop trials early: the rules that a sweep file can name. Free of torch and Ray."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from search_spaces.axes import AXES
from trainables.config.fields import Frozen, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from trainables.config.spelling import did_you_mean
from trainables.evaluation.metrics.registry import RUNG_METRIC, MetricName

Reduction = Annotated[int, Field(ge=2, le=64, strict=True)]


class FirstRung(Frozen):
    """The earliest point at which anything is decided, and the unit that rungs are equal in."""

    images: PositiveInt | None = None
    """Images trained on."""
    flops: PositiveFloat | None = None
    """Floating-point operations of training."""

    @model_validator(mode="after")
    def one_unit_is_given(self) -> Self:
        if (self.images is None) == (self.flops is None):
            raise ValueError(
                f"`first_rung` must be {{images: N}} or {{flops: N}}, got images={self.images}, flops={self.flops}"
            )
        return self


class Early(Frozen):
    """What every rule that stops trials early must know to be fair."""

    metric: MetricName = RUNG_METRIC
    """What rungs compare; apart from the objective, since a Frechet distance misleads early."""
    first_rung: FirstRung
    """The earliest point at which anything is decided."""
    compare_within: tuple[str, ...] = ("patch_size",)
    """Axes along which nothing is compared early: arms with small patches start slower."""
    s_train: NonNegativeFloat | None = None
    """Standard deviation of the metric over seeds; None: measured over the arms' own seeds at the rung."""
    s_eval: NonNegativeFloat = 0.0
    """Standard deviation of the metric over evaluations of one model; the held-out error has none."""
    luck: Annotated[PositiveFloat, Field(le=1000)] = 2.0
    """Standard errors of two arms' difference that still count as luck, and stop nothing."""
    audit: Annotated[int, Field(ge=2, strict=True)] | None = 9
    """One in so many of the stopped, drawn by a hash, goes to its end: only so do slow starters show. null: none."""

    @field_validator("compare_within")
    @classmethod
    def axes_are_registered(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        rule, otherwise = "`compare_within` must name registered axes", f"there are {', '.join(AXES)}"
        remedies = {name: did_you_mean(name, AXES, otherwise=otherwise) for name in names if name not in AXES}
        if remedies:
            raise ValueError("; ".join(f"{rule}, got {name!r}; {remedy}" for name, remedy in remedies.items()))
        return names


class Ladder(Early):
    """Rungs at first_rung x reduction^k; of those that reach one, a share of 1 / reduction goes on."""

    reduction: Reduction = 3
    """Each rung is this many times the one before, and one arm in this many goes on."""


class NoScheduler(Frozen):
    """Every trial goes to its end."""

    kind: Literal["none"] = "none"


class Halving(Ladder):
    """Successive halving that stops (arXiv 1502.07943; asynchronous: arXiv 1810.05934)."""

    kind: Literal["halving"]
    mode: Literal["asynchronous", "synchronous"] = "asynchronous"
    """Decide as arms arrive, or once all that can still arrive have: then the order of arrival changes nothing."""


class PauseAndPromote(Ladder):
    """Asynchronous successive halving with pause and promotion (arXiv 1810.05934, algorithm 2)."""

    kind: Literal["promotion"]


class Hyperband(Ladder):
    """Successive halving in brackets that begin at different rungs (JMLR 18:185)."""

    kind: Literal["hyperband"]
    mode: Literal["asynchronous", "synchronous"] = "synchronous"
    """Decide as arms arrive, or once all that can still arrive have: then the order of arrival changes nothing."""


class Median(Early):
    """Stop what is worse than the median of the arms that have ended, at the same rung (Optuna's MedianPruner)."""

    kind: Literal["median"]
    startup_arms: NonNegativeInt = 5
    """Arms that must have ended before anything is stopped."""


class Patient(Early):
    """Stop what has become worse and stayed so (Optuna's PatientPruner)."""

    kind: Literal["patient"]
    patience: NonNegativeInt = 1
    """Rungs in a row, beyond the first, that may be worse than the best before them."""
    min_delta: NonNegativeFloat = 0.0
    """A worsening up to this counts as none."""


SchedulerSpec = Annotated[
    NoScheduler | Halving | PauseAndPromote | Hyperband | Median | Patient,
    Field(discriminator="kind"),
]
