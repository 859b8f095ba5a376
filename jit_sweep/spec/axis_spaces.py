"""What an axis may be in a sweep file: a list of values, or a range. Free of torch and Ray."""

from collections.abc import Collection
from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, Tag, model_validator

from search_spaces.axes import AXES
from search_spaces.axis import AxisValue
from trainables.config.fields import FiniteFloat, Frozen
from trainables.config.spelling import did_you_mean

Number = Annotated[int, Field(strict=True)] | FiniteFloat
Choices = tuple[Any, ...]
"""Values of an axis; `sound_axes` checks each by the axis's own rule and leaves `AxisValue`s."""


class Range(Frozen):
    """A continuous or integer interval to search, both ends included."""

    low: Number
    """The smallest value."""
    high: Number
    """The largest value. Whole numbers at both ends make a range of whole numbers."""
    log: bool = False
    """Sample uniformly in the logarithm."""

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers only."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def holds(self, value: AxisValue) -> bool:
        """Whether a value lies in it."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        return self.low <= value <= self.high

    @model_validator(mode="after")
    def range_is_ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"`low` must be below high, got low={self.low}, high={self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"`low` must be positive on a logarithmic range, got low={self.low}")
        return self


def holds_value(space: Any, value: AxisValue) -> bool:
    if isinstance(space, Range):
        return space.holds(value)
    # True is not 1 here.
    return any(choice == value and isinstance(choice, bool) == isinstance(value, bool) for choice in space)


def _shape_of_axis(value: Any) -> str:
    return "range" if isinstance(value, dict | Range) else "choices"


AxisSpace = Annotated[Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")], Discriminator(_shape_of_axis)]


def sound_axes(axes: dict[str, Any]) -> dict[str, Any]:
    """The axes with their values checked; every fault of every axis in one ValueError."""
    sound, faults = dict[str, Any](), list[str]()
    for name, values in axes.items():
        try:
            sound[name] = _space(name, values)
        except ValueError as error:
            faults.append(str(error))
    if faults:
        raise ValueError("; ".join(faults))
    return sound


def _space(name: str, values: Any) -> Any:
    if name not in AXES:
        if name == "seed":
            raise ValueError("an axis must change what is compared, got 'seed'; write `seeds` beside the axes")
        raise ValueError(f"an axis must be a registered one, got {name!r}; {remedy(name, AXES)}")
    if isinstance(values, Range):
        return values.model_copy(update={end: AXES[name].check(getattr(values, end)) for end in ("low", "high")})
    if not values:
        raise ValueError(f"axis `{name}` must have at least one value, got none")
    checked = _all_checked(name, values)
    if len(set(checked)) < len(checked):
        raise ValueError(f"axis `{name}` must not repeat a value, got {list(values)}")
    return checked


def _all_checked(name: str, values: Any) -> tuple[AxisValue, ...]:
    """The values as the axis takes them. ValueError: those that it does not take, all in one."""
    checked, faults = list[AxisValue](), list[str]()
    for value in values:
        try:
            checked.append(AXES[name].check(value))
        except ValueError as error:
            faults.append(str(error))
    if faults:
        raise ValueError("; ".join(dict.fromkeys(faults)))
    return tuple(checked)


def refuse_unknown(names: Collection[str], known: Collection[str], *, rule: str) -> None:
    """ValueError: some names are not known; each with what was probably meant."""
    if faults := [f"{rule}, got {name!r}; {remedy(name, known)}" for name in names if name not in known]:
        raise ValueError("; ".join(faults))


def remedy(name: str, known: Collection[str]) -> str:
    """What was probably meant, or all there is."""
    return did_you_mean(name, known, otherwise=f"there are {', '.join(known)}")
