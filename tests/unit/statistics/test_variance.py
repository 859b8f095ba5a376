"""Training again and drawing again are told apart, exactly where scores are sums, and without bias where they are not."""

import numpy as np
import pytest

from jit_sweep.statistics.variance import components, mean_correlation


def test_a_sum_of_weights_and_noise_gives_both_back_exactly() -> None:
    weights, noise = np.array([3.0, -1.0, 7.0]), np.array([0.5, -0.5, 2.0, 0.0])
    found = components((weights[:, None] + noise).tolist())
    assert found.retraining == pytest.approx(weights.std(ddof=1))
    assert found.resampling == pytest.approx(noise.std(ddof=1))


def test_many_tables_average_to_the_truth_though_draws_are_few() -> None:
    draws = np.random.default_rng(0)
    tables = [draws.normal(0, 2, (5, 1)) + draws.normal(0, 1, (1, 3)) + draws.normal(0, 1, (5, 3)) for _ in range(4000)]
    found = [components(table.tolist()) for table in tables]
    assert np.mean([each.retraining**2 for each in found]) == pytest.approx(4.0, rel=0.05)
    assert np.mean([each.resampling**2 for each in found]) == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("scores", [[[1.0, 2.0]], [[1.0], [2.0]]])
def test_one_seed_of_either_kind_tells_nothing(scores: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="2 seeds of training and 2 of sampling"):
        components(scores)


def test_arms_that_move_together_over_seeds_correlate() -> None:
    one = {0: 1.0, 1: 2.0, 2: 4.0}
    assert mean_correlation([one, {seed: 3 * value for seed, value in one.items()}]) == pytest.approx(1.0)
    assert mean_correlation([one, {seed: -value for seed, value in one.items()}]) == pytest.approx(-1.0)
    assert mean_correlation([one, {0: 1.0, 1: 2.0}]) is None
    assert mean_correlation([one]) is None
