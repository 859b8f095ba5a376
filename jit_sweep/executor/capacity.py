"""How many lanes a cluster holds."""

import ray

from jit_sweep.errors import UserError
from jit_sweep.spec.sweep import Resources

OWNER_CPU = 0.01
"""Tune refuses a trial that asks for nothing; a lane's workers leave this much of their CPUs to their owner."""


def concurrent_lanes(resources: Resources) -> int:
    """How many lanes to have at once: what the cluster holds, at most what the file asks for. UserError: not even one.

    Tune does not count Train's workers; without this limit half-placed groups would wait for each other. An autoscaled
    cluster may hold nothing when the sweep starts: there the number in the file is taken as it is.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    lanes = sum(_workers_on(node, resources) for node in nodes) // resources.workers
    if lanes >= 1:
        return min(lanes, resources.concurrent or lanes)
    if resources.concurrent is not None:
        return resources.concurrent
    asked = f"{resources.workers} x ({resources.cpus:g} CPU, {resources.gpus:g} GPU)"
    there = "; ".join(f"{node.get('CPU', 0):g} CPU, {node.get('GPU', 0):g} GPU" for node in nodes)
    rule = f"`resources` must fit the cluster's nodes, got {asked} for one trial where there are {there}"
    raise UserError(f"{rule}; ask for less, or give `concurrent` where the cluster grows by itself")


def _workers_on(node: dict[str, float], resources: Resources) -> int:
    fits = [int(node.get("CPU", 0) / resources.cpus + 1e-6)]
    if resources.gpus:
        fits.append(int(node.get("GPU", 0) / resources.gpus + 1e-6))
    return min(fits)
