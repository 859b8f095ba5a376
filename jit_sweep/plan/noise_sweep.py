"""The sweep that a file's noise is measured on before it has run: its baseline alone, on some seeds."""

from jit_sweep.spec.budget import Budget
from jit_sweep.spec.schedulers import NoScheduler
from jit_sweep.spec.stages import Grid, GridStage
from jit_sweep.spec.sweep import Retention, SweepSpec

LONGEST_STEM = 50
"""Of a sweep's name, which may have 63 characters."""


def noise_sweep(spec: SweepSpec, *, seeds: int) -> SweepSpec:
    """The sweep that trains the baseline of `spec` alone, on so many seeds: trials that the sweep itself may have too."""
    prediction = spec.baseline.recipe().diffusion.prediction  # a grid has an axis
    return spec.model_copy(
        update={
            "name": f"{spec.name[:LONGEST_STEM]}-noise",
            "question": None,
            "stages": (GridStage(grid=Grid(axes={"prediction": (prediction,)}, seeds=tuple(range(seeds)))),),
            "evaluation": spec.evaluation.model_copy(update={"tune": None}),
            "budget": Budget(images_per_trial=spec.budget.images_per_trial, rungs=spec.budget.rungs),
            "scheduler": NoScheduler(),
            "retention": Retention(),
        }
    )
