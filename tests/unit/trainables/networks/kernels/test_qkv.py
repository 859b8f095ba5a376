"""The projection's kernel equals the plain form, forward and backward, in whatever shape and precision."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.networks.kernels.qkv import Qkv, TokenTile, Turn, project, turned, unturned
from trainables.networks.norm import EPS
from trainables.networks.positions import rotate, rotation_table

pytestmark = pytest.mark.slow


class Case(NamedTuple):
    """A projection of [batch, tokens, heads x dim]."""

    batch: int
    tokens: int
    heads: int
    dim: int
    norm: bool = True
    rope: bool = True


CASES = (
    Case(2, 9, 3, 16),
    Case(3, 7, 2, 12),
    Case(1, 5, 1, 64),
    Case(2, 4, 4, 8, norm=False),
    Case(2, 9, 2, 10, rope=False),
    Case(2, 6, 2, 12, norm=False, rope=False),
)


class Inputs(NamedTuple):
    """What the projection reads, and the gradients of q, k and v; all require none yet."""

    x: Tensor
    weight: Tensor
    bias: Tensor
    q_norm: Tensor
    k_norm: Tensor
    dq: Tensor
    dk: Tensor
    dv: Tensor


def inputs_of(case: Case) -> Inputs:
    generator = torch.Generator().manual_seed(5)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    width, part = case.heads * case.dim, (case.batch, case.tokens, case.heads, case.dim)
    norms = (1 + 0.3 * drawn(case.dim), 1 + 0.3 * drawn(case.dim))
    weight = drawn(3 * width, width) / width**0.5
    return Inputs(
        drawn(case.batch, case.tokens, width), weight, drawn(3 * width), *norms, drawn(*part), drawn(*part), drawn(*part)
    )


def table_of(case: Case) -> Tensor | None:
    """Angles of a token that stand for themselves: a grid of 3 with class tokens in front where there are more."""
    return rotation_table(3, case.dim, class_tokens=max(case.tokens - 9, 0))[-case.tokens :] if case.rope else None


def plain(inputs: Inputs, case: Case) -> Iterator[Tensor]:
    """q, k and v by the formulas, in x's precision."""
    parts = F.linear(inputs.x, inputs.weight, inputs.bias).unflatten(-1, (3, case.heads, -1)).unbind(2)
    table = table_of(case)
    for part, weight in zip(parts[:2], (inputs.q_norm, inputs.k_norm), strict=True):
        normal = part * (part.square().mean(-1, keepdim=True) + EPS).rsqrt() * weight if case.norm else part
        yield normal if table is None else rotated(normal, table)
    yield parts[2]


def rotated(x: Tensor, table: Tensor) -> Tensor:
    """`positions.rotate` in x's own precision."""
    angles = torch.view_as_complex(table.to(x.dtype))
    return torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2))) * angles).flatten(-2)


def fused(inputs: Inputs, case: Case, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor, Tensor]:
    q_norm, k_norm = (inputs.q_norm, inputs.k_norm) if case.norm else (None, None)
    turn = Turn(q_norm, k_norm, table_of(case))
    return project(inputs.x, inputs.weight, inputs.bias, turn, heads=case.heads, dtype=dtype)


def results(outputs: tuple[Tensor, ...], inputs: Inputs, case: Case) -> list[Tensor]:
    """q, k, v and the gradients of x, the weight, the bias and, where it norms, of both norms' weights."""
    torch.autograd.backward(outputs, [g.to(out.dtype) for g, out in zip(inputs[5:], outputs, strict=True)])
    return [each.detach() for each in outputs] + [
        each.grad for each in inputs[: 5 if case.norm else 3] if each.grad is not None
    ]


def leaves(inputs: Inputs, dtype: torch.dtype = torch.float32) -> Inputs:
    return Inputs(*(each.to(dtype).requires_grad_() for each in inputs[:5]), *(each.to(dtype) for each in inputs[5:]))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_outputs_and_gradients_are_the_formulas_to_float32(case: Case) -> None:
    here, exact = leaves(inputs_of(case)), leaves(inputs_of(case), torch.float64)
    expected = results(tuple(plain(exact, case)), exact, case)
    got = results(fused(here, case), here, case)
    assert len(got) == len(expected) == (8 if case.norm else 6)
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs.float(), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_under_bf16_autocast_parameters_get_float32_gradients_that_are_close(case: Case) -> None:
    here, exact = leaves(inputs_of(case)), leaves(inputs_of(case), torch.float64)
    expected = results(tuple(plain(exact, case)), exact, case)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = fused(here, case)
    assert {each.dtype for each in outputs} == {torch.bfloat16}
    for ours, theirs in zip(results(outputs, here, case), expected, strict=True):
        assert (ours - theirs).norm() < 0.02 * theirs.norm()
    assert {each.grad.dtype for each in here[:3] if each.grad is not None} == {torch.float32}


def test_q_and_k_come_in_the_precision_asked_for_and_v_is_not_copied() -> None:
    case = CASES[0]
    with torch.autocast("cpu", torch.bfloat16):
        q, k, v = fused(leaves(inputs_of(case)), case, torch.float32)
    assert (q.dtype, k.dtype, v.dtype) == (torch.float32, torch.float32, torch.bfloat16)
    assert v.stride() == (9 * 3 * 48, 3 * 48, 16, 1)
    assert q.is_contiguous()


def test_gradients_may_come_in_any_memory_order() -> None:
    case, got = CASES[1], []
    for order in ((0, 1, 2, 3), (0, 2, 1, 3), (0, 3, 1, 2)):
        inputs = leaves(inputs_of(case))
        back = [order.index(i) for i in range(4)]
        laid_out = [g.permute(order).contiguous().permute(back) for g in inputs[5:]]
        got.append(results(fused(inputs, case), inputs._replace(dq=laid_out[0], dk=laid_out[1], dv=laid_out[2]), case))
    for other in got[1:]:
        assert all(torch.equal(a, b) for a, b in zip(got[0], other, strict=True))


@pytest.mark.parametrize("tile", [TokenTile(4, 1), TokenTile(32, 1)], ids=str)
def test_every_tile_gives_the_same_values(tile: TokenTile) -> None:
    case = Case(2, 9, 3, 12)
    inputs, table = inputs_of(case), table_of(case)
    qkv = F.linear(inputs.x, inputs.weight, inputs.bias).unflatten(-1, (3, case.heads, -1))
    turn, gradients = Turn(inputs.q_norm, inputs.k_norm, table), Qkv(*inputs[5:])
    for ours, theirs in zip(
        (*turned(qkv, turn, dtype=qkv.dtype, tile=tile), *unturned(qkv, turn, gradients, tile=tile)),
        (*turned(qkv, turn, dtype=qkv.dtype), *unturned(qkv, turn, gradients)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_repeats_are_equal_bit_for_bit() -> None:
    case = CASES[0]
    first, second = leaves(inputs_of(case)), leaves(inputs_of(case))
    for a, b in zip(results(fused(first, case), first, case), results(fused(second, case), second, case), strict=True):
        assert torch.equal(a, b)


def test_the_plain_rotation_of_this_file_is_the_networks_own() -> None:
    case = CASES[0]
    table, x = table_of(case), inputs_of(case).dq
    assert table is not None
    torch.testing.assert_close(rotated(x, table), rotate(x, table))
