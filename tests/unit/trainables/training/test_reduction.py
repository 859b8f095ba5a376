"""The sum of gradients: which buckets there are, when they leave, and that what it sums is what the backward pass made."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainables.config.recipe import Precision
from trainables.training.reduction import Reduction, cut
from trainables.training.workers import Ask, Workers

WIDTH = 8
LAYER_BYTES = 4 * WIDTH * WIDTH


@pytest.fixture(autouse=True)
def _group_of_one(tmp_path: Path) -> Iterator[None]:
    """A process group in which a sum is what went in."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def layers(count: int = 4) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(count)))


def reduction(network: nn.Module, *, passes: int = 1, precision: Precision = "fp32") -> Reduction:
    """With a layer in each bucket."""
    return Reduction(network, workers=Workers(), passes=passes, precision=precision, bucket_bytes=LAYER_BYTES)


def backward(network: nn.Module, seed: int) -> Tensor:
    output: Tensor = network(torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(seed)))
    loss = output.square().mean()
    loss.backward()
    return loss.detach()


def gradients(network: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in network.parameters() if p.grad is not None]


def test_buckets_are_filled_up_to_their_size_and_a_larger_parameter_is_not_cut() -> None:
    small, large = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(100))
    assert [len(group) for group in cut([small] * 5, bucket_bytes=16)] == [2, 2, 1]
    assert [len(group) for group in cut([small, large, small], bucket_bytes=16)] == [2, 1]


def test_sums_are_under_way_before_the_backward_pass_has_reached_the_first_layer() -> None:
    network = layers()
    summed = reduction(network)
    sent: list[int] = []
    for layer in reversed(network):
        (weight,) = layer.parameters()
        weight.register_post_accumulate_grad_hook(lambda _: sent.append(summed.sent))
    for _ in range(2):
        loss = backward(network, seed=1)
        assert sent == [1, 2, 3, 3]  # the last bucket waits for the loss
        summed.finish(loss, ask=Ask.NOTHING)
        assert summed.sent == 0
        network.zero_grad()
        sent.clear()


def test_nothing_is_sent_before_the_last_micro_batch() -> None:
    network = layers()
    summed = reduction(network, passes=2)
    backward(network, seed=1)
    assert summed.sent == 0
    backward(network, seed=2)
    assert summed.sent == 3


@pytest.mark.parametrize("passes", [1, 3])
def test_summed_gradients_are_those_of_the_backward_pass_bit_for_bit_and_lie_in_buckets(passes: int) -> None:
    plain, network = layers(), layers()
    summed = reduction(network, passes=passes)
    for update in range(3):
        for seed in range(passes):
            backward(plain, seed=10 * update + seed)
            loss = backward(network, seed=10 * update + seed)
        summed.finish(loss, ask=Ask.NOTHING)
        assert all(torch.equal(a, b) for a, b in zip(gradients(plain), gradients(network), strict=True))
        assert all(p.grad is not None and p.grad._base is not None for p in network.parameters())
        plain.zero_grad()
        network.zero_grad()


def test_in_bf16_the_gradients_are_rounded_and_the_loss_is_not() -> None:
    plain, network = layers(), layers()
    summed = reduction(network, precision="bf16")
    backward(plain, seed=1)
    loss = backward(network, seed=1)
    exact = loss.clone()
    summed.finish(loss, ask=Ask.NOTHING)
    assert torch.equal(loss, exact)
    assert loss != loss.bfloat16()
    for a, b in zip(gradients(plain), gradients(network), strict=True):
        assert torch.equal(a.bfloat16().float(), b)
        assert not torch.equal(a, b)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_the_lead_asks_for_comes_back(precision: Precision) -> None:
    network = layers()
    summed = reduction(network, precision=precision)
    for ask in (Ask.STOP | Ask.SAVE, Ask.NOTHING, Ask.LOOK):
        assert Ask(int(summed.finish(backward(network, seed=1), ask=ask))) == ask


def test_a_parameter_that_the_backward_pass_does_not_reach_holds_up_nothing_and_keeps_no_gradient() -> None:
    network = layers()
    summed = reduction(network)
    summed.finish(backward(network, seed=1), ask=Ask.NOTHING)
    network.zero_grad()
    loss = backward(network[:2], seed=1)
    assert summed.sent == 0
    summed.finish(loss, ask=Ask.NOTHING)
    assert [layer.weight.grad is None for layer in network] == [False, False, True, True]
    assert not summed._buckets[0].flat.any()


def test_a_network_that_the_next_trial_trains_has_the_hooks_of_that_trial_alone() -> None:
    network = layers()
    first, second = reduction(network), reduction(network)
    backward(network, seed=1)
    assert (first.sent, second.sent) == (0, 3)


def test_gradients_that_a_replay_writes_where_the_recorded_pass_wrote_them_are_summed_though_no_hook_runs() -> None:
    network = layers()
    summed = Reduction(network, workers=Workers(), passes=1, overlapping=False, bucket_bytes=LAYER_BYTES)
    loss = backward(network, seed=1)
    assert summed.sent == 0
    summed.finish(loss, ask=Ask.NOTHING)
    for parameter in network.parameters():
        assert parameter.grad is not None
        parameter.grad.fill_(7.0)
    summed.finish(loss, ask=Ask.NOTHING)
    assert all((gradient == 7.0).all() for gradient in gradients(network))
