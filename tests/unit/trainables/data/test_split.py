"""Which images are held out: the two rules of near-duplicates, and the choice among their groups."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from trainables.data import near_duplicates, packaged
from trainables.data.near_duplicates import LARGEST_GROUP, Pairs, bounded_groups, likely_pairs, near_pairs
from trainables.data.npz_file import npz_members
from trainables.data.pixel_distance import NEAR_DUPLICATE_RMSE, near_duplicate_groups
from trainables.data.prepared.content import pixel_hashes
from trainables.data.split import BY_CONTRAST, BY_PIXELS, Split, split_by_contrast, split_images
from trainables.data.thumbnails import Thumbnails

Images = NDArray[np.uint8]


@pytest.fixture(scope="module")
def emoji() -> Images:
    return npz_members(str(packaged.record("emoji32").arrays))["images"].astype(np.uint8)


def distances(images: np.ndarray) -> np.ndarray:
    """RMSE of all pairs of images in [0, 1], the plain way."""
    flat = images.reshape(len(images), -1) / 255
    squares = np.stack([((flat - row) ** 2).mean(1) for row in flat])
    apart: np.ndarray = np.sqrt(squares)
    return apart


def drawn(count: int, *, size: int = 8, channels: int = 3, seed: int = 0) -> Images:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, channels), dtype=np.uint8)


def photographs(count: int, *, size: int = 16, contrast: float = 1.0, seed: int = 0) -> Images:
    """Smooth grey patterns about 100, each its own; contrast 1 spans the range."""
    coarse = np.random.default_rng(seed).normal(size=(count, 4, 4))
    smooth = coarse.repeat(size // 4, 1).repeat(size // 4, 2)
    return np.clip(100 + 60 * contrast * smooth, 0, 255).round().astype(np.uint8)[..., None]


def split_of(images: Images, labels: NDArray[np.int64], *, count: int) -> Split:
    return split_by_contrast(Thumbnails.of(images), pixel_hashes(images), labels, count=count)


def recoded(image: Images) -> Images:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=75)
    return np.asarray(Image.open(buffer))


def planted(images: Images) -> tuple[Images, list[tuple[int, int]]]:
    """Copies that were shifted by a pixel, re-encoded, brightened and stretched, and which images they are of."""
    down = np.concatenate([images[:50, :1], images[:50, :-1]], axis=1)
    diagonal = np.concatenate([down[:, :, 1:], down[:, :, -1:]], axis=2)
    again = np.stack([recoded(image) for image in images[50:100]])
    brighter = np.clip(images[100:150].astype(int) + 20, 0, 255).astype(np.uint8)
    stretched = np.clip(images[150:200] * 1.1, 0, 255).astype(np.uint8)
    copies = np.concatenate([down, diagonal, again, brighter, stretched])
    of = [*range(50), *range(50), *range(50, 200)]
    return copies, [(original, len(images) + at) for at, original in enumerate(of)]


def as_set(pairs: Pairs) -> set[tuple[int, int]]:
    return set(zip(pairs.low.tolist(), pairs.high.tolist(), strict=True))


def test_groups_are_the_connected_components_of_near_duplicates() -> None:
    base = drawn(40, size=9)
    chain = np.stack([np.clip(base[0].astype(int) + 11 * step, 0, 255) for step in range(4)]).astype(np.uint8)
    images = np.concatenate([base, chain, base[7:9]])
    near = distances(images) < NEAR_DUPLICATE_RMSE
    reach = np.linalg.matrix_power(near.astype(np.int64), 8) > 0
    expected = {frozenset(np.flatnonzero(row).tolist()) for row in reach}
    assert {frozenset(group.tolist()) for group in near_duplicate_groups(images)} == expected
    assert not near[0, 43]
    assert frozenset({0, 40, 41, 42, 43}) in expected


def test_split_follows_the_images_and_not_their_order_in_the_file() -> None:
    images, labels = drawn(60), np.arange(60) % 3
    images[30:33] = images[0:3]
    shuffled = np.random.default_rng(1).permutation(60)
    straight = split_images(images, labels, count=15).heldout
    mixed = split_images(images[shuffled], labels[shuffled], count=15).heldout
    as_set = {images[i].tobytes() for i in straight}
    assert as_set == {images[shuffled][i].tobytes() for i in mixed}


def test_split_fills_up_where_quotas_cannot_be_met() -> None:
    images, labels = drawn(20), np.array([0] * 10 + [1] * 10)
    images[1:10] = images[0]
    chosen = split_images(images, labels, count=8).heldout
    assert len(chosen) == 8
    assert set(labels[chosen]) == {1}


def test_a_split_never_takes_the_last_images_of_a_label() -> None:
    images, labels = drawn(40), np.array([0] * 20 + [1] * 18 + [2, 3])
    for count in range(2, 21):
        left = np.delete(labels, split_images(images, labels, count=count).heldout)
        assert set(left) == {0, 1, 2, 3}


@pytest.mark.slow
def test_planted_copies_are_found_by_all_pairs_and_by_the_search_that_serves_large_sets(
    emoji: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies, expected = planted(emoji)
    thumbnails = Thumbnails.of(np.concatenate([emoji, copies])).relative_to_the_set()
    rank = np.random.default_rng(0).permutation(len(thumbnails))
    every, likely = as_set(near_pairs(thumbnails, rank)), as_set(likely_pairs(thumbnails, rank))
    assert len(every & set(expected)) >= 0.99 * len(expected)
    assert len(likely & set(expected)) >= 0.99 * len(expected)
    assert likely <= every
    assert len(likely) >= 0.99 * len(every)
    monkeypatch.setattr(near_duplicates, "MOST_WINDOW", near_duplicates.LEAST_WINDOW)  # as among a million images
    assert len(as_set(likely_pairs(thumbnails, rank)) & set(expected)) >= 0.99 * len(expected)


def test_a_set_of_little_contrast_is_split_as_the_same_set_of_much() -> None:
    labels = np.arange(800) % 4
    faint, strong = photographs(800, contrast=0.08), photographs(800)
    assert np.abs(faint.astype(int) - 100).mean() < 8
    chosen = split_images(faint, labels, count=80)
    assert chosen.rule == BY_CONTRAST
    assert np.bincount(labels[chosen.heldout]).tolist() == [20] * 4
    for images in (faint, strong):
        values = Thumbnails.of(images).relative_to_the_set()
        groups = bounded_groups(near_pairs(values, np.arange(800)), np.arange(800))
        assert len(np.unique(groups)) > 780


def test_a_set_that_the_first_rule_can_split_keeps_its_split() -> None:
    images, labels = drawn(60), np.arange(60) % 3
    assert split_images(images, labels, count=15).rule == BY_PIXELS


def test_a_chain_of_much_alike_images_is_cut_at_the_largest_group_and_its_closest_stay_together() -> None:
    count = 5 * LARGEST_GROUP
    low = np.arange(count - 1)
    links = Pairs(low, low + 1, np.where(low % 2 == 0, 1, 100))
    groups = bounded_groups(links, np.arange(count))
    assert np.bincount(groups).max() <= LARGEST_GROUP
    assert (groups[low] == groups[low + 1])[::2].all()


def test_copies_stay_on_one_side_by_the_second_rule(emoji: Images) -> None:
    copies, expected = planted(emoji[:400])
    images = np.concatenate([emoji[:400], copies])
    chosen = split_of(images, np.zeros(len(images), dtype=np.int64), count=120)
    out = np.isin(np.arange(len(images)), chosen.heldout)
    assert sum(out[a] for a, _ in expected) > 10
    assert [pair for pair in expected if out[pair[0]] != out[pair[1]]] == []


@pytest.mark.parametrize("search", ["all pairs", "tables"])
def test_the_second_rule_follows_the_images_and_not_their_order(search: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "EXACT_BELOW", 10_000 if search == "all pairs" else 0)
    monkeypatch.setattr(near_duplicates, "MOST_WINDOW", 4)
    images, labels = photographs(300), np.arange(300) % 3
    images[200:240] = images[:40]
    labels[200:240] = labels[:40]
    mixed = np.random.default_rng(1).permutation(300)
    straight = split_of(images, labels, count=60).heldout
    shuffled = split_of(images[mixed], labels[mixed], count=60).heldout
    assert {images[i].tobytes() for i in straight} == {images[mixed[i]].tobytes() for i in shuffled}


def test_the_second_rule_leaves_training_images_of_every_class() -> None:
    images, labels = photographs(40), np.array([0] * 20 + [1] * 18 + [2, 3])
    for count in range(2, 21):
        assert set(np.delete(labels, split_of(images, labels, count=count).heldout)) == {0, 1, 2, 3}
