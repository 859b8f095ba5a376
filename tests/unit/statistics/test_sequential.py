"""Boundaries of several looks: published ones, and what must hold of them."""

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from jit_sweep.statistics.sequential import Looks


@pytest.mark.parametrize(("looks", "constant"), [(2, 1.977), (3, 2.004), (4, 2.024), (5, 2.040)])
def test_the_last_boundary_is_o_brien_and_fleming_s(looks: int, constant: float) -> None:
    """Constants: Jennison and Turnbull 2000, table 2.3, alpha = 0.05."""
    last = -ndtri(Looks(range(1, looks + 1)).level(-1, alpha=0.05) / 2)
    assert last == pytest.approx(constant, abs=2e-3)


def test_one_look_is_one_test() -> None:
    assert Looks([5]).p([[0.03, 0.2]]) == pytest.approx([0.03, 0.2], rel=1e-3)


def test_a_look_at_its_own_level_has_alpha_and_no_later_look_takes_it_back() -> None:
    looks = Looks(range(3, 9))
    for place in range(6):
        level = looks.level(place, alpha=0.05)
        assert float(looks.p([0.9] * place + [level])) == pytest.approx(0.05, rel=1e-2)
        assert float(looks.p([0.9] * place + [level, 0.9][: 6 - place])) == pytest.approx(0.05, rel=1e-2)


def test_without_an_effect_p_is_below_alpha_as_often_as_alpha_says() -> None:
    sums = np.cumsum(np.random.default_rng(1).normal(size=(8, 40_000)), axis=0)
    own = 2 * ndtr(-np.abs(sums[2:]) / np.sqrt(np.arange(3, 9))[:, None])
    looks = Looks(range(3, 9))
    for alpha in (0.05, 0.01):
        assert float((looks.p(own) <= alpha).mean()) == pytest.approx(alpha, abs=0.004)
    assert float((own <= 0.05).any(axis=0).mean()) > 0.12


def test_no_test_at_the_last_look_has_no_p() -> None:
    assert np.isnan(Looks([3, 4]).p([0.01, np.nan]))
