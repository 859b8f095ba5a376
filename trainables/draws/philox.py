"""Random numbers that are pure functions of (seed, purpose, image index), from a counter-based generator.

Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) enciphers a counter under a key. Here the key
is (seed, purpose) and image i owns the counters from i x (blocks an image) on, so a value depends neither on the batch it is
drawn in nor on the order of drawing. numpy's generator serves on a CPU, `trainables.draws.device` on a GPU.
"""

import math
from enum import IntEnum
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

WORDS = 4
"""64-bit words that one counter yields."""


class Purpose(IntEnum):
    """What a number is drawn for; the values are part of every trial's numbers and are never reused."""

    ORDER = 0
    FLIP = 1
    TIME = 2
    NOISE = 3
    LABEL_DROP = 4
    DROPOUT = 5
    SAMPLE_NOISE = 6
    SAMPLE_LABEL = 7
    HELDOUT_NOISE = 8
    ROUTING = 9
    LIFT = 10
    BORDER_NOISE = 11
    MASK_RATE = 12
    MASK_ORDER = 13
    HEAD_TIME = 14
    SAMPLE_ORDER = 15
    SAMPLE_TOKENS = 16
    POSTERIOR = 17
    PRETRAINING_LEVEL = 18
    VIEWS = 19
    FEATURE_DIRECTION = 32


class Draws(Protocol):
    """A source of numbers keyed by image. Tensors lie on the source's own device, `first` too where it is one, int64 []."""

    def normal(self, purpose: Purpose, *, first: int | Tensor, count: int, shape: tuple[int, ...]) -> Tensor:
        """Standard normals for images first..first+count-1, float32 [count, *shape]."""

    def uniform(self, purpose: Purpose, *, first: int | Tensor, count: int) -> Tensor:
        """One number in the open interval (0, 1) an image, float64 [count]."""

    def permutation(self, purpose: Purpose, index: int, n: int) -> NDArray[np.int64]:
        """The index-th random order of 0..n-1, int64 [n]."""


class PhiloxDraws:
    """`Draws` on the CPU by numpy's Philox.

    ValueError: a seed that does not fit in 64 bits.
    """

    def __init__(self, seed: int) -> None:
        if not 0 <= seed < 2**64:
            raise ValueError(f"`seed` must be in 0..2^64-1, got {seed}; try 0")
        self.seed = seed

    def normal(self, purpose: Purpose, *, first: int | Tensor, count: int, shape: tuple[int, ...]) -> Tensor:
        """Standard normals for images first..first+count-1, float32 [count, *shape]."""
        size = math.prod(shape)
        blocks = -(-size // (2 * WORDS))
        words = self._words(purpose, first=int(first) * blocks, blocks=count * blocks)
        return as_normals(signed(words)).view(count, -1)[:, :size].reshape(count, *shape)

    def uniform(self, purpose: Purpose, *, first: int | Tensor, count: int) -> Tensor:
        """One number in the open interval (0, 1) an image, float64 [count]; from the first word of the image's block."""
        return as_uniforms(signed(self._words(purpose, first=int(first), blocks=count)[::WORDS]))

    def permutation(self, purpose: Purpose, index: int, n: int) -> NDArray[np.int64]:
        """The index-th random order of 0..n-1, int64 [n]: the stable sorting order of n words."""
        blocks = -(-n // WORDS)
        words = self._words(purpose, first=index * blocks, blocks=blocks)
        return np.argsort(words[:n], kind="stable").astype(np.int64)

    def _words(self, purpose: Purpose, *, first: int, blocks: int) -> NDArray[np.uint64]:
        return philox((self.seed, int(purpose)), first=first, blocks=blocks)


def philox(key: tuple[int, int], *, first: int, blocks: int) -> NDArray[np.uint64]:
    """Words of `blocks` consecutive blocks, uint64 [blocks x 4].

    Block b is the cipher of counter b + 1: numpy counts before it enciphers, and any other implementation must do the same.
    """
    generator = np.random.Philox(key=np.array(key, dtype=np.uint64), counter=first)
    words: NDArray[np.uint64] = generator.random_raw(blocks * WORDS)
    return words


def signed(words: NDArray[np.uint64]) -> Tensor:
    """The same bits as int64: torch computes little with uint64."""
    return torch.from_numpy(words.view(np.int64))


def as_uniforms(words: Tensor) -> Tensor:
    """(k + 1/2) / 2^52 of the upper 52 bits k of each word, int64 -> float64 of the same shape: exact, and never 0 or 1."""
    return ((words >> 12) & (2**52 - 1)).double().add_(0.5).mul_(2.0**-52)


def as_normals(words: Tensor) -> Tensor:
    """Two standard normals of each word, int64 [n] -> float32 [2 n] (Box and Muller, 1958).

    The lower half gives the radius sqrt(-2 ln u) with u = (k + 1/2) / 2^32, the upper half, signed, the angle; the pair is
    (r cos, r sin). The largest possible radius is 6.8.
    """
    radius = (words & 0xFFFFFFFF).to(torch.float32).add_(0.5).mul_(2.0**-32).log_().mul_(-2.0).sqrt_()
    angle = (words >> 32).to(torch.float32).mul_(2.0 * math.pi / 2**32)
    return torch.stack((angle.cos().mul_(radius), angle.sin_().mul_(radius)), dim=-1).flatten()
