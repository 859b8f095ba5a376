"""Our attention against the softmax written out in float64.

Triton's interpreter multiplies bf16 as if it were integers, so fp16 stands for half precision; bf16 is tests/gpu's.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from trainables.networks.kernels.attention import Tiles, Tiling, attention, attention_backward, attention_forward

pytestmark = pytest.mark.slow

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def heads(tokens: int, head_dim: int, *, dtype: torch.dtype, batch: int = 2, count: int = 2) -> list[Tensor]:
    """q, k, v and the output's gradient as [B, H, T, d] views of one buffer [B, T, 4, H, d]."""
    generator = torch.Generator().manual_seed(tokens * head_dim)
    buffer = torch.randn(batch, tokens, 4, count, head_dim, generator=generator)
    return list(buffer.to(dtype).permute(2, 0, 3, 1, 4).unbind())


def written_out(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """In float64."""
    q, k, v = q.double(), k.double(), v.double()
    out: Tensor = (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1) @ v
    return out


def results(attend: Attend, q: Tensor, k: Tensor, v: Tensor, dout: Tensor) -> list[Tensor]:
    """The output, then the gradients of q, k and v."""
    leaves = [each.detach().requires_grad_() for each in (q, k, v)]
    out = attend(*leaves)
    return [out.detach(), *torch.autograd.grad(out, leaves, dout.to(out.dtype))]


def relative_error(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).norm() / exact.norm())


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 2e-6), (torch.float16, 1e-3)], ids=["fp32", "fp16"])
@pytest.mark.parametrize(("tokens", "head_dim"), [(5, 16), (33, 24), (64, 8), (70, 64)])
def test_the_output_and_every_gradient_are_those_of_the_softmax_written_out(
    tokens: int, head_dim: int, dtype: torch.dtype, error: float
) -> None:
    inputs = heads(tokens, head_dim, dtype=dtype)
    for found, exact in zip(results(attention, *inputs), results(written_out, *inputs), strict=True):
        assert found.dtype is dtype
        assert relative_error(found, exact) < error


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")  # in rows beyond the last, which nobody reads
@pytest.mark.parametrize("sign", [-1.0, 1.0], ids=["below", "above"])
def test_scores_far_from_zero_neither_overflow_nor_vanish(sign: float) -> None:
    q, k, v, dout = heads(9, 16, dtype=torch.float32)
    inputs = (q + 10, k + sign * 10, v, dout)  # scores of about 400
    for found, exact in zip(results(attention, *inputs), results(written_out, *inputs), strict=True):
        assert relative_error(found, exact) < 2e-3


def test_tiles_of_any_size_cut_the_same_attention() -> None:
    q, k, v, dout = heads(40, 16, dtype=torch.float32, batch=1)
    exact = results(written_out, q, k, v, dout)
    for tiles in (Tiles(32, 16, 4, 1), Tiles(16, 64, 4, 1)):
        out, lse = attention_forward(q, k, v, tiles=tiles)
        found = (torch.empty_like(q), torch.empty_like(k), torch.empty_like(v))
        attention_backward(dout, q, k, v, out, lse, into=found, tiling=Tiling(tiles, tiles, tiles))
        assert max(relative_error(a, b) for a, b in zip((out, *found), exact, strict=True)) < 2e-6


def test_gradients_are_written_where_they_are_asked_for_and_nowhere_else() -> None:
    q, k, v, dout = heads(5, 24, dtype=torch.float32)
    buffer = torch.full((2, 5, 4, 2, 24), 7.0)
    into = buffer.permute(2, 0, 3, 1, 4).unbind()
    out, lse = attention_forward(q, k, v)
    attention_backward(dout, q, k, v, out, lse, into=(into[0], into[1], into[2]))
    assert torch.equal(torch.stack(into[:3]), torch.stack(results(attention, q, k, v, dout)[1:]))
    assert (into[3] == 7).all()


def test_a_gradient_that_broadcasts_is_taken() -> None:
    q, k, v, dout = heads(5, 16, dtype=torch.float32, batch=1)
    ones = dout[:1, :1, :1, :1].expand_as(dout)
    for found, exact in zip(results(attention, q, k, v, ones), results(written_out, q, k, v, ones), strict=True):
        assert relative_error(found, exact) < 2e-6 or float(exact.norm()) < 1e-9


def test_the_output_lies_in_memory_as_the_projection_after_it_reads_it() -> None:
    q, k, v, _ = heads(5, 16, dtype=torch.float32)
    assert attention(q, k, v).transpose(1, 2).is_contiguous()
