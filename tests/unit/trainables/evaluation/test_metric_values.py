"""The metrics of feature sets: against torch-fidelity's and prdc's numbers (tests/golden/README.md), and by closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from tests.support.inception import SCORES
from trainables.evaluation.metrics import copies, frechet, kernel, manifolds, sliced
from trainables.evaluation.metrics.class_score import score_of_logits
from trainables.evaluation.metrics.frechet import FeatureSums, distance_at_infinity, distance_to_real, frechet_distance, moments
from trainables.evaluation.metrics.jackknife import GROUPS, group_of, standard_error
from trainables.evaluation.metrics.kernel import gaussian_distance, kernel_distance
from trainables.evaluation.metrics.registry import METRICS, Samples
from trainables.evaluation.real import Reference, References

A, B, C = (torch.from_numpy(SCORES[name]) for name in "ABC")


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def golden(name: str) -> float:
    return float(SCORES[name])


@pytest.mark.parametrize(("generated", "real", "name"), [(C, B, "fid_C_B"), (A, B, "fid_A_B_exact"), (A, C, "fid_A_C_exact")])
def test_frechet_distances_are_the_golden_ones(generated: Tensor, real: Tensor, name: str) -> None:
    assert distance_to_real(generated, Reference(real)) == pytest.approx(golden(name), rel=1e-6)


@pytest.mark.slow
def test_the_frechet_distance_of_16_images_at_2048_dimensions_is_the_golden_one() -> None:
    pools = [torch.from_numpy(SCORES[f"pool_{size}"]) for size in (32, 64)]
    assert distance_to_real(pools[0], Reference(pools[1])) == pytest.approx(golden("fid_pool32_pool64_exact"), rel=1e-6)


@pytest.mark.parametrize(("generated", "name"), [(C, "kid_C_B_full"), (A, "kid_A_B_full")])
def test_kernel_distances_are_the_golden_ones(generated: Tensor, name: str) -> None:
    assert kernel_distance(generated, Reference(B)) == pytest.approx(golden(name), rel=1e-6)


@pytest.mark.parametrize(("generated", "name"), [(C, "precision_recall_C_B_k3"), (A, "precision_recall_A_B_k3")])
def test_precision_and_recall_are_the_golden_ones(generated: Tensor, name: str) -> None:
    found = manifolds.precision(generated, Reference(B)), manifolds.recall(generated, Reference(B))
    assert found == pytest.approx(SCORES[name], abs=1e-7)


def test_inception_scores_are_the_golden_ones() -> None:
    logits = torch.from_numpy(SCORES["isc_logits"])
    assert score_of_logits(logits, parts=10) == pytest.approx(SCORES["isc_splits10_shuffle1"][0], rel=1e-7)
    assert score_of_logits(logits, parts=1) == pytest.approx(SCORES["isc_splits1_shuffle0"][0], rel=1e-7)


def test_precision_and_recall_hold_no_whole_matrix_of_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = manifolds.precision(C, Reference(B)), manifolds.recall(C, Reference(B))
    monkeypatch.setattr(manifolds, "_ROWS", 32)
    blocks = [len(block) for block in manifolds.distances(C, B)]
    assert (max(blocks), sum(blocks)) == (32, len(C))
    assert (manifolds.precision(C, Reference(B)), manifolds.recall(C, Reference(B))) == whole


@pytest.mark.parametrize("n", [20, 300])
def test_distances_of_a_set_to_itself_are_0(n: int) -> None:
    features = normal(n, 48)
    real = Reference(features)
    assert (distance_to_real(features, real), sliced.distance_to_real(features, real)) == (0, 0)
    assert gaussian_distance(features, real) == pytest.approx(0, abs=1e-9)


OF_SAMPLES = [name for name, metric in METRICS.items() if isinstance(metric.needs, Samples) and metric.needs.extractor == "vit"]


@pytest.mark.parametrize(
    ("features", "rule"),
    [
        (torch.ones(1, 8), r"n >= 2, got torch.float32 \[1, 8\]"),
        (torch.full((4, 8), torch.nan), "must be finite, got NaN or infinity"),
        (torch.ones(4, 9), "must have the reference's 8 dimensions"),
    ],
)
@pytest.mark.parametrize("name", OF_SAMPLES)
def test_every_metric_refuses_features_that_do_not_compare(name: str, features: Tensor, rule: str) -> None:
    real = References(train=Reference(normal(9, 8).float()), heldout=Reference(normal(7, 8).float()))
    with pytest.raises(ValueError, match=rule):
        METRICS[name].of_samples(features, real)


@pytest.mark.parametrize("name", OF_SAMPLES)
@pytest.mark.parametrize(("n", "d"), [(50, 8), (50, 80)])
def test_leaving_a_group_out_is_the_score_of_the_others(name: str, n: int, d: int) -> None:
    real = References(train=Reference(normal(60, d, seed=1).float()), heldout=Reference(normal(40, d, seed=2).float()))
    features, groups = normal(n, d).float() * 1.5 + 0.2, torch.tensor(group_of(n))
    found = METRICS[name].without_each(features, real, groups)
    expected = [METRICS[name].of_samples(features[groups != group], real) for group in range(GROUPS)]
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_groups_are_of_equal_size_and_some_images_are_in_none() -> None:
    groups = np.array(group_of(50))
    assert [int((groups == group).sum()) for group in (-1, *range(GROUPS))] == [2, *([3] * GROUPS)]
    assert group_of(31) == []
    assert standard_error([]) is None


@pytest.mark.slow
@pytest.mark.parametrize(("n", "d"), [(64, 96), (320, 48)])
@pytest.mark.parametrize("name", ["fd_vit", "kid_vit"])
def test_the_jackknifes_error_is_the_spread_over_independent_draws(name: str, n: int, d: int) -> None:
    """Over 40 draws the spread itself is known to 11 %."""
    split = Reference(normal(1000, d, seed=99))
    real, groups, scale = References(split, split), torch.tensor(group_of(n)), torch.linspace(0.5, 1.5, d).double()
    values, squares = [], []
    for seed in range(40):
        features = normal(n, d, seed=seed) * scale + 0.3
        values.append(METRICS[name].of_samples(features, real))
        error = standard_error(METRICS[name].without_each(features, real, groups))
        assert error is not None
        squares.append(error**2)
    assert math.sqrt(np.mean(squares)) == pytest.approx(np.std(values, ddof=1), rel=0.25)


def test_streamed_moments_are_those_of_all_features_whoever_saw_them() -> None:
    first, second = FeatureSums(48), FeatureSums(48)
    first.add(C[:7])
    second.add(C[100:])
    second = FeatureSums.of(second.tensors())  # a restart
    first.add(C[7:100])
    second.merge(first)
    expected, found = moments(C), second.moments()
    torch.testing.assert_close(found.mean, expected.mean)
    torch.testing.assert_close(found.covariance, expected.covariance)
    with pytest.raises(ValueError, match=r"of 48 dimensions, got \[3, 4\]"):
        first.add(torch.ones(3, 4))
    with pytest.raises(ValueError, match="at least 2 images, got 0"):
        FeatureSums(3).moments()


def test_the_frechet_distance_is_scipys_where_that_is_real() -> None:
    own, other = moments(C), moments(B)
    cross = np.trace(sqrtm(own.covariance.numpy() @ other.covariance.numpy()).real)
    expected = float((own.mean - other.mean).square().sum() + own.covariance.trace() + other.covariance.trace()) - 2 * cross
    assert frechet_distance(C, other) == pytest.approx(expected, rel=1e-8)


def test_a_covariance_without_full_rank_gives_a_real_number() -> None:
    flat = normal(40, 8)
    flat[:, 4:] = 1.0
    assert distance_to_real(flat, Reference(flat.clone())) == 0
    assert math.isfinite(distance_to_real(torch.ones(40, 8), Reference(flat)))


def test_the_distance_at_infinity_needs_5_images_a_dimension_and_is_less_biased() -> None:
    real = Reference(normal(20_000, 16, seed=5))
    features = normal(400, 16, seed=6)
    assert abs(distance_at_infinity(features, real)) < distance_to_real(features, real) / 2
    with pytest.raises(ValueError, match=r"needs n >= 5 d = 80 images, got n=79"):
        distance_at_infinity(features[:79], real)


def test_the_sliced_distance_of_a_shift_is_its_square() -> None:
    features, shift = normal(64, 12), torch.full((12,), 0.5, dtype=torch.float64)
    assert sliced.distance_to_real(features + shift, Reference(features)) == pytest.approx(12 * 0.25, rel=0.2)


def test_copies_are_told_from_new_images_and_one_image_from_many() -> None:
    real = References(train=Reference(normal(100, 8, seed=1)), heldout=Reference(normal(80, 8, seed=2)))
    assert copies.distance_ratio(real.train.features[:20], real) == pytest.approx(0, abs=1e-6)
    assert copies.distance_ratio(normal(200, 8, seed=3), real) == pytest.approx(1, abs=0.2)
    assert copies.diversity(normal(1, 8).expand(20, -1), real.heldout) == pytest.approx(0, abs=1e-20)
    assert copies.diversity(normal(500, 8, seed=4), real.heldout) == pytest.approx(1, abs=0.15)


def test_the_gaussian_distance_is_the_mean_over_pairs_written_out() -> None:
    a, b = (torch.nn.functional.normalize(each.double(), dim=1) for each in (A[:5], B[:6]))

    def mean(x: Tensor, y: Tensor) -> float:
        return float(np.mean([math.exp(-float((i - j).square().sum()) / 200) for i in x for j in y]))

    assert gaussian_distance(A[:5], Reference(B[:6])) == pytest.approx(
        1000 * (mean(a, a) + mean(b, b) - 2 * mean(a, b)), rel=1e-6
    )


def test_no_metric_of_features_is_without_a_test_here() -> None:
    used = {METRICS[name].compute.rpartition(":")[0].rpartition(".")[2] for name in OF_SAMPLES}
    assert used == {module.__name__.rpartition(".")[2] for module in (frechet, kernel, manifolds, sliced, copies)}
