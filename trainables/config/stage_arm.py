"""How a later stage of a sweep names an arm of an earlier one."""

from typing import Annotated, Any, Literal

from pydantic import Field

from trainables.config.fields import JOINED_LATER, Frozen


class StageArm(Frozen):
    """The first seed of an earlier stage's one arm, or of the arm with these values. A trial's own record has that trial in its
    place."""

    stage: Annotated[str, Field(min_length=1)]
    """The stage's name."""
    where: dict[str, str | int | float | bool | None] = {}
    """Axis values that one of its arms alone has; nothing of a stage with one arm."""
    best: Annotated[bool, Field(strict=True), JOINED_LATER] = False
    """Of several such arms, the one with the least error on held-out images once that stage has ended: its mean over seeds, of
    arms whose every seed is scored and none collapsed."""


def names_a_stage(given: Any) -> Literal["stage", "trial"]:
    """Tells an earlier stage of the sweep apart from a trial by its id, as what somebody builds on."""
    return "stage" if isinstance(given, StageArm) or (isinstance(given, dict) and "stage" in given) else "trial"
