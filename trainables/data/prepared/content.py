"""The canonical order of a set's images, and the digests over it.

Images are ordered by the SHA-256 of their pixels, then by label. So the order and the digests depend on what the images and
labels are, and not on their names, the source's order and format, the sizes of shards, or the number of workers. Duplicates
are legal: equal images with equal labels are interchangeable, so that their order among each other says nothing.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint8]
"""uint8 [N, 32]: the SHA-256 of each image's pixels, H x W x C in C order."""


def pixel_hashes(images: NDArray[np.uint8]) -> Hashes:
    """The hash [N, 32] of each of images [N, H, W, C]."""
    digests = b"".join(hashlib.sha256(image.tobytes()).digest() for image in images)
    return np.frombuffer(digests, dtype=np.uint8).reshape(len(images), 32)


def canonical_order(hashes: Hashes, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows [N] in canonical order."""
    words = hashes.view(">u8")
    order: NDArray[np.int64] = np.lexsort((labels, *(words[:, i] for i in (3, 2, 1, 0))))
    return order


def content_digest(hashes: Hashes, labels: NDArray[np.int64], *, shape: tuple[int, int, int]) -> str:
    """64 hex digits over all images and labels, both in canonical order; `shape`: H, W, C."""
    digest = hashlib.sha256(f"{len(hashes)} {shape[0]} {shape[1]} {shape[2]}\n".encode())
    digest.update(np.ascontiguousarray(hashes).tobytes())
    digest.update(labels.astype("<i8").tobytes())
    return digest.hexdigest()


def set_digest(content: str, heldout: NDArray[np.int64], *, bad_count: int = 0) -> str:
    """16 hex digits over a content digest, the canonical indices that are held out, and how many files were left out."""
    left_out = f"{bad_count} left out".encode() if bad_count else b""
    return hashlib.sha256(content.encode() + heldout.astype("<i8").tobytes() + left_out).hexdigest()[:16]
