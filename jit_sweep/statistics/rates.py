"""How often seeds are lost or collapse: exact intervals and an exact test of two rates."""

from jit_sweep.statistics.student_t import LEVEL, Interval


def rate_interval(events: int, trials: int) -> Interval:
    """The exact 95 % interval of a rate.

    Source: Clopper and Pearson 1934, by the quantiles of the beta distribution.
    """
    from scipy.special import betaincinv  # slow to import

    tail = (1 - LEVEL) / 2
    low = 0.0 if events == 0 else float(betaincinv(events, trials - events + 1, tail))
    high = 1.0 if events == trials else float(betaincinv(events + 1, trials - events, 1 - tail))
    return Interval(low, high)


def same_rate_p(a: tuple[int, int], b: tuple[int, int]) -> float:
    """Two-sided p that two rates, each (events, trials), are one. Source: Fisher's exact test, 1922."""
    from scipy.stats import fisher_exact  # slow to import

    table = [[events, trials - events] for events, trials in (a, b)]
    return float(fisher_exact(table).pvalue)
