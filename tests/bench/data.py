"""Image sets: the search for near-duplicates in a large set, and reading beside decoding."""

import io
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.bench.table import say
from tests.support.prepared import prepared
from trainables.data import open_images
from trainables.data.near_duplicates import bounded_groups, near_pairs
from trainables.data.thumbnails import BLOCKS, SCALE, SHIFTS

GIB = 2**20
"""Of kibibytes, in which Linux tells a process's memory."""
LARGE = 1_280_000
BATCH = 256
_AT_ONCE = 20_000


def table() -> None:
    """On one core; a GPU's updates consume what the tables of one GPU say."""
    reading()
    split()


def split(count: int = LARGE) -> None:
    """CPU seconds and peak memory of the groups of made-up thumbnails, a twentieth of them planted copies."""
    values, planted = thumbnails(count)
    rank, begun = np.arange(count), time.process_time()
    pairs = near_pairs(values, rank)
    groups = bounded_groups(pairs, rank)
    seconds = time.process_time() - begun
    found = float((groups[planted[0]] == groups[planted[1]]).mean())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / GIB
    say(f"near-duplicates among {count:,} thumbnails", f"{seconds:.0f} CPU s", "600 s")
    say("peak memory", f"{peak:.2f} GiB", "4 GiB")
    say(f"planted copies in one group, of {len(planted[0]):,}", f"{found:.2%}", "99 %")


def thumbnails(count: int) -> tuple[NDArray[np.int8], tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Smooth random patterns [count, shifts, d] with a photograph's falling spectrum, and which are copies of which."""
    random = np.random.default_rng(0)
    down, right = np.meshgrid(np.arange(BLOCKS), np.arange(BLOCKS), indexing="ij")
    radius = np.hypot(down, right)
    spectrum = np.where(radius > 0, np.maximum(radius, 1) ** -1.2, 0).astype(np.float32)
    cosines = np.cos(np.pi * np.outer(np.arange(BLOCKS), np.arange(BLOCKS) + 0.5) / BLOCKS).astype(np.float32)
    values = np.empty((count, len(SHIFTS), 3 * BLOCKS**2), dtype=np.int8)
    for start in range(0, count, _AT_ONCE):
        waves = random.standard_normal((min(_AT_ONCE, count - start), BLOCKS, 3, BLOCKS), dtype=np.float32)
        waves = (0.4 * waves + waves[:, :, :1]) * spectrum[:, None]
        patterns = (cosines.T @ np.swapaxes(waves @ cosines, 1, 2)).swapaxes(1, 2).reshape(len(waves), -1)
        patterns = SCALE * (patterns - patterns.mean(1, keepdims=True)) / patterns.std(1, keepdims=True)
        for shift in range(len(SHIFTS)):
            moved = patterns if shift == 0 else patterns + 8 * random.standard_normal(patterns.shape, dtype=np.float32)
            values[start : start + len(patterns), shift] = np.rint(moved).clip(-127, 127)
    order = random.permutation(count)
    of, copies = order[: count // 20], order[count // 20 : 2 * (count // 20)]
    noise = np.rint(3 * random.standard_normal((len(of), values.shape[2]), dtype=np.float32)).astype(np.int16)
    shifts = random.integers(0, len(SHIFTS), len(of))
    values[copies, 0] = (values[of, shifts] + noise).clip(-127, 127)
    return values, (of, copies)


def reading() -> None:
    """Images a second of reading a prepared set in random order, and of decoding JPEGs of the same size."""
    for size, count in ((64, 8192), (256, 2048)):
        images = np.random.default_rng(0).integers(0, 256, (count, size // 8, size // 8, 3), dtype=np.uint8)
        images = images.repeat(8, 1).repeat(8, 2)
        with tempfile.TemporaryDirectory() as folder:
            prepared(Path(folder) / "set", images, np.arange(count) % 10, per_shard=512)
            stored = open_images(str(Path(folder) / "set"))
            order = np.random.default_rng(1).permutation(stored.train)[:BATCH]
            read = rate(partial(stored.read, order), BATCH)
        encoded = [jpeg(image) for image in images[:64]]
        decoded = rate(partial(decode, encoded), len(encoded))
        say(f"reading {BATCH} images of {size} px of a prepared set, in random order", f"{read:,.0f} images/s")
        say(f"decoding JPEGs of {size} px, as every epoch without it would", f"{decoded:,.0f} images/s")


def decode(files: list[bytes]) -> list[NDArray[np.uint8]]:
    return [np.asarray(Image.open(io.BytesIO(file))) for file in files]


def jpeg(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def rate(work: Callable[[], object], images: int, *, least_s: float = 2.0) -> float:
    """Images a CPU second of `work`, which goes through `images`."""
    work()
    begun, times = time.process_time(), 0
    while time.process_time() - begun < least_s:
        work()
        times += 1
    return times * images / (time.process_time() - begun)
