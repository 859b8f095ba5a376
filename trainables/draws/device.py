"""`Draws` on a GPU: Philox4x64-10 in one Triton kernel, whose integers are those of `trainables.draws.philox.philox`.

The normals agree with the CPU's but for the last bits of a logarithm, a sine and a cosine.
"""

import math

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray
from torch import Tensor

from trainables.draws.philox import WORDS, PhiloxDraws, Purpose

_BLOCKS = 256
"""Counters that one program enciphers."""
_NORMALS = 2 * WORDS
"""Normals that one counter yields."""


@triton.jit
def _enciphered(counter, key0, key1):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The four words, each uint64 [blocks], of counters below 2^64 (Salmon et al., 2011)."""
    m0 = tl.full(counter.shape, 0xD2E7470EE14C6C93, tl.uint64)
    m1 = tl.full(counter.shape, 0xCA5A826395121157, tl.uint64)
    w0 = tl.full(counter.shape, 0x9E3779B97F4A7C15, tl.uint64)
    w1 = tl.full(counter.shape, 0xBB67AE8584CAA73B, tl.uint64)
    zero = tl.full(counter.shape, 0, tl.uint64)
    c0, c1, c2, c3 = counter, zero, zero, zero
    k0, k1 = zero + key0.to(tl.uint64), zero + key1.to(tl.uint64)
    for _ in tl.static_range(10):
        high0, low0 = tl.umulhi(m0, c0), m0 * c0
        high1, low1 = tl.umulhi(m1, c2), m1 * c2
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = k0 + w0, k1 + w1
    return c0, c1, c2, c3


@triton.jit
def _pair(word):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Two standard normals of a word, as `trainables.draws.philox.normals` makes them."""
    uniform = ((word & 0xFFFFFFFF).to(tl.uint32).to(tl.float32) + 0.5) * 2.3283064365386963e-10
    radius = tl.sqrt(-2.0 * tl.log(uniform))
    angle = (word >> 32).to(tl.uint32).to(tl.int32, bitcast=True).to(tl.float32) * 1.4629180792671596e-09
    return radius * tl.cos(angle), radius * tl.sin(angle)


@triton.jit
def _interleaved(a, b, c, d):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """[blocks] four times -> [blocks, 2, 2] in the order a, b, c, d."""
    return tl.join(tl.join(a, c), tl.join(b, d))


@triton.jit
def _image(first, POINTER: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The first image's number, int64: read on the device where a pointer is given, so that a replayed kernel draws anew."""
    return tl.load(first) if POINTER else first.to(tl.int64)


@triton.jit(do_not_specialize=["first", "key0", "key1"])
def _write_uniforms(out, first, key0, key1, count, BLOCKS: tl.constexpr, POINTER: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """`trainables.draws.philox.as_uniforms` of the first word of each image's block."""
    image = tl.program_id(0).to(tl.int64) * BLOCKS + tl.arange(0, BLOCKS)
    word, _, _, _ = _enciphered((_image(first, POINTER) + image + 1).to(tl.uint64), key0, key1)
    upper = (word >> 12).to(tl.int64).to(tl.float64)
    tl.store(out + image, (upper + 0.5) * 2.220446049250313e-16, mask=image < count)


@triton.jit(do_not_specialize=["first", "key0", "key1"])
def _write_normals(out, first, key0, key1, size, per_image, count, BLOCKS: tl.constexpr, POINTER: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Image i owns `per_image` counters and takes the first `size` of their normals."""
    block = tl.program_id(0).to(tl.int64) * BLOCKS + tl.arange(0, BLOCKS)
    w0, w1, w2, w3 = _enciphered((_image(first, POINTER) * per_image + block + 1).to(tl.uint64), key0, key1)
    a0, a1 = _pair(w0)
    b0, b1 = _pair(w1)
    c0, c1 = _pair(w2)
    d0, d1 = _pair(w3)
    normals = tl.reshape(tl.join(_interleaved(a0, b0, c0, d0), _interleaved(a1, b1, c1, d1)), [BLOCKS, 8])
    image = block // per_image
    place = (block - image * per_image)[:, None] * 8 + tl.arange(0, 8)[None, :]
    within = (image[:, None] < count) & (place < size)
    tl.store(out + image[:, None] * size + place, normals, mask=within)


class DeviceDraws:
    """`Draws` on one GPU. Orders are made on the host, once an epoch. The first image's number may lie on the GPU, int64 []."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.seed = seed
        self._device = device
        self._host = PhiloxDraws(seed)

    def normal(self, purpose: Purpose, *, first: int | Tensor, count: int, shape: tuple[int, ...]) -> Tensor:
        """Standard normals for images first..first+count-1, float32 [count, *shape]."""
        size = math.prod(shape)
        out = torch.empty((count, *shape), device=self._device)
        per_image = -(-size // _NORMALS)
        blocks = count * per_image
        where = {"BLOCKS": _BLOCKS, "POINTER": isinstance(first, Tensor)}
        grid = (triton.cdiv(blocks, _BLOCKS),)
        _write_normals[grid](out, first, self.seed, int(purpose), size, per_image, count, **where)
        return out

    def uniform(self, purpose: Purpose, *, first: int | Tensor, count: int) -> Tensor:
        """One number in the open interval (0, 1) an image, float64 [count]; from the first word of the image's block."""
        out = torch.empty(count, dtype=torch.float64, device=self._device)
        where = {"BLOCKS": _BLOCKS, "POINTER": isinstance(first, Tensor)}
        _write_uniforms[(triton.cdiv(count, _BLOCKS),)](out, first, self.seed, int(purpose), count, **where)
        return out

    def permutation(self, purpose: Purpose, index: int, n: int) -> NDArray[np.int64]:
        """The index-th random order of 0..n-1, int64 [n]."""
        return self._host.permutation(purpose, index, n)
