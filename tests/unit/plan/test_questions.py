"""What a sweep asks of its arms, by default and as its file has it."""

import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from jit_sweep.plan.questions import Question, planned_questions
from jit_sweep.spec.ablations import Ablation
from jit_sweep.spec.stages import Grid

AXES: dict[str, list[Any]] = {"patch_size": [16, 4], "prediction": ["x", "v"], "learning_rate": [0.1, 0.2, 0.3]}


def cells(*axes: str) -> list[dict[str, Any]]:
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*(AXES[axis] for axis in axes))]


def labels(of: list[dict[str, Any]], *, grid: dict[str, Any] | None = None, **baseline: Any) -> list[str]:
    planned = Grid.model_validate({"axes": AXES, **grid}) if grid is not None else None
    return [question.label for question in planned_questions(of, baseline=baseline, design=planned)]


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


def test_patch_sizes_are_compared_where_the_file_asks_for_it_and_never_by_themselves() -> None:
    assert labels(cells("patch_size")) == []
    assert labels(cells("patch_size"), grid={"contrasts": [{"axis": "patch_size"}]}) == ["patch_size=4 against 16"]


def test_a_conditional_axis_is_no_difference_of_its_own() -> None:
    arms: list[dict[str, Any]] = [
        *({"t_sampling": "logit_normal", "t_mu": mu} for mu in (-0.8, 0.0)),
        {"t_sampling": "uniform"},
    ]
    assert labels(arms) == ["t_sampling=uniform against logit_normal", "t_sampling=logit_normal: t_mu=0.0 against -0.8"]


def test_an_interaction_s_pairs_lie_along_its_last_axis() -> None:
    *_, interaction = planned_questions(cells("patch_size", "prediction"), baseline={})
    assert interaction.weights == (1.0, -1.0, -1.0, 1.0)
    assert interaction.labels == (
        "patch_size=4 prediction=v",
        "patch_size=4 prediction=x",
        "patch_size=16 prediction=v",
        "patch_size=16 prediction=x",
    )


def test_a_question_in_words_names_what_differs_and_where() -> None:
    one, _, interaction = planned_questions(cells("patch_size", "prediction"), baseline={})
    assert one.in_words == "Is prediction=v better or worse than prediction=x at patch_size=16?"
    assert interaction.in_words == "Does the effect of prediction=v against x differ between patch_size=4 and 16?"


def test_questions_about_arms_that_differ_in_an_axis_of_one_side_alone_have_names_of_their_own() -> None:
    own = [{"method": "masked_tokens", "head_steps": 9, "token_limit": limit} for limit in (None, 3.0)]
    axes = {"method": ["denoiser", "masked_tokens"], "head_steps": [9], "token_limit": [None, 3.0]}
    grid = Grid.model_validate({"axes": axes, "contrasts": [{"axis": "method"}]})
    asked = planned_questions([{"method": "denoiser"}, *own], baseline={"method": "denoiser"}, design=grid)
    assert [question.label for question in asked] == [
        "method=masked_tokens (token_limit=none) against denoiser",
        "method=masked_tokens (token_limit=3.0) against denoiser",
    ]
    assert asked[1].in_words == "Is method=masked_tokens (token_limit=3.0) better or worse than method=denoiser?"
    [alone] = planned_questions([{"method": "denoiser"}, own[0]], baseline={"method": "denoiser"}, design=grid)
    assert alone.label == "method=masked_tokens against denoiser"
    assert alone.key == asked[0].key, "a name is no part of what is asked"


def test_an_ablation_s_question_in_words_names_its_changes() -> None:
    *_, main, _, _, pair = asked_by_an_ablation("factorial")
    assert main.in_words == "Is rope=False better or worse than without, on average over the rest?"
    assert pair.in_words == "Does the effect of wide differ with no-rope and without?"


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


CHANGES: dict[str, dict[str, Any]] = {"v": {"prediction": "v"}, "wide": {"width": 256}, "no-rope": {"rope": False}}


def asked_by_an_ablation(kind: str, **more: Any) -> list[Question]:
    ablation = Ablation.model_validate({"kind": kind, "changes": CHANGES, "seeds": 3, **more})
    return list(planned_questions(list(ablation.arms.values()), baseline={}, design=ablation))


def test_one_at_a_time_asks_for_each_change_against_the_baseline() -> None:
    assert [question.label for question in asked_by_an_ablation("one_at_a_time")] == [
        "v: prediction=v against without",
        "wide: width=256 against without",
        "no-rope: rope=False against without",
    ]


def test_a_ladder_asks_for_each_step_against_the_one_before() -> None:
    asked = asked_by_an_ablation("ladder")
    assert [question.cells for question in asked] == [
        ({"prediction": "v"}, {}),
        ({"prediction": "v", "width": 256}, {"prediction": "v"}),
        ({"prediction": "v", "width": 256, "rope": False}, {"prediction": "v", "width": 256}),
    ]
    assert asked[1].axes == ("width",)


def test_leave_one_out_asks_for_all_changes_against_all_but_one() -> None:
    whole = {axis: value for change in CHANGES.values() for axis, value in change.items()}
    for question, (name, change) in zip(asked_by_an_ablation("leave_one_out"), CHANGES.items(), strict=True):
        assert (question.name, question.cells[0], question.axes) == (name, whole, tuple(change))
        assert question.cells[1] == {axis: value for axis, value in whole.items() if axis not in change}


def test_a_factorial_s_weights_find_what_each_change_and_each_pair_adds() -> None:
    """Scores that are a sum of effects: each question gives back its own effect, and nothing of the others."""
    effects = {"v": 3.0, "wide": -5.0, "no-rope": 7.0}
    pairs = {("v", "wide"): 0.5, ("v", "no-rope"): -0.25, ("wide", "no-rope"): 2.0}
    axes = {name: next(iter(change)) for name, change in CHANGES.items()}

    def score(cell: Mapping[str, Any]) -> float:
        on = {name: axes[name] in cell for name in CHANGES}
        return sum(effects[name] for name in on if on[name]) + sum(
            value * (on[one] - 0.5) * (on[other] - 0.5) for (one, other), value in pairs.items()
        )

    for question in asked_by_an_ablation("factorial"):
        found = sum(weight * score(cell) for weight, cell in zip(question.weights, question.cells, strict=True))
        one, _, other = question.name.partition(" x ")
        assert found == pytest.approx(pairs[one, other] if other else effects[one])
        assert sum(question.weights) == pytest.approx(0.0)


def test_arms_of_an_ablation_are_compared_by_name() -> None:
    asked = asked_by_an_ablation("ladder", contrasts={"both": {"arm": "no-rope", "against": "v"}})[-1]
    assert (asked.name, asked.axes) == ("both", ("width", "rope"))
    assert asked.label == "both: width=256 rope=False against without"


def test_a_question_is_known_by_its_arms_whatever_it_is_called() -> None:
    """So that a change that is added or renamed makes none of the others post hoc."""
    before = {question.key for question in asked_by_an_ablation("one_at_a_time")}
    renamed = {f"{name}-2": change for name, change in CHANGES.items()} | {"deep": {"depth": 8}}
    after = {question.key for question in asked_by_an_ablation("one_at_a_time", changes=renamed)}
    assert before < after
