"""Which settings of sampling an arm may choose from once it is trained, and on how many samples it chooses."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from trainables.config.evaluation import EvaluationConfig, Time
from trainables.config.fields import Fraction, Frozen, NonNegativeFloat, PositiveInt

Interval = tuple[Time, Time]
BETWEEN = ("guidance", "t_eps_sample")
"""Keys of an evaluation whose values may lie between the listed ones."""
CHOOSING, CONFIRMING = 1, 2
"""Added to the evaluation's seed: noise that the sweep's own scores have not met, and noise that nothing is chosen by."""


class Tuning(Frozen):
    """The settings that are tried; what is left out stays as the evaluation has it. The evaluation's own are tried first."""

    guidance: tuple[NonNegativeFloat, ...] = ()
    """Scales; between the best one and its neighbours further ones are tried."""
    interval: tuple[Interval, ...] = ()
    """Times at which guidance acts: (low, high)."""
    weights: Literal["all"] | tuple[str, ...] = ()
    """Averages by name, and `raw`; or all that there are."""
    steps: tuple[PositiveInt, ...] = ()
    """Steps of the sampler."""
    clamp: tuple[Fraction, ...] = ()
    """Values of `t_eps_sample`; between the best one and its neighbours further ones are tried."""
    n: Annotated[int, Field(ge=2, strict=True)] | None = None
    """Images by which each setting is judged; null: a quarter of the evaluation's, and 32 at least."""
    trials: Annotated[PositiveInt, Field(le=1000)] = 40
    """Settings that are tried."""

    @model_validator(mode="after")
    def something_is_tried(self) -> Self:
        if not any((self.guidance, self.interval, self.weights, self.steps, self.clamp)):
            rule = "`tune` must list values of guidance, interval, weights, steps or clamp"
            raise ValueError(f"{rule}, got none; try guidance=[1, 1.5, 2, 3]")
        return self

    @model_validator(mode="after")
    def intervals_are_ordered(self) -> Self:
        if odd := next(((low, high) for low, high in self.interval if low >= high), None):
            raise ValueError(f"`interval` must list (low, high) with low < high, got {odd[0]:g}, {odd[1]:g}")
        return self

    def images(self, n: int) -> int:
        """Images of a choice beside an evaluation of n."""
        return self.n if self.n is not None else min(n, max(32, n // 4))

    def listed(self, evaluation: EvaluationConfig, *, weights: Sequence[str]) -> dict[str, tuple[Any, ...]]:
        """The values of each key that varies, the evaluation's own first. `weights`: all that there are, by name."""
        wanted: dict[str, Sequence[Any]] = {
            "guidance": self.guidance,
            "interval": self.interval,
            "weights": weights if self.weights == "all" else self.weights,
            "steps": self.steps,
            "t_eps_sample": self.clamp,
        }
        return {key: tuple(dict.fromkeys((getattr(evaluation, key), *values))) for key, values in wanted.items() if values}

    def each_alone(self, evaluation: EvaluationConfig, *, weights: Sequence[str]) -> Iterator[EvaluationConfig]:
        """The evaluation with each listed value in turn: what none of them breaks, no setting of several does.

        ValueError: an interval is listed where guidance is always off, or nothing is left to choose.
        """
        listed = self.listed(evaluation, weights=weights)
        scales = listed.get("guidance", (evaluation.guidance,))
        if self.interval and set(scales) == {1}:
            rule = "`interval` must stand beside guidance other than 1, which alone it bounds"
            raise ValueError(f"{rule}, got guidance=1; list guidance too, such as [1, 1.5, 2]")
        if self.most(listed) == 1:
            rule = "`tune` must leave a choice between two settings or more"
            raise ValueError(f"{rule}, got what the evaluation has already, or trials=1; list other values")
        for key, values in listed.items():
            yield from (with_setting(evaluation, {key: value}) for value in values)

    def most(self, listed: Mapping[str, Sequence[Any]]) -> int:
        """Settings that are tried at most: `trials`, or all that there are where nothing lies between them."""
        if any(len(listed.get(key, ())) > 1 for key in BETWEEN):
            return self.trials
        return min(self.trials, math.prod(map(len, listed.values())))


def with_setting(evaluation: EvaluationConfig, setting: Mapping[str, Any]) -> EvaluationConfig:
    """The evaluation at a setting; an interval says nothing where guidance is off, and stays the evaluation's."""
    values: dict[str, Any] = {**evaluation.model_dump(), **setting}
    if values["guidance"] == 1:
        values["interval"] = evaluation.interval
    return EvaluationConfig.model_validate(values)
