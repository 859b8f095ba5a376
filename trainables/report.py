"""What a running trial says, as plain records that travel between processes."""

from typing import Annotated, Literal

from pydantic import Field

from trainables.fields import Frozen

Outcome = Literal["done", "paused", "stopped", "diverged"]


class Progress(Frozen):
    """Training goes on."""

    kind: Literal["progress"] = "progress"
    images: int
    """Images trained on so far."""
    step: int
    """Updates so far."""
    loss: float
    """Mean training loss since the last report; never comparable between arms."""
    images_per_second: float


class Rung(Frozen):
    """A comparable error on the way, at a shared image count."""

    kind: Literal["rung"] = "rung"
    images: int
    values: dict[str, float]


class Committed(Frozen):
    """A checkpoint is complete and can be resumed from."""

    kind: Literal["committed"] = "committed"
    images: int
    uri: str


class Scored(Frozen):
    """The scores of one evaluation."""

    kind: Literal["scored"] = "scored"
    images: int
    evaluation: str
    """The evaluation's id."""
    n: int
    """Generated images behind each value."""
    values: dict[str, float]
    heldout: dict[str, float] = {}
    """The same distances for as many real held-out images."""
    grid: str
    """URI of the sample grid (PNG)."""


class Ended(Frozen):
    """The last report of an attempt."""

    kind: Literal["ended"] = "ended"
    images: int
    outcome: Outcome
    cause: str = ""
    """Why, in words, where the outcome is not `done`."""
    first_bad_step: int | None = None
    """The first update whose loss was not finite."""
    train_s: float
    evaluation_s: float
    checkpoint_s: float


Report = Annotated[Progress | Rung | Committed | Scored | Ended, Field(discriminator="kind")]


class Decision(Frozen):
    """The answer to a rung."""

    verdict: Literal["go_on", "pause", "stop"] = "go_on"
    reason: str = ""
