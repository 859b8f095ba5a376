"""Figures: marks at round values, every shape on the sheet, alone and in a page the same bytes."""

import math
import re
from xml.etree import ElementTree

import pytest

from jit_sweep.report.curves import Curve, Point
from jit_sweep.report.figures.forest import Bar, forest_figure
from jit_sweep.report.figures.learning import MOST_CURVES, learning_figure
from jit_sweep.report.figures.scale import scale_of
from jit_sweep.report.figures.searches import (
    front_figure,
    history_figure,
    importance_figure,
    parallel_figure,
    search_figures,
    slice_figure,
)
from jit_sweep.report.figures.svg import Figure
from jit_sweep.report.search_stages import Proposal, SearchedStage
from jit_sweep.search.history import Observation
from jit_sweep.search.importance import LEAST_PROPOSALS, importances
from jit_sweep.spec.stages import SearchSpec

ERROR = "heldout_v_error"


def curve(label: str, values: list[float], *, sd: float | None = 0.01) -> Curve:
    points = [Point(1000 * (place + 1), 10**9 * (place + 1), value, sd, 3) for place, value in enumerate(values)]
    return Curve(ERROR, {"prediction": label}, label, tuple(points))


def places_of(figure: Figure) -> list[float]:
    """Every coordinate of a figure that is not within a path's letters."""
    tree = ElementTree.fromstring(figure.svg)
    numbers = [float(each.get(name, "0")) for each in tree.iter() for name in ("x", "y", "cx", "cy", "x1", "x2", "y1", "y2")]
    paths = [float(number) for each in tree.iter() if each.get("d") for number in re.findall(r"-?[\d.]+", each.get("d", ""))]
    return numbers + paths


@pytest.mark.parametrize(
    ("values", "log", "ticks"),
    [
        ([0.0, 10.0], False, [0, 2, 4, 6, 8, 10]),
        ([1216.0, 1744.0], False, [1200, 1300, 1400, 1500, 1600, 1700]),
        ([1e3, 1e6], True, [1e3, 1e4, 1e5, 1e6]),
        ([2e3, 2e4], True, [2e3, 5e3, 1e4, 2e4]),
    ],
)
def test_marks_stand_at_round_values_within_the_axis(values: list[float], log: bool, ticks: list[float]) -> None:
    scale = scale_of(values, start=0, end=100, log=log)
    assert scale.ticks() == pytest.approx(ticks)
    assert scale(values[0]) < scale(values[-1])


@pytest.mark.parametrize("values", [[], [5.0], [math.nan, math.inf], [0.0, 0.0], [-1e-300, 1e300], [1e-12, 1.0]])
def test_an_axis_exists_for_any_values(values: list[float]) -> None:
    scale = scale_of(values, start=0, end=100)
    assert scale.low < scale.high
    assert all(scale.low <= tick <= scale.high for tick in scale.ticks())


def test_a_figure_is_xml_with_a_title_and_what_it_shows_in_words() -> None:
    figure = learning_figure([curve("x", [0.5, 0.3]), curve('<v> & "w"', [1.0, 0.9])], against="images")
    tree = ElementTree.fromstring(figure.svg)
    words = [each.text for each in tree.iter() if each.text]
    assert "x ends at 0.3" in figure.alt
    assert figure.alt in words
    assert '<v> & "w"' in words


def test_nothing_is_drawn_off_the_sheet() -> None:
    figures = [
        learning_figure([curve("x", [5.0, 0.3, 0.0001], sd=3.0)], against="flops"),
        forest_figure([Bar("a question " * 12, -363.0, -391.0, -336.0, "%", "REAL")], metric=ERROR),
        history_figure([Proposal(1, {"learning_rate": 1e-3}, 2.0, False)], metric=ERROR),
    ]
    for figure in figures:
        width = float(ElementTree.fromstring(figure.svg).get("width", "0"))
        assert all(-1 <= place <= width + 1 for place in places_of(figure))


