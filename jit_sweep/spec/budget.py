"""What a sweep may spend: when a trial is done, and when the sweep is."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from trainables.config.fields import Frozen, PositiveFloat, PositiveInt

Hours = Annotated[PositiveFloat, Field(le=1e6)]
"""A century and more."""
Money = Annotated[PositiveFloat, Field(le=1e12)]
Matched = Literal["images", "flops", "device_seconds"]
MatchedBoth = Literal["images", "flops", "device_seconds", "both"]


class Budget(Frozen):
    """When a trial is done, and when the sweep is: it ends cleanly before anything of this is overspent."""

    images_per_trial: PositiveInt
    """Images that a trial trains on, a multiple of its batch size."""
    matched: MatchedBoth = "images"
    """What the arms of grids and ablations are given the same of: each `images_per_trial` images, or as many images as cost the
    training FLOPs of the baseline's, or its device-seconds at the speeds that `plan --probe` measured on this machine. `both`:
    each grid and ablation at equal images, and once more at equal FLOPs, as stages of their own after the file's."""
    count_earlier_stages: bool = False
    """Whether the training FLOPs and device-seconds of an arm count those of the trials of earlier stages that it is trained
    with: of what encodes its images, and of what it starts from. Each arm bears all of them, as if it were alone.
    Tables, curves and verdicts count these FLOPs too; hours in tables are an arm's own."""
    rungs: Annotated[PositiveInt, Field(le=1000)] = 4
    """Equally spaced points, the last at the end, where the rung metric is measured and the ledger asked. Schedulers with a
    `reduction` set their own."""
    total_images: PositiveInt | None = None
    """Images that all trials together may train on."""
    gpu_hours: Hours | None = None
    """GPU-hours of all attempts together; CPU-hours where a trial has no GPU."""
    wall_hours: Hours | None = None
    """Hours from the sweep's first start, in which it ran."""
    money: Money | None = None
    """What all device-hours together may cost at `price_per_gpu_hour`, in any currency."""
    price_per_gpu_hour: Money | None = None
    """Of a GPU-hour; of a CPU-hour where a trial has no GPU."""
    trials: PositiveInt | None = None
    """Trials that may begin."""

    @property
    def is_limited(self) -> bool:
        """Whether the sweep may end before its trials do."""
        limits = (self.total_images, self.gpu_hours, self.wall_hours, self.money, self.trials)
        return any(limit is not None for limit in limits)

    @model_validator(mode="after")
    def money_has_a_price(self) -> Self:
        if self.money is not None and self.price_per_gpu_hour is None:
            rule = "`money` needs `price_per_gpu_hour` beside it"
            raise ValueError(f"{rule}, got money={self.money:g} alone; add what an hour costs, such as 2.5")
        return self
