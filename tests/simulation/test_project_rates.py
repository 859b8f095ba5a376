"""A project asks a hundred questions of nothing but noise, as a hostile agent would: it rarely ever promotes a false gain."""

import numpy as np

from jit_sweep.statistics.contrasts import Figures, contrast_test
from jit_sweep.statistics.online import alpha_of

PROJECTS, PROPOSALS, SEEDS = 1000, 100, 3


def ever_promoted(alphas: Figures, *, seed: int) -> float:
    """The share of projects in which a proposal that equals the champion is called better at least once.

    What an agent chooses a proposal by is its own sweep, of which fresh seeds know nothing; it goes on until one succeeds. The
    champion has the same scores against every proposal, so that its bad luck helps them all.
    """
    drawn = np.random.default_rng(seed)
    proposals = drawn.normal(size=(PROJECTS, PROPOSALS, SEEDS))
    champion = np.broadcast_to(drawn.normal(size=(PROJECTS, 1, SEEDS)), proposals.shape)
    test = contrast_test(np.stack([proposals, champion], axis=-2), [1.0, -1.0])
    return float(((test.p <= alphas) & (test.estimate < 0)).any(axis=-1).mean())


def test_of_a_thousand_projects_at_most_one_in_twenty_ever_promotes_a_false_gain_and_most_would_without_it() -> None:
    spent = np.array([alpha_of(number) for number in range(1, PROPOSALS + 1)])
    assert ever_promoted(spent, seed=1) <= 0.05
    assert ever_promoted(np.full(PROPOSALS, 0.05), seed=1) > 0.5
    assert spent.sum() < 0.05
