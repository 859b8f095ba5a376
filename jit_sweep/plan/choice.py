"""An arm of an earlier stage that later ones build on as its best: known once that stage has ended."""

from search_spaces.axis import AxisValue
from trainables.config.fields import Frozen


class ArmChoice(Frozen):
    """One arm of several, and who waits for it."""

    name: str
    """As an axis value says it, such as `codes best`."""
    stage: int
    """Whose arms these are."""
    arms: tuple[dict[str, AxisValue], ...]
    """Those that may be chosen, in the order of the plan."""
    metric: str
    """The least of it is the best: the error on held-out images of what that stage trains."""
    by: tuple[int, ...] = ()
    """The stages that wait."""
    arm: dict[str, AxisValue]
    """The chosen one; until then the one by which the plan of those stages costs most."""
    made: bool = False
    """Whether it has been chosen."""
