"""The shape of a trial: what its compiled step depends on. What a lane keeps and how fast it trains follow from it.

The rule is a list of what does not count, so that a setting that is added counts until it is known not to.
"""

from typing import NewType

from trainables.config.diffusion import DiffusionConfig
from trainables.config.fields import content_hash
from trainables.config.objective import TappedTerm
from trainables.config.optimiser import OptimiserConfig
from trainables.config.path import FLOW
from trainables.config.recipe import Compile
from trainables.config.trial import TrialConfig

StepShape = NewType("StepShape", str)
SpeedShape = NewType("SpeedShape", str)

NO_PART = {"seed", "optimiser", "ema", "batch_size", "compile", "graphs", "gradient_sum", "parent"}
"""Settings of a trial that its step knows nothing of, but for `compile: blocks`. It compiles once for each number of images at
once."""
INPUTS = {"digest", "flip", "t_sampling", "t_eps_train", "noise_scale", "label_drop"}
"""Settings of its data and diffusion that reach a step in the batch or as tensors."""
WEIGHED = {"t_sampling", "noise_scale"}
"""Of them what a weighting is made from, which makes it part of the step."""


def step_shape(trial: TrialConfig) -> StepShape:
    """Hash of what a compiled step depends on: trials of one shape train in one step, one after the other. A step by blocks is
    another one than the whole."""
    weighed = trial.diffusion.weighting.kind != "none"
    diffusion = trial.diffusion.model_dump(exclude=INPUTS - WEIGHED if weighed else INPUTS)
    by_blocks = {"compile": trial.compile} if trial.compile == "blocks" else {}
    return StepShape(content_hash({**_without_cell(trial, exclude=NO_PART), "diffusion": diffusion, **by_blocks}))


def lane_shape(trial: TrialConfig) -> StepShape:
    """What a lane that has trained it keeps for the next trial: its compiled step; empty where it is eager."""
    return step_shape(trial) if trial.compile else StepShape("")


def speed_shape(trial: TrialConfig) -> SpeedShape:
    """Hash of what decides a warm trial's speed: its shape, its batch, and whether its step is compiled or replayed.

    Not the spaces of prediction and loss, which are another step of the same speed; of the terms those that read tokens, with
    a module of their own.
    """
    content = _without_cell(trial, exclude=NO_PART - {"batch_size", "compile", "graphs"})
    method, dimensions, tapped = trial.optimiser.method, trial.diffusion.dimensions, _tapped(trial)
    content |= {} if method == "adamw" else {"method": method}
    content |= {} if dimensions is None else {"dimensions": dimensions}
    content |= {} if trial.diffusion.path == FLOW else {"path": trial.diffusion.path.model_dump()}
    content |= {"tapped": [term.model_dump() for term in tapped]} if tapped else {}
    return SpeedShape(content_hash(content))


def measured_as(trial: TrialConfig, *, workers: int, compiled: Compile) -> TrialConfig:
    """One worker's part of a trial, to measure for all trials that cost the same: of one speed and, where they are compiled,
    of one step.

    Averages and the gradient's clipping stay, since each update pays for them; several workers need memory by how they sum.
    """
    costs = {"dimensions": trial.diffusion.dimensions, "path": trial.diffusion.path, "terms": _tapped(trial)}
    diffusion = trial.diffusion.model_dump(exclude=INPUTS) if compiled else costs
    changes = {
        "seed": 0,
        "parent": None,
        "diffusion": DiffusionConfig.model_validate(diffusion),
        "optimiser": OptimiserConfig(grad_clip=1.0 if trial.optimiser.grad_clip else None, method=trial.optimiser.method),
        "batch_size": trial.batch_size // workers,
        "compile": compiled,
        "gradient_sum": trial.gradient_sum if workers > 1 else "fp32",
    }
    return trial.model_copy(update=changes)


def _tapped(trial: TrialConfig) -> tuple[TappedTerm, ...]:
    """The terms that read tokens, by a module that costs the same whatever their weight."""
    return tuple(term.model_copy(update={"weight": 1.0}) for term in trial.diffusion.tapped)


def _without_cell(trial: TrialConfig, *, exclude: set[str]) -> dict[str, object]:
    """Everything but the diffusion and what is left out; of a code its shape alone, whoever makes it."""
    content = trial.model_dump(exclude={*exclude, "diffusion", "data", "space"})
    content |= {} if trial.space.kind == "pixels" else {"canvas": list(trial.canvas)}
    return {**content, "data": trial.data.model_dump(exclude=INPUTS)}