def test_a_figure_draws_as_many_curves_as_can_be_told_apart() -> None:
    figure = learning_figure([curve(f"arm {index}", [1.0, 0.5]) for index in range(MOST_CURVES + 9)], against="images")
    assert f"arm {MOST_CURVES - 1}<" in figure.svg
    assert f"arm {MOST_CURVES}<" not in figure.svg


def test_the_best_so_far_passes_over_proposals_that_collapsed() -> None:
    proposals = [Proposal(1, {}, 3.0, False), Proposal(2, {}, 1.0, True), Proposal(3, {}, 2.0, False)]
    assert "the best scores 2" in history_figure(proposals, metric=ERROR).alt


def test_all_axes_at_once_show_words_and_numbers_and_pass_over_an_axis_that_a_proposal_has_not() -> None:
    proposals = [
        Proposal(1, {"prediction": "x", "learning_rate": 1e-3}, 2.0, False),
        Proposal(2, {"prediction": "v", "learning_rate": 1e-4, "t_mu": 0.5}, 1.0, False),
        Proposal(3, {"prediction": "<eps>", "learning_rate": 1e-2}, 0.1, True),
    ]
    figure = parallel_figure(proposals, ["prediction", "learning_rate", "t_mu"], metric=ERROR)
    assert figure is not None
    assert figure.alt == "best: 1: prediction v, learning_rate 0.0001, t_mu 0.5"
    assert ">v</text>" in figure.svg
    assert "eps" not in figure.svg  # it collapsed
    width = float(ElementTree.fromstring(figure.svg).get("width", "0"))
    assert all(-1 <= place <= width + 1 for place in places_of(figure))
    assert parallel_figure(proposals, ["prediction"], metric=ERROR) is None


def test_the_front_is_drawn_of_a_search_with_two_objectives_alone() -> None:
    proposals = tuple(
        Proposal(number, {"width": number}, float(number), False, (float(number), 3.0 - number), number < 3)
        for number in (1, 2, 3)
    )
    stage = SearchedStage(1, (ERROR, "forward_gflops"), ("minimize", "minimize"), proposals, ())
    figure = front_figure(stage)
    assert figure is not None
    assert figure.alt == "on the front: 1, 2; 2, 1"
    alone = SearchedStage(1, (ERROR,), ("minimize",), (Proposal(1, {}, 1.0, False),), ())
    assert front_figure(alone) is None
    assert [each.name for each in search_figures(alone, metric=ERROR)] == ["search-history"]


def test_the_axis_that_makes_the_best_proposals_matters_most_and_each_share_has_its_interval() -> None:
    axes = {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "noise_scale": {"low": 0.5, "high": 2.0}}
    search = SearchSpec.model_validate({"sampler": "tpe", "axes": axes, "trials": 40})
    seen = [
        Observation({"learning_rate": 10 ** (-4 + n / 20), "noise_scale": 0.5 + n * 7 % 40 / 40}, "scored", (float(n),))
        for n in range(40)
    ]
    first, second = importances(search, seen, direction="minimize")
    assert (first.axis, second.axis) == ("learning_rate", "noise_scale")
    assert first.share + second.share == pytest.approx(1.0)
    assert first.low <= first.share <= first.high
    assert first.low > second.high
    figure = importance_figure([first, second], metric=ERROR)
    assert figure is not None
    assert figure.alt.startswith("learning_rate ")
    assert importances(search, seen[: LEAST_PROPOSALS - 1], direction="minimize") == []
    assert importance_figure([], metric=ERROR) is None


def test_an_axis_without_two_numbers_has_no_slice() -> None:
    words = [Proposal(number, {"prediction": "x", "learning_rate": 1e-3}, 1.0, False) for number in (1, 2)]
    assert slice_figure(words, axis="prediction", metric=ERROR) is None
    assert slice_figure(words, axis="learning_rate", metric=ERROR) is None
