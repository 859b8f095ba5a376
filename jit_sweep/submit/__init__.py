"""Sending a sweep to a cluster that runs elsewhere, and stopping it there."""

from jit_sweep.submit.ray_jobs import submit
from jit_sweep.submit.stop import stop_jobs

__all__ = ["stop_jobs", "submit"]
