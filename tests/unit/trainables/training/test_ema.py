"""The averaged weights: the recursion, what it leaves out, and the way in and out of a network."""

import math

import pytest
import torch
from torch import Tensor, nn

from trainables.config.average import RAW, DecayEma, EmaConfig, HalfLifeEma, decay_of, start_share
from trainables.training.ema import Averages


class Frozen(nn.Module):
    """One trained parameter, one frozen one and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.trained = nn.Parameter(torch.arange(3.0))
        self.fixed = nn.Parameter(torch.ones(2), requires_grad=False)
        self.register_buffer("table", torch.ones(2))


def averages(network: nn.Module, *kept: EmaConfig, batch_size: int = 4) -> Averages:
    return Averages(network, kept, batch_size=batch_size)


def walk(network: nn.Module, ema: Averages, steps: int, *, seed: int) -> list[Tensor]:
    """Random steps of the weights with an update after each; the weights after each."""
    generator = torch.Generator().manual_seed(seed)
    weights = []
    for _ in range(steps):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator))
        ema.update()
        weights.append(next(network.parameters()).detach().clone())
    return weights


@pytest.mark.parametrize("warmup", [True, False])
@pytest.mark.parametrize("steps", [1, 3, 200])
def test_the_average_follows_its_recursion(warmup: bool, steps: int) -> None:
    network = nn.Linear(3, 2)
    ema = averages(network, DecayEma(decay=0.9, warmup=warmup))
    expected = network.weight.detach().double()
    for k, weight in enumerate(walk(network, ema, steps, seed=0)):
        keep = min(0.9, (1 + k) / (10 + k)) if warmup else 0.9
        expected = keep * expected + (1 - keep) * weight.double()
    torch.testing.assert_close(ema.tensors["ema"]["weight"].double(), expected, rtol=1e-4, atol=1e-5)
    assert ema.updates == steps


def test_the_warm_up_forgets_the_initial_weights_of_a_short_trial() -> None:
    def left(config: EmaConfig) -> float:
        return float(torch.tensor([decay_of(k, config, batch_size=1) for k in range(1000)], dtype=torch.float64).prod())

    assert left(DecayEma(decay=0.9999, warmup=False)) == pytest.approx(0.905, abs=1e-3)
    assert left(DecayEma(decay=0.9999)) < 1e-12


def test_frozen_parameters_and_buffers_have_no_average() -> None:
    assert averages(Frozen(), DecayEma()).tensors["ema"].keys() == {"trained"}


def test_swapped_puts_the_average_in_and_the_own_weights_back_bit_for_bit() -> None:
    network = nn.Linear(3, 2)
    ema = averages(network, DecayEma())
    walk(network, ema, 5, seed=1)
    own = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    average = {name: tensor.clone() for name, tensor in ema.tensors["ema"].items()}
    with ema.swapped("ema"):
        assert all(torch.equal(tensor, average[name]) for name, tensor in network.state_dict().items())
    assert all(torch.equal(tensor, own[name]) for name, tensor in network.state_dict().items())
    assert all(torch.equal(tensor, average[name]) for name, tensor in ema.tensors["ema"].items())


def test_swapped_gives_the_own_weights_back_when_its_body_raises() -> None:
    network = nn.Linear(3, 2)
    ema = averages(network, DecayEma())
    walk(network, ema, 5, seed=1)
    own = network.weight.detach().clone()
    with pytest.raises(RuntimeError, match="stop"), ema.swapped("ema"):
        raise RuntimeError("stop")
    assert torch.equal(network.weight, own)


def test_a_restored_average_goes_on_as_if_never_interrupted() -> None:
    networks = [nn.Linear(3, 2), nn.Linear(3, 2)]
    networks[1].load_state_dict(networks[0].state_dict())
    straight, broken = (averages(network, DecayEma(decay=0.95)) for network in networks)
    walk(networks[0], straight, 5, seed=2)
    walk(networks[1], broken, 5, seed=2)
    resumed = averages(networks[1], DecayEma(decay=0.95))
    resumed.restore(broken.tensors, updates=broken.updates)
    walk(networks[0], straight, 5, seed=3)
    walk(networks[1], resumed, 5, seed=3)
    assert resumed.updates == straight.updates == 10
    assert all(torch.equal(tensor, straight.tensors["ema"][name]) for name, tensor in resumed.tensors["ema"].items())


def test_an_average_of_another_network_is_refused() -> None:
    ema = averages(nn.Linear(3, 2), DecayEma())
    with pytest.raises(ValueError, match="bias"):
        ema.restore({"ema": {"weight": torch.zeros(2, 3)}}, updates=1)


def test_averages_side_by_side_are_each_what_they_are_alone() -> None:
    fast, slow = DecayEma(name="fast", decay=0.5, warmup=False), HalfLifeEma(name="slow", images=40, warmup=False)
    networks = [nn.Linear(3, 2) for _ in range(3)]
    for network in networks[1:]:
        network.load_state_dict(networks[0].state_dict())
    both, one, other = averages(networks[0], fast, slow), averages(networks[1], fast), averages(networks[2], slow)
    for network, kept in zip(networks, (both, one, other), strict=True):
        walk(network, kept, 6, seed=4)
    assert torch.equal(both.tensors["fast"]["weight"], one.tensors["fast"]["weight"])
    assert torch.equal(both.tensors["slow"]["weight"], other.tensors["slow"]["weight"])
    assert not torch.equal(both.tensors["fast"]["weight"], both.tensors["slow"]["weight"])


@pytest.mark.parametrize("batch_size", [10, 20, 40])
def test_a_half_life_in_images_leaves_one_half_after_it_at_every_batch_size(batch_size: int) -> None:
    average = HalfLifeEma(images=40, warmup=False)
    assert decay_of(0, average, batch_size=batch_size) ** (40 / batch_size) == pytest.approx(0.5)


def test_the_weights_themselves_need_no_swapping() -> None:
    network = nn.Linear(3, 2)
    ema = averages(network, DecayEma())
    walk(network, ema, 2, seed=5)
    own = network.weight.detach().clone()
    with ema.swapped(RAW):
        assert torch.equal(network.weight, own)


@pytest.mark.parametrize("updates", [0, 1, 7, 400, 20_000])
@pytest.mark.parametrize(
    "average",
    [DecayEma(decay=0.9996), DecayEma(decay=0.5), DecayEma(decay=0.0), DecayEma(warmup=False), HalfLifeEma(images=50)],
    ids=str,
)
def test_the_share_of_the_first_weights_is_the_product_of_what_every_update_keeps(average: EmaConfig, updates: int) -> None:
    product = math.prod(decay_of(k, average, batch_size=2) for k in range(updates))
    assert start_share(average, updates=updates, batch_size=2) == pytest.approx(product, rel=1e-9, abs=1e-300)
