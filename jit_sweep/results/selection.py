"""A part of a sweep's results: the cells with certain axis values, and the groups that an axis makes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from jit_sweep.errors import UserError
from jit_sweep.results.leaderboard import Results
from search_spaces.axes import AXES
from search_spaces.axis import AxisValue
from search_spaces.cells import arm_label
from trainables.config.spelling import did_you_mean
from trainables.config.yaml import parsed


def conditions(given: Sequence[str], *, option: str) -> dict[str, AxisValue]:
    """Axis values from `axis=value` words, values as a sweep file has them; `option`: where they were given.

    UserError: no such axis, or not a value of it.
    """
    values: dict[str, AxisValue] = {}
    for word in given:
        axis, equals, text = word.partition("=")
        if not equals:
            raise UserError(f"`{option}` must be AXIS=VALUE, got {word!r}")
        name = known_axis(axis, option=option)
        values[name] = _value(name, text, option=option)
    return values


def known_axis(name: str, *, option: str) -> str:
    """A registered axis. UserError: there is none of this name."""
    if name not in AXES:
        remedy = did_you_mean(name, AXES, otherwise=f"there are {', '.join(AXES)}")
        raise UserError(f"`{option}` must name an axis, got {name!r}; {remedy}")
    return name


def where(results: Results, values: Mapping[str, AxisValue]) -> Results:
    """The arms and searched trials that have these axis values. UserError: there are none."""
    if not values:
        return results

    def fits(arm: Mapping[str, AxisValue]) -> bool:
        return all(axis in arm and arm[axis] == value for axis, value in values.items())

    arms = tuple(arm for arm in results.arms if fits(arm.arm))
    searched = tuple(trial for trial in results.searched if fits(trial.entry.arm))
    if not arms and not searched:
        raise UserError(f"`--where` must leave some cells, got none with {arm_label(values)} in the sweep {results.sweep!r}")
    retired = tuple(trial for trial in results.retired if fits({**trial.entry.base, **trial.entry.arm}))
    found = results.findings.among({arm.label for arm in arms})
    return replace(results, arms=arms, searched=searched, retired=retired, findings=found)


def by_axes(results: Results, axes: Sequence[str]) -> list[Results]:
    """The results of each combination of these axes' values, the first axis slowest (`by_axis`); all in one without an axis."""
    if not axes:
        return [results]
    first, *others = dict.fromkeys(axes)
    return [part for group in by_axis(results, first).values() for part in by_axes(group, others)]


def by_axis(results: Results, axis: str) -> dict[str, Results]:
    """The results of each value of an axis, in order of appearance; what does not have the axis comes last."""
    cells = [*(arm.arm for arm in results.arms), *(trial.entry.arm for trial in results.searched)]
    values = list(dict.fromkeys(cell[axis] for cell in cells if axis in cell))
    groups = {arm_label({axis: value}): where(results, {axis: value}) for value in sorted(values, key=_order)}
    without = tuple(arm for arm in results.arms if axis not in arm.arm)
    rest = replace(
        results,
        arms=without,
        findings=results.findings.among({arm.label for arm in without}),
        searched=tuple(trial for trial in results.searched if axis not in trial.entry.arm),
        retired=tuple(trial for trial in results.retired if axis not in {**trial.entry.base, **trial.entry.arm}),
    )
    return groups | ({f"without {axis}": rest} if rest.arms or rest.searched else {})


def _value(axis: str, text: str, *, option: str) -> AxisValue:
    try:
        return AXES[axis].check(None if text == "none" else parsed(text))
    except ValueError as error:
        raise UserError(f"`{option}`: {error}") from None


def _order(value: AxisValue) -> tuple[bool, float, str]:
    number = isinstance(value, int | float)
    return not number, float(value) if isinstance(value, int | float) else 0.0, str(value)
