"""All that is wrong with a cell that makes no trial: what it is refused for first hides nothing else."""

from collections.abc import Callable, Iterator

from jit_sweep.plan.planner import Planner
from jit_sweep.plan.trial import check_batch, trial_fields
from search_spaces.cells import Cell
from trainables.config.budget_rules import check_budget
from trainables.config.trial import TrialConfig


def refusals(first: ValueError, *, cell: Cell | None, planner: Planner, images: int) -> Iterator[ValueError]:
    """What a cell was refused for, and what else it would be: its trial is looked at without the rules that it breaks.

    `cell`: None of axis values that make no recipe, of which nothing else is known.
    """
    yield first
    if cell is None:
        return
    try:
        recipe = planner.earlier.resolved(cell.recipe)
    except ValueError:
        return  # it is the first
    fields = trial_fields(recipe, spec=planner.spec, data=planner.data, seed=0, images=images)
    trial = TrialConfig.model_construct(**fields)
    for check in (
        lambda: check_batch(cell.recipe, spec=planner.spec, images=images),
        lambda: TrialConfig.model_validate(fields),
        lambda: check_budget(trial, images=images),
        lambda: planner.evaluation(cell, trial, images=images),
    ):
        if (error := _refusal(check)) is not None:
            yield error


def _refusal(check: Callable[[], object]) -> ValueError | None:
    try:
        check()
    except ValueError as error:
        return error
    return None
