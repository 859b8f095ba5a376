"""Draws are pure functions of (seed, purpose, image index), and are what they claim to be."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from trainables.draws.philox import PhiloxDraws, Purpose, as_normals, as_uniforms, philox, signed

DRAWS = PhiloxDraws(3)
MASK = 2**64 - 1


def philox_block(key: tuple[int, int], counter: int) -> list[int]:
    """Philox4x64-10 of one 256-bit counter in Python integers, from the paper's definition."""
    words = [counter >> (64 * i) & MASK for i in range(4)]
    k0, k1 = key
    for _ in range(10):
        high0, low0 = divmod(0xD2E7470EE14C6C93 * words[0], 2**64)
        high1, low1 = divmod(0xCA5A826395121157 * words[2], 2**64)
        words = [high1 ^ words[1] ^ k0, low1, high0 ^ words[3] ^ k1, low0]
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return words


@pytest.fixture(params=[1, 2])
def _threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("key", [(0, 0), (3, 5), (MASK, 7)])
@pytest.mark.parametrize("first", [0, 12345, 2**64 - 3])
def test_integers_are_philox4x64_10_of_the_counter_after_the_block(key: tuple[int, int], first: int) -> None:
    expected = [word for block in range(first, first + 5) for word in philox_block(key, block + 1)]
    assert philox(key, first=first, blocks=5).tolist() == expected


def test_integers_equal_numpys_philox_read_in_one_go() -> None:
    generator = np.random.Philox(key=np.array([3, int(Purpose.NOISE)], dtype=np.uint64))
    assert np.array_equal(philox((3, int(Purpose.NOISE)), first=2, blocks=6), generator.random_raw(32)[8:])


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (3, 32, 32), (33,)])
@pytest.mark.usefixtures("_threads")
def test_normals_do_not_depend_on_how_the_range_is_split(shape: tuple[int, ...]) -> None:
    whole = DRAWS.normal(Purpose.NOISE, first=0, count=60, shape=shape)
    assert whole.shape == (60, *shape)
    for size in (1, 4, 7, 59):
        starts = range(0, 60, size)
        parts = [DRAWS.normal(Purpose.NOISE, first=i, count=min(size, 60 - i), shape=shape) for i in starts]
        assert torch.equal(torch.cat(parts), whole)


def test_uniforms_do_not_depend_on_how_the_range_is_split() -> None:
    whole = DRAWS.uniform(Purpose.TIME, first=10, count=50)
    parts = [DRAWS.uniform(Purpose.TIME, first=i, count=1) for i in range(10, 60)]
    assert torch.equal(torch.cat(parts), whole)


def test_seed_purpose_and_image_each_change_every_value() -> None:
    def drawn(seed: int, purpose: Purpose, first: int) -> torch.Tensor:
        return PhiloxDraws(seed).normal(purpose, first=first, count=1, shape=(64,))

    base = drawn(0, Purpose.NOISE, 0)
    for other in (drawn(1, Purpose.NOISE, 0), drawn(0, Purpose.SAMPLE_NOISE, 0), drawn(0, Purpose.NOISE, 1)):
        assert not (base == other).any()


def test_normals_are_box_and_muller_of_the_words() -> None:
    words = philox((1, 2), first=0, blocks=200)
    expected = []
    for word in words.tolist():
        radius = math.sqrt(-2 * math.log(((word & 0xFFFFFFFF) + 0.5) / 2**32))
        upper = (word >> 32) - (2**32 if word >> 63 else 0)
        expected += [radius * math.cos(2 * math.pi * upper / 2**32), radius * math.sin(2 * math.pi * upper / 2**32)]
    torch.testing.assert_close(
        as_normals(signed(words)).double(), torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=2e-6
    )


def test_normals_have_the_moments_and_tails_of_a_normal_distribution() -> None:
    n = DRAWS.normal(Purpose.NOISE, first=0, count=1000, shape=(1000,)).double()
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(n.pow(power).mean() - moment) < 5 * math.sqrt(spread / n.numel())
    for edge in (1, 2, 3, 4):
        share = math.erfc(edge / math.sqrt(2))
        assert abs((n.abs() > edge).double().mean() - share) < 5 * math.sqrt(share / n.numel())
    neighbours = (n[:, :-1] * n[:, 1:]).mean()
    images = (n[:-1] * n[1:]).mean()
    assert max(abs(neighbours), abs(images)) < 5 / math.sqrt(n.numel())


def test_uniforms_are_spread_evenly() -> None:
    u = DRAWS.uniform(Purpose.TIME, first=0, count=100_000)
    counts = torch.histc(u, bins=20, min=0, max=1)
    chi_square = ((counts - 5000).square() / 5000).sum()
    assert chi_square < 50


def test_the_extreme_words_give_finite_normals_and_open_uniforms() -> None:
    extremes = np.array([0, 2**32 - 1, 2**63, 2**64 - 1], dtype=np.uint64)
    assert torch.isfinite(as_normals(signed(extremes))).all()
    assert as_normals(signed(extremes)).abs().max() < 7
    u = as_uniforms(signed(extremes))
    assert u.min() > 0
    assert u.max() < 1


@pytest.mark.parametrize("n", [1, 4, 5, 1483])
def test_a_permutation_holds_each_index_once_and_changes_with_its_number(n: int) -> None:
    orders = [DRAWS.permutation(Purpose.ORDER, epoch, n) for epoch in range(3)]
    for order in orders:
        assert order.dtype == np.int64
        assert np.array_equal(np.sort(order), np.arange(n))
    if n > 5:
        assert not np.array_equal(orders[0], orders[1])
    assert np.array_equal(orders[2], PhiloxDraws(3).permutation(Purpose.ORDER, 2, n))


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_beyond_64_bits_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="`seed` must be in"):
        PhiloxDraws(seed)
