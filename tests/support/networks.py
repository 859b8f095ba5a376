"""What every kind of network must be, whatever it is made of: checks that tests of trunks, heads and lifts share."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.support.trials import batch
from trainables.config.trial import TrialConfig
from trainables.networks.cost import forward_flops, parameter_count, training_flops
from trainables.networks.registry import blank
from trainables.training.batches import Batch
from trainables.training.learner import Learner
from trainables.training.step import EagerStep


def closed_forms_are_exact(trial: TrialConfig, network: nn.Module, *given: Tensor, out: tuple[int, ...] | None = None) -> None:
    """Of parameters, and of the FLOPs of a forward pass over two images; `out`: what comes of each, where it is no image."""
    assert parameter_count(trial) == sum(parameter.numel() for parameter in network.parameters())
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        output = network(*given)
    assert output.shape == (2, *(out or trial.shape))
    assert counter.get_total_flops() == 2 * forward_flops(trial)


def closed_forms_are_exact_of_images(trial: TrialConfig, *, out: tuple[int, ...] | None = None) -> None:
    """The same of `batch`'s images, and the FLOPs of training on them."""
    network = blank(trial)
    closed_forms_are_exact(trial, network, *batch(2), out=out)
    with FlopCounterMode(display=False) as counter:
        network(*batch(2)).square().sum().backward()
    assert counter.get_total_flops() == training_flops(trial, images=2)


def losses_stand_apart(trial: TrialConfig) -> None:
    """An image's loss is its own, whatever images are in its batch."""
    step, generator = EagerStep(trial), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in step.network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
        x, t, y = batch(4)
        whole = step(Batch(x=x, e=x.flip(0), t=t, y=y))
        halves = [step(Batch(x=x[at], e=x.flip(0)[at], t=t[at], y=y[at])) for at in (slice(2), slice(2, 4))]
    torch.testing.assert_close(torch.cat(halves), whole, rtol=1e-5 if trial.precision == "fp32" else 0.05, atol=1e-6)


def goes_on_bit_for_bit(through: Learner, resumed: Learner, *, part: str = "model") -> None:
    """A second learner of the same trial goes on from where the first was saved, as the first does; it changes `part`."""
    through.update()
    saved = {name: {key: t.clone() for key, t in tensors.items()} for name, tensors in through.parts().items()}
    state = through.state()
    through.update()
    resumed.restore(saved, state)
    resumed.update()
    for name, tensors in through.parts().items():
        assert all(torch.equal(tensor, resumed.parts()[name][key]) for key, tensor in tensors.items())
    assert any(not torch.equal(tensor, saved[part][key]) for key, tensor in through.parts()[part].items())


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled as a step is, in one graph, but of torch's eager kernels: writing new ones takes ten times as long."""
    compiled: Callable[..., Any] = torch.compile(function, fullgraph=True, dynamic=False, backend="aot_eager")
    return compiled


def compiles_to_the_same(network: nn.Module, *given: Tensor) -> None:
    """In one graph."""
    with torch.no_grad():
        torch.testing.assert_close(traced(network)(*given), network(*given), rtol=1e-4, atol=1e-4)
