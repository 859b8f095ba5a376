"""What only a GPU can show of our kernels between the matrix products: bf16 as the device rounds it, and grids of its size."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.support.trials import batch, lively, small_model, small_trial

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
GPU = torch.device("cuda")
SECOND_AXIS = 65_535
"""Programs along the second axis of a CUDA grid, at most."""


def results(kernels: str, precision: str, model: dict[str, Any]) -> dict[str, Tensor]:
    """The output and the gradient of every parameter."""
    network = lively(small_trial(small_model(**model), device="cuda", kernels=kernels)).to(GPU)
    with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
        output = network(*(each.to(GPU) for each in batch(16)))
    output.square().mean().backward()
    return {"output": output.detach(), **{name: p.grad for name, p in network.named_parameters() if p.grad is not None}}


@pytest.mark.parametrize("model", [{}, {"qk_norm": False}, {"rope": False}, {"mlp_ratio": 2.1}, {"heads": 3}], ids=str)
def test_output_and_gradients_in_bf16_are_as_close_to_fp32_as_those_of_torch(model: dict[str, Any]) -> None:
    exact, theirs = results("torch", "fp32", model), results("torch", "bf16", model)
    ours, again = results("triton", "bf16", model), results("triton", "bf16", model)
    assert ours.keys() == exact.keys()
    assert all(torch.equal(ours[name], again[name]) for name in ours)

    def furthest(found: dict[str, Tensor]) -> float:
        return max(float((found[name] - exact[name]).norm() / exact[name].norm()) for name in exact)

    assert 0 < furthest(ours) < 1.3 * furthest(theirs)


def test_there_may_be_more_tiles_of_tokens_than_a_grid_has_along_its_second_axis() -> None:
    from trainables.networks.kernels.qkv import BACKWARD, FORWARD, Qkv, Turn, turned, unturned

    tokens, norm = 16 * SECOND_AXIS + 17, torch.ones(8, device=GPU)
    assert tokens > FORWARD.tokens * SECOND_AXIS
    assert tokens > BACKWARD.tokens * SECOND_AXIS
    qkv = torch.randn(1, tokens, 3, 1, 8, device=GPU, dtype=torch.bfloat16)
    turn = Turn(norm, norm, None)
    q, _ = turned(qkv, turn, dtype=torch.bfloat16)
    torch.testing.assert_close(q[:, -20:], F.rms_norm(qkv[:, -20:, 0], (8,), eps=1e-6))
    gradients = Qkv(*qkv.flip(1).unbind(2))
    dqkv, sums = unturned(qkv, turn, gradients)
    assert torch.equal(dqkv[:, :, 2], gradients.v)
    torch.testing.assert_close(sums[2, 0], gradients.v.float().sum((0, 1, 2)), rtol=1e-3, atol=1e-1)


def test_there_may_be_more_tiles_of_rows_than_a_grid_has_along_its_second_axis() -> None:
    from trainables.networks.kernels.swiglu import FORWARD, gated, gated_backward

    pair = torch.randn(FORWARD.rows * SECOND_AXIS + 9, 16, device=GPU, dtype=torch.bfloat16)
    a, b = pair.float().chunk(2, dim=-1)
    torch.testing.assert_close(gated(pair), (F.silu(a) * b).bfloat16())
    dpair, _ = gated_backward(pair, torch.ones_like(pair[:, :8]))
    torch.testing.assert_close(dpair[:, 8:], F.silu(a).bfloat16())
