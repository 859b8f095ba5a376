"""Pairs of a stage's arms that differ in one axis alone."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence

from jit_sweep.plan.questions import PATCH_SIZE
from jit_sweep.results.arms import Arm
from search_spaces.axis import AxisValue

MOST_ALIKE = 16
"""Arms alike but for one axis of which every pair is looked at: of more, one in twenty pairs differs by luck alone."""


def pairs_that_differ_in_one_axis(arms: Sequence[Arm]) -> Iterator[tuple[str, Arm, Arm]]:
    """The axis, other than the patch size, and the two arms, in the given order."""
    axes = list(dict.fromkeys(axis for arm in arms for axis in arm.arm))
    everywhere = {axis for axis in axes if all(axis in arm.arm for arm in arms)}
    for axis in axes:
        if axis == PATCH_SIZE:
            continue
        # Conditional axes come and go with the axis they hang on, and so do not count as a difference of their own.
        shared = everywhere if axis in everywhere else set(axes)
        for alike in _alike(arms, axis=axis, shared=shared - {axis}):
            for a, b in _pairs(alike):
                if a.arm[axis] != b.arm[axis] and _differ_only_in(axis, a, b):
                    yield axis, a, b


def _pairs(alike: Sequence[Arm]) -> Iterator[tuple[Arm, Arm]]:
    """Every pair; of many arms each with the next one only, since all pairs of thousands are millions."""
    return itertools.combinations(alike, 2) if len(alike) <= MOST_ALIKE else itertools.pairwise(alike)


def _alike(arms: Sequence[Arm], *, axis: str, shared: set[str]) -> list[list[Arm]]:
    """The arms that have an axis, grouped by the values of those they must share."""
    groups: defaultdict[frozenset[tuple[str, AxisValue]], list[Arm]] = defaultdict(list)
    for arm in arms:
        if axis in arm.arm:
            groups[frozenset((name, value) for name, value in arm.arm.items() if name in shared)].append(arm)
    return list(groups.values())


def _differ_only_in(axis: str, a: Arm, b: Arm) -> bool:
    both = a.arm.keys() & b.arm.keys()
    return all(a.arm[name] == b.arm[name] for name in both if name != axis)
