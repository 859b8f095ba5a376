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


def lanes_held(resources: Resources, nodes: Iterable[NodeSize]) -> int:
    """Trials at once. A worker stands on one node, the workers of a trial on any."""
    return sum(_workers_on(node, resources) for node in nodes) // resources.workers


def _workers_on(node: NodeSize, resources: Resources) -> int:
    workers = int(node.cpus / resources.cpus + ROUNDING)
    return min(workers, int(node.gpus / resources.gpus + ROUNDING)) if resources.gpus else workers
