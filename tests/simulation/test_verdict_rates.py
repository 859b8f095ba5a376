"""A small form of `make simulate`'s verdicts: false ones are rare under every noise, and power is what was promised."""

import pytest

from tests.simulation.verdict_rates import (
    CROSSED,
    LEAST_COVERED,
    MOST_FALSE,
    MOST_OFF,
    NOISES,
    Design,
    Noise,
    against_first,
    equivalent_at,
    false_real,
    interaction_seen,
    of_ablation,
    outside,
    raced,
    seen,
)

CELLS = ((CROSSED, 3), (CROSSED, 5), (against_first(8), 3), (against_first(2), 3), (of_ablation("factorial", 3), 3))


@pytest.mark.parametrize(("design", "seeds"), CELLS, ids=lambda value: getattr(value, "name", value))
def test_a_sweep_without_an_effect_is_rarely_called_real_and_intervals_cover_what_they_say(design: Design, seeds: int) -> None:
    rates, covers = zip(*(false_real(noise, design, seeds, seed=n) for n, noise in enumerate(NOISES)), strict=True)
    assert max(rates) <= MOST_FALSE
    assert not outside(rates, covers, design)


@pytest.mark.parametrize("noise", [NOISES[0], NOISES[4]], ids=lambda noise: noise.name)
def test_seeds_that_race_keep_the_rate_of_false_verdicts_which_a_test_at_each_look_would_not(noise: Noise) -> None:
    found = raced(noise, CROSSED, sweeps=2000)
    assert found.false_real <= MOST_FALSE
    assert found.naive > 3 * MOST_FALSE
    assert found.covered >= LEAST_COVERED


def test_a_race_ends_early_where_there_is_much_to_see_and_goes_on_where_there_is_nothing() -> None:
    nothing, much = (raced(NOISES[0], against_first(2), gap=gap, sweeps=1000) for gap in (0.0, 4.0))
    assert nothing.trials > 95
    assert much.trials < 75


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("gap", [1.0, 2.0, 3.0])
def test_a_gap_is_seen_as_often_as_plan_promises(gap: float, seeds: int) -> None:
    found, promised = seen(gap, seeds)
    assert found == pytest.approx(promised, abs=MOST_OFF)


def test_seeds_that_share_luck_see_more_than_is_promised() -> None:
    found, promised = seen(2.0, 3, rho=0.8)
    assert found > promised + 30


def test_an_interaction_is_seen_at_the_predicted_rate() -> None:
    found, promised = interaction_seen(3.0, 5)
    assert found == pytest.approx(promised, abs=MOST_OFF)


def test_arms_at_the_margin_are_rarely_called_equivalent_and_equal_ones_mostly() -> None:
    assert equivalent_at(2.0, 6) < 2.5
    assert equivalent_at(0.0, 10) > 90
