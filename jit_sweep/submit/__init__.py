"""Sending a sweep to a cluster that runs elsewhere."""

from jit_sweep.submit.jobs import submit

__all__ = ["submit"]
