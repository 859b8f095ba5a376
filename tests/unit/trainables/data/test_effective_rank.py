"""The effective rank of patches: how many directions they fill."""

import numpy as np
import pytest

from tests.support.images import NoiseImages
from tests.support.paths import FEW_HELD_OUT, FEW_IMAGES
from trainables.data import open_images
from trainables.data.effective_rank import effective_rank, rank_of


def test_alike_in_all_directions_it_is_their_number_and_along_a_line_it_is_one() -> None:
    assert rank_of(np.eye(7) * 3) == pytest.approx(7)
    assert rank_of(np.outer(np.arange(5.0), np.arange(5.0))) == pytest.approx(1, abs=1e-6)
    assert rank_of(np.diag([0.5, 0.25, 0.25])) == pytest.approx(2**1.5)
    assert rank_of(np.zeros((3, 3))) == 0


def test_noise_fills_nearly_all_of_a_patch_and_pictures_a_small_part() -> None:
    noise = effective_rank(NoiseImages(400, size=16, classes=2), 4)
    assert 0.9 * 48 < noise <= 48
    pictures = open_images(FEW_IMAGES, holdout=FEW_HELD_OUT)
    ranks = [effective_rank(pictures, patch) for patch in (4, 8, 16)]
    assert ranks == sorted(ranks)
    assert all(rank < 0.5 * 3 * patch**2 for rank, patch in zip(ranks, (4, 8, 16), strict=True))


def test_it_is_that_of_the_covariance_of_the_training_patches_alone() -> None:
    images = open_images(FEW_IMAGES, holdout=FEW_HELD_OUT)
    pixels = images.read(images.train).double() / 127.5 - 1
    patches = [pixels[:, :, 8 * i : 8 * i + 8, 8 * j : 8 * j + 8].flatten(1).numpy() for i in range(4) for j in range(4)]
    assert effective_rank(images, 8) == pytest.approx(rank_of(np.cov(np.concatenate(patches).T)), rel=1e-6)
