"""Sending a sweep to a cluster that runs elsewhere, and stopping it there."""

from jit_sweep.submit.ray_jobs import stop_jobs, submit

__all__ = ["stop_jobs", "submit"]
