"""What a sweep asks of its arms, by default and as its file has it."""

import itertools
from typing import Any

import pytest

from jit_sweep.plan.questions import planned_questions
from jit_sweep.spec.stages import Grid

AXES: dict[str, list[Any]] = {"patch_size": [16, 4], "prediction": ["x", "v"], "learning_rate": [0.1, 0.2, 0.3]}


def cells(*axes: str) -> list[dict[str, Any]]:
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*(AXES[axis] for axis in axes))]


def labels(of: list[dict[str, Any]], *, grid: dict[str, Any] | None = None, **baseline: Any) -> list[str]:
    planned = Grid.model_validate({"axes": AXES, **grid}) if grid is not None else None
    return [question.label for question in planned_questions(of, baseline=baseline, grid=planned)]


def test_two_crossed_axes_ask_within_each_patch_size_and_for_the_difference_of_differences() -> None:
    assert labels(cells("patch_size", "prediction"), prediction="v", patch_size=4) == [
        "patch_size=16: prediction=x against v",
        "patch_size=4: prediction=x against v",
        "prediction=x against v, patch_size=16 against 4",
    ]


def test_twelve_arms_ask_eleven_questions_and_not_sixty_six() -> None:
    assert len(labels(cells("patch_size", "prediction", "learning_rate"))) == 11
    assert len(labels([{"learning_rate": float(n)} for n in range(12)])) == 11


def test_each_level_stands_against_the_baseline_s_or_where_the_grid_lacks_it_the_first() -> None:
    assert labels(cells("learning_rate"), learning_rate=0.2) == [
        "learning_rate=0.1 against 0.2",
        "learning_rate=0.3 against 0.2",
    ]
    assert labels(cells("learning_rate"), learning_rate=7.0)[0] == "learning_rate=0.2 against 0.1"


def test_patch_sizes_are_never_compared_by_themselves() -> None:
    assert labels(cells("patch_size")) == []
    assert labels(cells("patch_size"), grid={"contrasts": [{"axis": "patch_size"}]}) == []


def test_a_conditional_axis_is_no_difference_of_its_own() -> None:
    arms: list[dict[str, Any]] = [
        *({"t_sampling": "logit_normal", "t_mu": mu} for mu in (-0.8, 0.0)),
        {"t_sampling": "uniform"},
    ]
    assert labels(arms) == ["t_sampling=uniform against logit_normal", "t_sampling=logit_normal: t_mu=0.0 against -0.8"]


def test_weights_sum_to_zero_and_an_interaction_s_pairs_lie_along_its_last_axis() -> None:
    *_, interaction = planned_questions(cells("patch_size", "prediction"), baseline={})
    assert interaction.weights == (1.0, -1.0, -1.0, 1.0)
    assert interaction.pair_labels == (
        ("patch_size=4 prediction=v", "patch_size=4 prediction=x"),
        ("patch_size=16 prediction=v", "patch_size=16 prediction=x"),
    )


@pytest.mark.parametrize(
    ("grid", "asked"),
    [
        ({"contrasts": []}, []),
        (
            {"contrasts": [{"axis": "prediction", "where": {"patch_size": 4}, "against": "v"}]},
            ["patch_size=4: prediction=x against v"],
        ),
        (
            {"contrasts": [], "interactions": [["patch_size", "prediction"]]},
            ["prediction=v against x, patch_size=4 against 16"],
        ),
    ],
)
def test_what_a_file_plans_is_asked_and_nothing_else(grid: dict[str, Any], asked: list[str]) -> None:
    assert labels(cells("patch_size", "prediction"), grid=grid) == asked


def test_a_contrast_without_where_is_asked_wherever_the_other_axes_stand() -> None:
    of = cells("prediction", "learning_rate")
    assert labels(of, grid={"contrasts": [{"axis": "prediction"}]}) == [
        f"learning_rate={rate}: prediction=v against x" for rate in (0.1, 0.2, 0.3)
    ]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"contrasts": [{"axis": "prediction", "against": "eps"}]}, "`against` must be `baseline` or a value.*got eps"),
        ({"interactions": [["patch_size", "width"]]}, "`interactions` must name axes of this grid, got 'width'"),
        ({"interactions": [["patch_size", "patch_size"]]}, "`interactions` must name two axes each, got patch_size twice"),
    ],
)
def test_a_question_that_the_grid_cannot_answer_is_refused(grid: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Grid.model_validate({"axes": AXES, **grid})


def test_a_question_is_the_same_in_another_stage_and_another_one_with_other_arms() -> None:
    one, *_ = planned_questions(cells("patch_size", "prediction"), baseline={})
    again, *_ = planned_questions(cells("patch_size", "prediction")[:2], baseline={})
    other, *_ = planned_questions(cells("prediction"), baseline={})
    assert one.key == again.key != other.key
