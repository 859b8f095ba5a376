"""How many lanes a cluster holds."""

import ray

from jit_sweep.errors import UserError
from jit_sweep.plan.lanes import NodeSize, lanes_held
from jit_sweep.spec.sweep import Resources

OWNER_CPU = 0.01
"""Tune refuses a trial that asks for nothing; a lane's workers leave this much of their CPUs to their owner."""


def concurrent_lanes(resources: Resources) -> int:
    """How many lanes to have at once: what the cluster holds, at most what the file asks for. UserError: not even one.

    Tune does not count Train's workers; without this limit half-placed groups would wait for each other. An autoscaled
    cluster may hold nothing when the sweep starts: there the number in the file is taken as it is.
    """
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    nodes = [NodeSize(cpus=node.get("CPU", 0), gpus=node.get("GPU", 0)) for node in alive]
    lanes = lanes_held(resources, nodes)
    if lanes >= 1:
        return min(lanes, resources.concurrent or lanes)
    if resources.concurrent is not None:
        return resources.concurrent
    asked = f"{resources.workers} x ({resources.cpus:g} CPU, {resources.gpus:g} GPU)"
    there = "; ".join(f"{node.cpus:g} CPU, {node.gpus:g} GPU" for node in nodes)
    rule = f"`resources` must fit the cluster's nodes, got {asked} for one trial where there are {there}"
    raise UserError(f"{rule}; ask for less, or give `concurrent` where the cluster grows by itself")
