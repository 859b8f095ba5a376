"""SwiGLU's kernels equal the plain form, forward and backward, in whatever shape and precision."""

from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.networks.kernels.swiglu import Tile, gated, gated_backward, swiglu


class Inputs(NamedTuple):
    """x [B, T, D], W12 [2 hidden, D], b12 [2 hidden], W3 [D, hidden] and the gradient of y."""

    x: Tensor
    wide: Tensor
    bias: Tensor
    narrow: Tensor
    dy: Tensor


HIDDEN = (16, 24, 11, 300)


def inputs_of(hidden: int, dtype: torch.dtype = torch.float32) -> Inputs:
    generator, width, shape = torch.Generator().manual_seed(3), 12, (2, 7, 12)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    wide, narrow = drawn(2 * hidden, width) / width**0.5, drawn(width, hidden) / hidden**0.5
    x, bias = drawn(*shape), drawn(2 * hidden)
    for leaf in (x, wide, bias, narrow):
        leaf.requires_grad_()
    return Inputs(x, wide, bias, narrow, drawn(*shape))


def plain(inputs: Inputs) -> Tensor:
    a, b = F.linear(inputs.x, inputs.wide, inputs.bias).chunk(2, dim=-1)
    return F.linear(F.silu(a) * b, inputs.narrow)


def results(y: Tensor, inputs: Inputs) -> list[Tensor]:
    """y and the gradients of x, W12, b12 and W3."""
    y.backward(inputs.dy.to(y.dtype))
    return [y.detach()] + [each.grad for each in inputs[:4] if each.grad is not None]


@pytest.mark.parametrize("hidden", HIDDEN)
def test_outputs_and_gradients_are_the_formula_to_float32(hidden: int) -> None:
    here, exact = inputs_of(hidden), inputs_of(hidden, torch.float64)
    got, expected = results(swiglu(*here[:4]), here), results(plain(exact), exact)
    assert len(got) == len(expected) == 5
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs.float(), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("hidden", HIDDEN)
def test_under_bf16_autocast_parameters_get_float32_gradients_that_are_close(hidden: int) -> None:
    here, exact = inputs_of(hidden), inputs_of(hidden, torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        y = swiglu(*here[:4])
    assert y.dtype == torch.bfloat16
    for ours, theirs in zip(results(y, here), results(plain(exact), exact), strict=True):
        assert (ours - theirs).norm() < 0.02 * theirs.norm()
    assert {each.grad.dtype for each in here[:4] if each.grad is not None} == {torch.float32}


@pytest.mark.parametrize("tile", [Tile(1, 16, 1), Tile(4, 64, 1), Tile(32, 8, 1)], ids=str)
def test_every_tile_gives_the_same_values(tile: Tile) -> None:
    generator = torch.Generator().manual_seed(1)
    pair, gradient = torch.randn(9, 48, generator=generator), torch.randn(9, 24, generator=generator)
    assert torch.equal(gated(pair, tile=tile), gated(pair))
    for ours, theirs in zip(gated_backward(pair, gradient, tile=tile), gated_backward(pair, gradient), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_repeats_are_equal_bit_for_bit() -> None:
    first, second = inputs_of(24), inputs_of(24)
    for a, b in zip(results(swiglu(*first[:4]), first), results(swiglu(*second[:4]), second), strict=True):
        assert torch.equal(a, b)


def test_the_gate_is_finite_where_its_exponential_is_not() -> None:
    pair = torch.tensor([[-200.0, 200.0, 1.0, 1.0]])
    assert torch.equal(gated(pair), torch.tensor([[-0.0, 200.0]]))
    assert torch.equal(gated_backward(pair, torch.ones(1, 2))[0], torch.tensor([[0.0, 1.0, -0.0, 200.0]]))
