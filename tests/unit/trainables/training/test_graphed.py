"""What an update that is replayed must have in common with one that is not, as far as a CPU shows it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.images import NoiseImages
from tests.support.trials import CLASSES, SIZE, small_model, small_trial
from trainables.config.optimiser import OptimiserConfig
from trainables.config.trial import TrialConfig
from trainables.networks.memory import HEADROOM, Fit, Infeasible, fit, peak_bytes
from trainables.networks.registry import build
from trainables.training.batches import Batches
from trainables.training.graphed import FusedAdamW, OneByOne, kernels_of
from trainables.training.optimiser import adamw

CPU = torch.device("cpu")
DECAYING = OptimiserConfig(weight_decay=0.1)


def graphed(dropout: float = 0.0) -> TrialConfig:
    return small_trial(small_model(dropout=dropout), device="cuda", graphs=True, batch_size=8)


def stepped(step_of: Callable[[torch.optim.AdamW], Callable[..., None]]) -> tuple[list[Tensor], torch.optim.AdamW]:
    """Weights after four steps at odd rates, the third skipped; the first is torch's own, which makes the state."""
    network = build(small_trial())
    optimiser = adamw(network, DECAYING)
    generator = torch.Generator().manual_seed(3)
    step = OneByOne(optimiser, CPU).step
    for rate, skip in ((1e-3 / 3, 0.0), (2e-3 / 7, 0.0), (1e-3, 1.0), (1e-2 / 3, 0.0)):
        for parameter in network.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        step(rate=rate, skip=torch.tensor(skip))
        step = step_of(optimiser)
    return [parameter.detach() for parameter in network.parameters()], optimiser


@pytest.mark.slow
def test_adamw_without_its_walk_gives_its_weights_and_state_bit_for_bit_and_skips_as_it_does() -> None:
    def fused(optimiser: torch.optim.AdamW) -> Callable[..., None]:
        return lambda **how: FusedAdamW(optimiser).step(**how)

    (walked, one), (direct, other) = stepped(lambda optimiser: OneByOne(optimiser, CPU).step), stepped(fused)
    assert all(torch.equal(a, b) for a, b in zip(walked, direct, strict=True))
    for a, b in zip(one.state.values(), other.state.values(), strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)
        assert float(a["step"]) == 3


def test_what_the_host_says_of_a_batch_is_all_that_differs_between_batches() -> None:
    batches = Batches(small_trial(), NoiseImages(24, size=SIZE, classes=CLASSES), device=CPU)
    places = [torch.empty_like(part) for part in batches.fetch(0, 6)]
    for first in (0, 20, 45):
        for place, part in zip(places, batches.fetch(first, 6), strict=True):
            place.copy_(part)
        made, taken = batches.made(*places), batches.take(first, 6)
        assert all(torch.equal(getattr(made, name), getattr(taken, name)) for name in ("x", "e", "t", "y"))


def test_graphs_with_dropout_refuse_recomputed_activations_and_are_not_given_them() -> None:
    optimiser: Any = None
    with pytest.raises(ValueError, match=r"`graphs` with dropout needs activations that are kept: .*, got .*dropout=0\.5; try"):
        kernels_of(graphed(dropout=0.5), Fit(8, activation_checkpointing=True), optimiser)
    plain, dropping = graphed(), graphed(dropout=0.5)
    kept, recomputed = (peak_bytes(plain, Fit(1, activation_checkpointing=way)) for way in (False, True))
    between = round((kept + recomputed) / 2 / HEADROOM)
    assert fit(plain, share=8, memory_bytes=between).activation_checkpointing
    with pytest.raises(Infeasible):
        fit(dropping, share=8, memory_bytes=between)


def test_a_trial_without_graphs_starts_its_kernels_one_by_one() -> None:
    network = build(small_trial())
    how = kernels_of(small_trial(), Fit(4, activation_checkpointing=False), adamw(network, DECAYING))
    assert isinstance(how, OneByOne)
