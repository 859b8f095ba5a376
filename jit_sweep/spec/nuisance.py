"""Axes that nobody asks about, of which every arm gets its best value with the same effort. Free of torch and Ray."""

import math
from collections.abc import Collection, Iterator
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from jit_sweep.spec.axis_spaces import AxisSpace, Range, sound_axes
from jit_sweep.spec.seeds import RacingSeeds
from search_spaces.axis import AxisValue
from trainables.config.fields import Frozen

FIRST_TUNING = 1_000_000
"""Tuning seeds count from here, where no verdict's seed may be."""
_DRAWN_PER_SETTING = 64
"""Points of the sequence that are looked at for each setting: of few choices many fall together."""
_DIGITS = 3


class Nuisance(Frozen):
    """The same budget of tuning for every arm: each is tried at the same settings on tuning seeds, then trained at its best one
    with the stage's own seeds, which alone the verdicts rest on."""

    axes: Annotated[dict[str, AxisSpace], Field(min_length=1), AfterValidator(sound_axes)]
    """What is tuned, such as the learning rate: a list of choices, or a range. Neither network, batch size, precision nor
    evaluation."""
    trials: Annotated[int, Field(ge=2, le=1000)]
    """Settings that each arm is tried at, spread evenly over the axes; more of them go on with those before."""
    seeds: Annotated[int, Field(ge=1, le=100)] = 1
    """Tuning seeds of each setting; the mean over them chooses."""

    @property
    def settings(self) -> tuple[dict[str, AxisValue], ...]:
        """The values of each setting, the middle of the axes first."""
        found: dict[tuple[AxisValue, ...], dict[str, AxisValue]] = {}
        for point in _points(len(self.axes), count=self.trials * _DRAWN_PER_SETTING):
            values = {name: _at(space, share) for (name, space), share in zip(self.axes.items(), point, strict=True)}
            found.setdefault(tuple(values.values()), values)
            if len(found) == self.trials:
                break
        return tuple(found.values())

    @property
    def tuning_seeds(self) -> tuple[int, ...]:
        """No verdict sees them."""
        return tuple(range(FIRST_TUNING, FIRST_TUNING + self.seeds))

    @model_validator(mode="after")
    def there_are_as_many_settings(self) -> "Nuisance":
        if (count := len(self.settings)) < self.trials:
            raise ValueError(
                f"`trials` must be at most the settings that the axes have, got {self.trials}; write trials: {count}"
            )
        return self


def check_tuned(nuisance: Nuisance | None, *, axes: Collection[str], seeds: Collection[int] | RacingSeeds) -> None:
    """ValueError: arms with these axes and seeds cannot be tuned so."""
    if nuisance is None:
        return
    if asked := [name for name in nuisance.axes if name in axes]:
        rule = "`nuisance` must name other axes than the arms differ in"
        raise ValueError(f"{rule}, got {', '.join(asked)}; leave it out of one of them")
    if isinstance(seeds, RacingSeeds):
        rule = "`nuisance` needs a count or a list of seeds"
        raise ValueError(f"{rule}, got a race from {seeds.min} to {seeds.max}; write seeds: {seeds.max}")
    if used := [seed for seed in seeds if seed >= FIRST_TUNING]:
        rule = f"`seeds` must be below {FIRST_TUNING:,} where arms are tuned, whose tuning seeds begin there"
        raise ValueError(f"{rule}, got {used[0]:,}; count from 0")


def _points(dimensions: int, *, count: int) -> Iterator[tuple[float, ...]]:
    """An additive sequence of low discrepancy from the generalised golden ratio, the root of x^(d+1) = x + 1 (Roberts 2018);
    each beginning of it is spread evenly."""
    root = 2.0
    for _ in range(64):
        root = (1 + root) ** (1 / (dimensions + 1))
    for number in range(count):
        yield tuple((0.5 + number / root ** (axis + 1)) % 1 for axis in range(dimensions))


def _at(space: AxisSpace, share: float) -> AxisValue:
    """The value that lies at a share of an axis, from 0 to below 1; of a range as few digits as people write."""
    if not isinstance(space, Range):
        value: AxisValue = space[int(share * len(space))]
        return value
    if space.whole:
        least, most = int(space.low), int(space.high)
        return min(most, round(least * ((most + 1) / least) ** share) if space.log else least + int(share * (most - least + 1)))
    within = space.low * (space.high / space.low) ** share if space.log else space.low + share * (space.high - space.low)
    digits = _DIGITS - 1 - math.floor(math.log10(abs(within))) if within else _DIGITS
    return min(max(round(float(within), digits), space.low), space.high)
