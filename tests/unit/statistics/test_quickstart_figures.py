"""The method on scores that a sweep of two patch sizes by two predictions got: Frechet distances, one a seed."""

import math
import re
import statistics
from pathlib import Path

import numpy as np
import pytest

from jit_sweep.statistics.contrasts import ContrastTest, contrast_test
from jit_sweep.statistics.families import holm

X16 = [1214.0644592810493, 1216.197252676457, 1237.8642924072612, 1179.7425893372679, 1247.143092789513, 1202.9796441435296]
V16 = [1574.5679848154236, 1582.6285481722416, 1581.9162208564658, 1583.2943884841118, 1574.6311878611941, 1581.2257884433075]
X4 = [1781.2575544864603, 1768.1808542954686, 1683.252761582285, math.nan, math.nan, math.nan]
V4 = [1564.1324611000566, 1550.4778737246172, 1513.4629980845268, math.nan, math.nan, math.nan]

AT_16, AT_4, INTERACTION = (1, -1, 0, 0), (0, 0, 1, -1), (1, -1, -1, 1)


@pytest.fixture(scope="module")
def tests() -> list[ContrastTest]:
    table = np.log([X16, V16, X4, V4])
    return [contrast_test(table, c) for c in (AT_16, AT_4, INTERACTION)]


def percent(log_ratio: float) -> float:
    return 100 * math.expm1(log_ratio)


def test_effects_and_intervals_are_the_published_ones(tests: list[ContrastTest]) -> None:
    published = [(-23.0, -24.7, -21.3), (13.0, 9.3, 16.9), (-31.5, -34.9, -28.0)]
    for test, figures in zip(tests, published, strict=True):
        found = [percent(float(value)) for value in (test.estimate, *test.interval())]
        assert found == pytest.approx(figures, abs=0.051)


def test_the_interaction_is_as_sure_as_published(tests: list[ContrastTest]) -> None:
    adjusted = holm([test.p for test in tests])
    assert float(adjusted[2]) == pytest.approx(6e-5, rel=0.1)


README_SCORES = {
    "patch_size=16 prediction=x": [1157.09655, 1185.35894, 1188.32535],
    "patch_size=16 prediction=v": [1576.78644, 1578.95320, 1577.68008],
    "patch_size=8 prediction=x": [1067.82760, 1037.81410, 1121.55538],
    "patch_size=8 prediction=v": [1604.66240, 1599.10286, 1591.19123],
}
"""Of the run that README shows: its labels are in the training split's proportions."""


def test_the_readme_shows_the_scores_and_the_effect_of_its_run() -> None:
    readme = re.sub(" +", " ", (Path(__file__).parents[3] / "README.md").read_text())
    for cell, scores in README_SCORES.items():
        row = next(line for line in readme.splitlines() if line.startswith(f"{cell} "))
        assert f"{statistics.mean(scores):.5g} ± {statistics.stdev(scores):.2g}" in row
    table = np.log([*README_SCORES.values()])
    questions = {
        "patch_size=16: prediction=v against x": (-1, 1, 0, 0),
        "patch_size=8: prediction=v against x": (0, 0, -1, 1),
        "prediction=v against x, patch_size=8 against 16": (1, -1, -1, 1),
    }
    effects = []
    for question, weights in questions.items():
        test = contrast_test(table, weights)
        effect, low, high = (percent(float(value)) for value in (test.estimate, *test.interval()))
        assert f"{question} {effect:+.1f} [{low:+.1f}, {high:+.1f}]" in readme
        effects.append(effect)
    said = f"v's distance is {effects[0]:.1f} % above x's at patch 16 and {effects[1]:.1f} % at patch 8"
    assert said in " ".join(readme.split()), "one figure for one contrast"


def test_the_page_on_metrics_shows_the_same_run() -> None:
    page = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith("| `fd_efflite0_96` |") and "±" in line)
    errors = {cell: statistics.stdev(scores) / math.sqrt(len(scores)) for cell, scores in README_SCORES.items()}
    means = [f"{statistics.mean(scores):.4g} ± {errors[cell]:.2g}" for cell, scores in README_SCORES.items()]
    assert [cell.strip() for cell in row.split("|")[2 : 2 + len(means)]] == means
