"""Questions that are asked again as seeds come in: O'Brien and Fleming's boundaries, fixed before the first look.

Look k has the share t_k of the seeds, and its own p gives z_k = -Phi^-1(p / 2). Without an effect |z_k| sqrt(t_k) goes like
|B(t_k)| of a Brownian motion, so that w = max_k z_k sqrt(t_k) is rarely large: early looks must see much, and the last one
hardly more than a single test.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from jit_sweep.statistics.contrasts import Figures

NODES = 64
"""Of the quadrature between the boundaries."""
FURTHEST, STEP = 9.0, 0.2
"""Of w: further out there is no p above 1e-18."""


class Looks:
    """Looks at fixed counts of seeds, and how rare what one sees there is."""

    def __init__(self, counts: Sequence[int]) -> None:
        """`counts`: of the seeds at each look, rising. Source: Armitage, McPherson and Rowe 1969 for the recursion."""
        from scipy.interpolate import PchipInterpolator  # slow to import

        self.shares = np.asarray(counts, dtype=np.float64) / counts[-1]
        self._w = np.arange(0.0, FURTHEST + STEP / 2, STEP)
        self._nodes, self._weights = np.polynomial.legendre.leggauss(NODES)
        self._log_tail = np.log([self._tail(w) for w in self._w])
        self._at = PchipInterpolator(self._w, self._log_tail)

    def p(self, own: ArrayLike) -> Figures:
        """P(max over all looks |B(t)| >= w) of the p values of the first looks, [looks, ...]; NaN where the last has none.

        Source: O'Brien and Fleming 1979; Jennison and Turnbull 2000, section 4.4 for t tests by their p values.
        """
        from scipy.special import ndtri  # slow to import

        each = np.asarray(own, dtype=np.float64)
        shares = self.shares[: len(each)].reshape(-1, *[1] * (each.ndim - 1))
        with np.errstate(divide="ignore"):
            w = np.nan_to_num(-ndtri(each / 2), nan=0.0, posinf=np.inf) * np.sqrt(shares)
        tail = np.exp(self._at(np.clip(w.max(axis=0), 0.0, FURTHEST)))
        return np.asarray(np.where(np.isnan(each[-1]), np.nan, tail))

    def level(self, look: int, *, alpha: float) -> float:
        """The p that a look must have by itself for all of them together to keep `alpha`."""
        from scipy.interpolate import PchipInterpolator
        from scipy.special import ndtr  # slow to import

        w = float(PchipInterpolator(-self._log_tail, self._w)(-np.log(alpha)))
        return float(2 * ndtr(-w / np.sqrt(self.shares[look])))

    def _tail(self, w: float) -> float:
        """One less the chance that |B| stays below w at every look; at least that of the last look alone."""
        from scipy.special import ndtr  # slow to import

        if w == 0:
            return 1.0
        at, weights = w * self._nodes, w * self._weights
        density = _normal(at, self.shares[0])
        for step in np.diff(self.shares):
            density = _normal(at[:, None] - at, step) @ (weights * density)
        return max(1.0 - float(weights @ density), float(2 * ndtr(-w)))


def _normal(x: Figures, variance: float) -> Figures:
    return np.asarray(np.exp(-(x**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance))
