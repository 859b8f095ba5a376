"""The bias of choosing the best."""

import random
from statistics import fmean

import pytest

from jit_sweep.statistics.selection import best_of_normals


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4, 12, 24])
def test_the_best_of_equal_normals_is_as_good_as_drawn(count: int) -> None:
    source = random.Random(count)
    drawn = fmean(max(source.gauss(0, 1) for _ in range(count)) for _ in range(20_000))
    assert best_of_normals(count) == pytest.approx(drawn, abs=0.04)


def test_one_alone_is_not_chosen() -> None:
    assert best_of_normals(1) == pytest.approx(0)
