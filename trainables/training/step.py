"""The differentiated part of an update: forward pass and loss of a micro-batch, eager or compiled, whole or by blocks."""

import shutil
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from trainables.config.recipe import Compile
from trainables.config.shape import StepShape, step_shape
from trainables.config.trial import TrialConfig
from trainables.methods.registry import training_of
from trainables.networks.network import Network, blocks_called_by, call
from trainables.networks.registry import blank, build, initialise
from trainables.process_caches import ProcessCache
from trainables.training.batches import Batch
from trainables.training.reduction import release
from trainables.training.truths import open_sight

MOST_SHAPES = 2
"""Compiled steps that one process keeps, with a network each; an older shape is compiled again, from the machine's cache, but
for kinds of block that the process has compiled. A lane gets the trials of one shape after the other, so that it compiles each
shape once."""
MOST_COMPILATIONS = 4096
"""Of one process, each kind of block counting where it is compiled by blocks; torch's own limit of 8 would end a long sweep in
eager mode."""
CACHEABLE = {f"torch.amp.autocast_mode.{name}": str(torch.__version__) for name in ("_enter_autocast", "_exit_autocast")}
"""What torch 2.13 does not put into the machine's cache of traced steps unless told that it may: all that these depend on
stands beside them in the graph, which is part of the cache's key."""


class EagerStep:
    """A step of a network of its own."""

    def __init__(self, trial: TrialConfig) -> None:
        self.network = build(trial).to(trial.device)
        open_sight(self.network)
        self._trial = trial

    def is_ready(self, _micro_batch: int) -> bool:
        """Nothing is compiled."""
        return True

    def __call__(self, batch: Batch) -> Tensor:
        """The loss of each image, float32 [B]."""
        return image_losses(self.network, *_inputs(batch), self._trial.diffusion.t_eps_train, batch.route, batch.truths)


class CompiledStep:
    """A step compiled once, whole or by blocks, for every trial of a shape in this process, which train the same network object
    one by one.

    What differs between them enters as tensors, so nothing is compiled again: where torch would in the forward pass, or would
    give up and go on in eager mode, it raises. `begin` makes it a trial's own.
    """

    def __init__(self, trial: TrialConfig) -> None:
        self.network = blank(trial).to(trial.device)
        open_sight(self.network)
        self._t_eps = torch.zeros((), device=trial.device)
        self._losses = compiled_losses(trial.compile)
        self._sizes: set[tuple[int, bool]] = set()

    def begin(self, trial: TrialConfig) -> None:
        """Start from the trial's own weights and scalars."""
        initialise(self.network, trial)
        self.network.zero_grad()
        release(self.network)
        self.network.noise_scale.fill_(trial.diffusion.noise_scale)
        self._t_eps.fill_(trial.diffusion.t_eps_train)

    def is_ready(self, micro_batch: int) -> bool:
        """Whether a pass over this many images needs no compilation any more."""
        return (micro_batch, self.network.activation_checkpointing) in self._sizes

    def __call__(self, batch: Batch) -> Tensor:
        """The loss of each image, float32 [B]. RuntimeError where torch cannot use what it has compiled."""
        size = (len(batch.x), self.network.activation_checkpointing)
        with torch.compiler.set_stance("fail_on_recompile" if size in self._sizes else "default"):
            losses = self._losses(self.network, *_inputs(batch), self._t_eps, batch.route, batch.truths)
        self._sizes.add(size)
        return losses


_compiled_steps: ProcessCache[StepShape, CompiledStep] = ProcessCache("compiled steps", most=MOST_SHAPES)


def step_of(trial: TrialConfig) -> EagerStep | CompiledStep:
    """The step of a trial, whose network has its initial weights. A compiled one is taken from the trial before it.

    ValueError: there is no compiler.
    """
    if not trial.compile:
        return EagerStep(trial)
    _check_compiler(trial.device)
    torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = MOST_COMPILATIONS
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    torch._inductor.config.unsafe_marked_cacheable_functions = CACHEABLE
    step = _compiled_steps.get(step_shape(trial), make=partial(CompiledStep, trial))
    step.begin(trial)
    return step


def compiled_losses(way: Compile) -> Callable[..., Tensor]:
    """`image_losses` as one graph, or where the way is blocks with a graph for each kind of block."""
    return partial(losses_by_blocks, as_one_graph(call)) if way == "blocks" else as_one_graph(image_losses)


def as_one_graph(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled for each shape of its inputs. An error where it is no single graph, not eager parts between several."""
    compiled: Callable[..., Any] = torch.compile(function, fullgraph=True, dynamic=False)
    return compiled


def losses_by_blocks(compiled: Callable[..., Any], network: Network, *inputs: Any) -> Tensor:
    """`image_losses` in which `compiled` calls each block of the network."""
    with blocks_called_by(network, compiled):
        return image_losses(network, *inputs)


def _check_compiler(device: str) -> None:
    if device == "cpu" and not any(shutil.which(compiler) for compiler in ("g++", "clang++", "c++")):
        raise ValueError("`compile` needs a C++ compiler on a CPU, got none on PATH; install g++, or set compile: false")


def _inputs(batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return batch.x, batch.e, batch.t, batch.y


def image_losses(
    network: Network,
    x: Tensor,
    e: Tensor,
    t: Tensor,
    y: Tensor,
    t_eps: float | Tensor,
    route: Tensor | None = None,
    truths: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """The loss of each image as the trial's method has it; x, e [B, C, H, W], t, y [B] -> float32 [B]. route [B, N]: which
    tokens skip blocks, where some do. `truths`: see `Batch`."""
    return training_of(network.trial).losses(network, x, e, t, y, t_eps, route, truths or {})
