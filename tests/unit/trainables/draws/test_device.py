"""The draws of a GPU, by Triton's interpreter: numpy's numbers, whether the host names the first image or a tensor does."""

import pytest
import torch

from trainables.draws.philox import PhiloxDraws, Purpose

pytest.importorskip("triton", reason="a CPU's torch comes without Triton")

from trainables.draws.device import DeviceDraws

CPU = torch.device("cpu")
FIRST = [(0, Purpose.ORDER, 0), (12345, Purpose.NOISE, 7), (2**53, Purpose.TIME, 2**40), (2**64 - 1, Purpose.FLIP, 2**33 + 1)]
"""Seed, purpose and first image."""


@pytest.mark.parametrize("tensor", [False, True], ids=["number", "tensor"])
@pytest.mark.parametrize(("seed", "purpose", "first"), FIRST)
def test_the_uniforms_drawn_by_triton_are_numpys(seed: int, purpose: Purpose, first: int, tensor: bool) -> None:
    found = DeviceDraws(seed, CPU).uniform(purpose, first=torch.tensor(first) if tensor else first, count=300)
    assert torch.equal(found, PhiloxDraws(seed).uniform(purpose, first=first, count=300))


@pytest.mark.parametrize(("seed", "purpose", "first"), FIRST)
@pytest.mark.parametrize("shape", [(3, 4, 4), (3, 5, 7)])
def test_a_first_image_in_a_tensor_gives_the_numbers_of_that_image(
    seed: int, purpose: Purpose, first: int, shape: tuple[int, ...]
) -> None:
    triton, tensor = DeviceDraws(seed, CPU), torch.tensor(first)
    found = triton.normal(purpose, first=tensor, count=3, shape=shape)
    assert torch.equal(found, triton.normal(purpose, first=first, count=3, shape=shape))
    expected = PhiloxDraws(seed).normal(purpose, first=tensor, count=3, shape=shape)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-6)
