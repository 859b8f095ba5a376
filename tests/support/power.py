"""What `plan` promises in words, as a chance: of a verdict on a gap that is there."""

from scipy import stats

from jit_sweep.statistics.power import Precision


def power(gap: float, precision: Precision, *, family: int) -> float:
    """P(T'_df(gap / se) > t_{1 - alpha / (2 m), df}): the chance that a true gap is seen by the strictest step of Holm's.

    Source: the noncentral t; Lehmann and Romano 2005, section 5.2.
    """
    return float(stats.nct.sf(stats.t.ppf(1 - 0.05 / (2 * family), precision.dof), precision.dof, gap / precision.se))
