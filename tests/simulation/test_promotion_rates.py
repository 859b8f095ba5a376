"""A small form of `make simulate`'s promotions: a chosen score is too good, and a fresh one is what it says."""

import pytest

from tests.simulation.promotion_rates import rates


@pytest.mark.parametrize(("arms", "bias"), [(4, -0.60), (24, -1.09)])
def test_a_chosen_score_is_too_good_by_what_is_told_and_fresh_seeds_are_not(arms: int, bias: float) -> None:
    found = rates(arms, seed=7, sweeps=2000)
    assert found.own_bias == pytest.approx(bias, abs=0.06)
    assert found.told_bias == pytest.approx(found.own_bias, abs=0.06)
    assert found.fresh_bias == pytest.approx(0, abs=0.04)
    assert found.covers_mean == pytest.approx(95, abs=1.5)
    assert found.covers_rerun == pytest.approx(95, abs=1.5)
    assert found.own_covers < 93.5
