"""Where each Ray Train worker of a lane begins. Free of torch: the lane's owner and Train's controller load this file too."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LaneSettings:
    """What each worker of a lane is started with."""

    actor: str
    """The name of the sweep's actor."""
    lane: str
    """This lane's name."""
    threads: int
    """torch's, in each worker."""
    stall_s: float
    """A worker that makes no step for this long is ended."""


def lane_loop(config: dict[str, Any]) -> None:
    """The Train loop of a lane. `config`: the fields of its `LaneSettings`, since Ray Train hands over a dict."""
    from trainables.lane.worker import work  # starts torch

    work(LaneSettings(**config))
