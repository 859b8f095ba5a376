"""The norm's kernels as a GPU computes them: in bf16, which Triton's interpreter cuts off, and at the sizes that train."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from tests.support.images import NoiseImages
from tests.support.trials import CLASSES, SIZE, small_trial
from trainables.networks import norm
from trainables.networks.norm import Branch, Stream
from trainables.training.learner import Learner
from trainables.training.workers import Workers

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
GPU = torch.device("cuda")


class Call(NamedTuple):
    """The arguments of a gated norm, each a leaf, and the gradients of x' and h."""

    leaves: list[Tensor]
    of_outputs: list[Tensor]


def call(images: int, tokens: int, width: int, *, stream: torch.dtype, product: torch.dtype) -> Call:
    generator = torch.Generator(GPU).manual_seed(0)

    def drawn(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.randn(shape, generator=generator, device=GPU).to(dtype)

    token, row = (images, tokens, width), (images, 1, width)
    leaves = [drawn(*token, dtype=stream), drawn(*token, dtype=product), drawn(*row), drawn(width), drawn(width)]
    leaves = [leaf.requires_grad_() for leaf in (*leaves, drawn(*row), drawn(*row))]
    return Call(leaves, [drawn(*token, dtype=stream), drawn(*token, dtype=product)])


def results(form: object, given: Call) -> list[Tensor]:
    """x', h and the gradients of x, y, gate, bias, weight, shift and scale."""
    assert callable(form)
    x, y, gate, bias, weight, shift, scale = given.leaves
    with torch.autocast("cuda", torch.bfloat16, enabled=y.dtype is torch.bfloat16):
        outputs = list(form(Stream(x, Branch(y, gate, bias)), weight, shift, scale))
    of_outputs = [each.to(output.dtype) for each, output in zip(given.of_outputs, outputs, strict=True)]
    return [output.detach() for output in outputs] + list(torch.autograd.grad(outputs, given.leaves, of_outputs))


PRECISIONS = [(torch.float32, torch.float32), (torch.float32, torch.bfloat16), (torch.bfloat16, torch.bfloat16)]


@pytest.mark.parametrize(("stream", "product"), PRECISIONS, ids=str)
@pytest.mark.parametrize(("tokens", "width"), [(288, 768), (257, 1280), (37, 13), (3, 8192)])
def test_the_norm_s_kernels_are_its_plain_form_and_repeat_bit_for_bit(
    tokens: int, width: int, stream: torch.dtype, product: torch.dtype
) -> None:
    from trainables.networks.kernels.gated_norm import gated_norm

    given = call(8, tokens, width, stream=stream, product=product)
    found, again, plain = (results(form, given) for form in (gated_norm, gated_norm, norm.gated_norm))
    most = 0.01 if product is torch.bfloat16 else 1e-5
    for one, other, expected in zip(found, again, plain, strict=True):
        assert torch.equal(one, other)
        assert (one.float() - expected.float()).norm() < most * expected.float().norm()


@pytest.mark.parametrize("residual", ["fp32", "bf16"])
def test_a_trial_on_triton_s_kernels_gives_the_same_weights_bit_for_bit_and_the_losses_of_torch_s(residual: str) -> None:
    def trained(kernels: str) -> Learner:
        trial = small_trial(device="cuda", batch_size=8, precision="bf16", residual=residual, kernels=kernels)
        learner = Learner(trial, NoiseImages(64, size=SIZE, classes=CLASSES), workers=Workers())
        for _ in range(5):
            learner.update()
        return learner

    first, second, plain = trained("triton"), trained("triton"), trained("torch")
    pairs = zip(first.network.parameters(), second.network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert first.health.mean_loss() == pytest.approx(plain.health.mean_loss(), rel=1e-2)
