"""What is wrong with a sweep, found while it is planned."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import ValidationError

from search_spaces.axes import AXES
from search_spaces.axis import AxisValue
from search_spaces.cells import arm_label
from trainables.config.fields import and_more
from trainables.config.wording import rule_of


@dataclass(frozen=True)
class Fault:
    """A rule that a part of the sweep breaks."""

    key: str
    """The part, by its key in the sweep file, such as `stages[0].grid`."""
    reason: str
    """The rule, the value and the remedy."""
    cell: str = ""
    """The axis values that break it, in words; empty where they do not matter."""

    @classmethod
    def of_cell(cls, errors: Iterable[ValueError], *, key: str, values: Mapping[str, AxisValue]) -> list[Self]:
        """All that a combination of axis values was refused for."""
        reasons = dict.fromkeys(reason for error in errors for reason in _reasons(error))
        return [cls(key, reason, arm_label(values)) for reason in reasons]

    @property
    def where(self) -> str:
        return f"{self.key}: {self.cell}" if self.cell else self.key

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


def missing_axes(axes: Iterable[str], cells: Iterable[Mapping[str, AxisValue]], *, key: str) -> list[Fault]:
    """A fault for each axis that exists in none of these cells: its values would change nothing, and no table would show it."""
    met = {axis for values in cells for axis in values}
    return [Fault(f"{key}.axes.{axis}", _missing(axis)) for axis in axes if axis not in met]


def _missing(axis: str) -> str:
    condition = AXES[axis].condition
    rule = f"`{axis}` must exist in some cell, and it does only where {condition}, got none"
    return f"{rule}; set {condition} in the baseline or as an axis, or leave {axis} out"


def by_reason(faults: Iterable[Fault]) -> list[str]:
    """A line for each reason, with the first cell that it stands for and how many more there are."""
    groups: dict[str, list[Fault]] = {}
    for fault in faults:
        groups.setdefault(fault.reason, []).append(fault)
    return [f"{group[0].where}{and_more(len(group) - 1, 'cell')}: {reason}" for reason, group in groups.items()]


def _reasons(error: ValueError) -> list[str]:
    return [_named(item) for item in error.errors()] if isinstance(error, ValidationError) else [str(error)]


def _named(item: Any) -> str:
    """What pydantic found, with its key; a rule over several keys names them itself."""
    rule = rule_of(item)
    return f"`{item['loc'][-1]}` {rule}" if item["loc"] and rule.startswith("must ") else rule
