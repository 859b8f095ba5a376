"""The draws of a GPU, by Triton's interpreter: numpy's integers, whether the host names the first image or a tensor does."""

import pytest
import torch

from trainables.draws.philox import PhiloxDraws, Purpose, philox, signed

pytest.importorskip("triton", reason="a CPU's torch comes without Triton")

from trainables.draws.device import DeviceDraws

CPU = torch.device("cpu")
FIRST = [(0, 0, 0), (12345, 3, 7), (2**53, 8, 2**40), (2**64 - 1, 2, 2**33 + 1)]
"""Seed, purpose and first block or image."""


@pytest.mark.parametrize("tensor", [False, True], ids=["number", "tensor"])
@pytest.mark.parametrize(("seed", "purpose", "first"), FIRST)
def test_the_integers_drawn_by_triton_are_numpys(seed: int, purpose: int, first: int, tensor: bool) -> None:
    words = DeviceDraws(seed, CPU).words((seed, purpose), first=torch.tensor(first) if tensor else first, blocks=300)
    assert torch.equal(words, signed(philox((seed, purpose), first=first, blocks=300)))


@pytest.mark.parametrize("first", [0, 2**40 + 3])
@pytest.mark.parametrize("shape", [(3, 4, 4), (3, 5, 7)])
def test_a_first_image_in_a_tensor_gives_the_numbers_of_that_image(first: int, shape: tuple[int, ...]) -> None:
    triton, host, tensor = DeviceDraws(5, CPU), PhiloxDraws(5), torch.tensor(first)
    found = triton.normal(Purpose.NOISE, first=tensor, count=3, shape=shape)
    assert torch.equal(found, triton.normal(Purpose.NOISE, first=first, count=3, shape=shape))
    torch.testing.assert_close(found, host.normal(Purpose.NOISE, first=tensor, count=3, shape=shape), rtol=1e-5, atol=2e-6)
    times = triton.uniform(Purpose.TIME, first=tensor, count=9)
    assert torch.equal(times, host.uniform(Purpose.TIME, first=first, count=9))
