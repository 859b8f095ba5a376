"""What Tune hands to a lane, as records; no other module writes or reads Tune's plain dict."""

from typing import Any, Self

from jit_sweep.spec.sweep import Resources
from trainables.config.fields import Frozen

_TASK = "task"


class LaneConfig(Frozen):
    """What all lanes of a run have in common."""

    actor: str
    """The name of the sweep's actor."""
    resources: Resources
    """Of a trial, and so of a lane."""


class LaneTask(Frozen):
    """A piece of work that Tune hands to a lane, which the sweep's actor may then give it."""

    lane: LaneConfig
    trial: str
    images: int
    """Where the trial is to be brought to."""

    def as_tune(self) -> dict[str, Any]:
        """A Tune trial's configuration."""
        return {_TASK: self.model_dump(mode="json")}

    @classmethod
    def from_tune(cls, config: dict[str, Any]) -> Self:
        """What `as_tune` wrote; Tune adds keys of its own."""
        return cls.model_validate(config[_TASK])
