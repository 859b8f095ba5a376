"""A network whose trial asks for Triton's kernels computes what torch's computes."""

import logging
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.support.trials import batch, lively, small_model, small_trial
from trainables.networks.attention import Attention
from trainables.networks.jit import JiT
from trainables.networks.kernel_choice import warned
from trainables.networks.mlp import GeluMlp, SwiGlu

pytestmark = pytest.mark.slow

Z, TIMES, LABELS = batch(2)
MODELS: list[dict[str, Any]] = [{"qk_norm": False}, {"rope": False, "heads": 2, "mlp_ratio": 2.1}]


def network_of(kernels: str, *, attention: str = "sdpa", **model: Any) -> JiT:
    """Its weights are on the CPU, where the interpreter computes; a trial may ask for kernels only on a GPU."""
    small = small_model(**{"depth": 2, "class_tokens_start": 1, **model})
    return lively(small_trial(small, device="cuda", kernels=kernels, attention=attention))


def results(network: JiT) -> dict[str, Tensor]:
    """The output and the gradient of every parameter."""
    output = network(Z, TIMES, LABELS)
    output.square().mean().backward()
    return {"output": output.detach(), **{name: p.grad for name, p in network.named_parameters() if p.grad is not None}}


def norm_of_difference(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """The largest over output and gradients, as a share of each one's norm."""
    assert ours.keys() == theirs.keys()
    return max(float((ours[name] - theirs[name]).norm() / theirs[name].norm()) for name in ours)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_output_and_gradients_are_those_of_torch(model: dict[str, Any]) -> None:
    ours, theirs = results(network_of("triton", **model)), results(network_of("torch", **model))
    assert 0 < norm_of_difference(ours, theirs) < 1e-4


@pytest.mark.parametrize("attention", ["sdpa", "fp32"])
def test_under_bf16_autocast_they_stay_as_close_to_fp32_as_those_of_torch(attention: str) -> None:
    """But for the interpreter, which cuts bf16 off where a GPU rounds: twice the error."""
    exact = results(network_of("torch"))
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = (results(network_of(kernels, attention=attention)) for kernels in ("triton", "torch"))
    assert norm_of_difference(ours, exact) < 2.5 * norm_of_difference(theirs, exact)


@pytest.mark.parametrize("kernels", ["torch", "triton"])
@pytest.mark.parametrize("mlp", ["swiglu", "gelu"])
def test_only_the_bias_is_left_out_where_a_later_kernel_adds_it(kernels: str, mlp: str) -> None:
    network, x = network_of(kernels, mlp=mlp), torch.randn(2, 7, 48, generator=torch.Generator().manual_seed(2))
    attention, part = network.get_submodule("blocks.0.attention"), network.get_submodule("blocks.0.mlp")
    assert isinstance(attention, Attention)
    assert isinstance(part, SwiGlu | GeluMlp)
    rotation = None if network.rotation is None else network.rotation[-7:]
    torch.testing.assert_close(attention.unbiased(x, rotation) + attention.proj.bias, attention(x, rotation))
    assert part.output_bias is not None
    torch.testing.assert_close(part.unbiased(x) + part.output_bias, part(x))


def test_dropout_falls_back_to_torch_and_the_log_says_why(caplog: pytest.LogCaptureFixture) -> None:
    warned.clear()
    ours, theirs = (
        network_of(kernels, depth=4, dropout=0.3).train().get_submodule("blocks.1.mlp") for kernels in ("triton", "torch")
    )
    x = torch.randn(2, 7, 48, generator=torch.Generator().manual_seed(2))
    outputs = []
    with caplog.at_level(logging.WARNING):
        for mlp in (ours, theirs):
            torch.manual_seed(0)
            outputs.append(mlp(x))
    assert torch.equal(*outputs)
    assert F.mse_loss(outputs[0], ours.eval()(x)) > 0
    assert "no dropout, got dropout=0.3" in caplog.text
