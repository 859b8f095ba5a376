"""What a cluster has free."""

import ray

from jit_sweep.executor.cluster import running_cluster
from jit_sweep.results.why import Free


def free_resources(address: str) -> Free:
    """CPUs and GPUs that nothing holds now. UserError: nobody answers there."""
    with running_cluster(address):
        available = ray.available_resources()
    return Free(cpus=available.get("CPU", 0.0), gpus=available.get("GPU", 0.0))
