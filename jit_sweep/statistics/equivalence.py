"""When two arms are as good as each other, which is more than that no difference was seen."""

import numpy as np
from numpy.typing import NDArray

from jit_sweep.statistics.contrasts import ContrastTest
from jit_sweep.statistics.student_t import t_upper


def equivalent(test: ContrastTest, *, margin: float, alpha: float = 0.05, family: int = 1) -> NDArray[np.bool_]:
    """Whether |estimate| + t_{1 - alpha / m} se < margin, [...]: two one-sided tests, of one of `family` questions.

    Source: Schuirmann 1987.
    """
    return np.asarray(np.abs(test.estimate) + t_upper(test.dof, tail=alpha / family) * test.se < margin)
