"""How many lanes nodes hold."""

from collections.abc import Iterable
from typing import NamedTuple

from jit_sweep.spec.sweep import Resources

ROUNDING = 1e-6
"""Shares of a device are sums of floats: ten tenths fill one."""


class NodeSize(NamedTuple):
    """The devices of one node."""

    cpus: float
    gpus: float


def lanes_held(resources: Resources, nodes: Iterable[NodeSize], *, evaluator: Resources | None = None) -> int:
    """Trials at once, beside as many evaluators as `evaluator.concurrent` says; 0 where these have no place. A worker stands on
    one node, the workers of a trial on any."""
    left = [*nodes]
    for _ in range((evaluator.concurrent or 1) if evaluator is not None else 0):
        assert evaluator is not None
        place = next((place for place, node in enumerate(left) if _workers_on(node, evaluator)), None)
        if place is None:
            return 0
        left[place] = NodeSize(left[place].cpus - evaluator.cpus, left[place].gpus - evaluator.gpus)
    return sum(_workers_on(node, resources) for node in left) // resources.workers


def _workers_on(node: NodeSize, resources: Resources) -> int:
    workers = int(node.cpus / resources.cpus + ROUNDING)
    return min(workers, int(node.gpus / resources.gpus + ROUNDING)) if resources.gpus else workers
