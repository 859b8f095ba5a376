"""The entries of the registry that are of images: one family of metrics for each network that features come from."""

from collections.abc import Iterator
from dataclasses import dataclass

from trainables.evaluation.metrics.metric import Metric, Samples

_HERE = "trainables.evaluation.metrics"
PER_DIMENSION = 5
"""Generated images a feature from which the extrapolation to infinitely many is offered: below it misses by half."""


@dataclass(frozen=True)
class _Family:
    """The metrics on one network's features."""

    extractor: str
    suffix: str
    """Behind every name; none where the name alone means these features to everybody."""
    on: str
    dimensions: int | None = None
    """None: they depend on the weights."""
    frechet: str = "fd"
    gaussian: bool = False
    """Whether the Gaussian kernel's distance is meant for such features (CMMD)."""
    classes: bool = False
    """Whether it is the classifier that the Inception score is defined by."""


_FAMILIES = (
    _Family("efflite0", "_efflite0_96", "EfficientNet-lite0 features at 96 px (224 px for images of 128 px and more)", 1280),
    _Family("inception", "", "the 2015 Inception network's features, published weights", 2048, frechet="fid", classes=True),
    _Family("inception_other", "_inception", "features of the 2015 Inception network, other weights", 2048),
    _Family("dinov2", "_dinov2", "DINOv2 class tokens", gaussian=True),
    _Family("vit", "_vit", "class tokens of a vision transformer from a file", gaussian=True),
)
EXTRACTOR_CHOICES = frozenset({*(family.extractor for family in _FAMILIES), "points"})
"""Those of which an evaluation has one."""


def of_features() -> Iterator[Metric]:
    """Every family's metrics, the packaged network's first."""
    for family in _FAMILIES:
        yield from _distances(family)
        yield from _coverage(family)
        yield from _rare(family)
    yield from _of_points()


def _distances(family: _Family) -> Iterator[Metric]:
    fd, unit = f"{family.frechet}{family.suffix}", "squared feature distance"
    frechet, without_each = f"{_HERE}.frechet:distance_to_real", f"{_HERE}.frechet:without_each"
    train = Samples(family.extractor, "train")
    what = f"Frechet distance to the training split on {family.on}"
    yield Metric(
        fd,
        "minimize",
        unit,
        what,
        needs=train,
        compute=frechet,
        replicates=without_each,
        bias="falls",
        scale="log",
        plain="how far generated images are from the training images, as a network sees both (Frechet distance)",
        judges=True,
    )
    yield Metric(
        f"{fd}_heldout",
        "minimize",
        unit,
        "the same against the held-out split",
        needs=Samples(family.extractor, "heldout"),
        compute=frechet,
        replicates=without_each,
        bias="falls",
        scale="log",
    )
    yield Metric(
        f"kid{family.suffix}",
        "minimize",
        "squared kernel distance",
        "kernel distance (unbiased) to the training split, same features",
        needs=train,
        compute=f"{_HERE}.kernel:kernel_distance",
        replicates=f"{_HERE}.kernel:without_each",
        cost="pairs",
        plain="how far generated images are from the training images, as a network sees both (kernel distance)",
        judges=True,
    )


def _coverage(family: _Family) -> Iterator[Metric]:
    train, both = Samples(family.extractor, "train"), Samples(family.extractor, "both")
    manifolds = f"{_HERE}.manifolds"
    yield Metric(
        f"precision{family.suffix}",
        "maximize",
        "share",
        "share of generated images within the training images' manifold, k = 3 (arXiv 1904.06991), same features",
        needs=train,
        compute=f"{manifolds}:precision",
        replicates=f"{manifolds}:precision_without_each",
        cost="pairs",
        in_tables=False,
    )
    yield Metric(
        f"recall{family.suffix}",
        "maximize",
        "share",
        "share of training images within the generated images' manifold, k = 3 (arXiv 1904.06991), same features",
        needs=train,
        compute=f"{manifolds}:recall",
        replicates=f"{manifolds}:recall_without_each",
        cost="pairs",
        bias="rises",
        in_tables=False,
    )
    yield Metric(
        f"memorisation{family.suffix}",
        "maximize",
        "ratio",
        "mean distance to the nearest training image, over the held-out images' own; below 1 the samples lie nearer to the "
        "training images than new ones do",
        needs=both,
        compute=f"{_HERE}.copies:distance_ratio",
        replicates=f"{_HERE}.copies:ratios_without_each",
        cost="pairs",
        in_tables=False,
    )
    yield Metric(
        f"diversity{family.suffix}",
        "maximize",
        "ratio",
        "mean squared distance between two generated images, over that of two held-out ones",
        needs=Samples(family.extractor, "heldout"),
        compute=f"{_HERE}.copies:diversity",
        in_tables=False,
    )


def _of_points() -> Iterator[Metric]:
    yield Metric(
        "sliced_w1",
        "minimize",
        "distance in the plane",
        "sliced 1-Wasserstein distance of points to the training split; the held-out points' own is the floor: a trial works "
        "at up to 3 times it, and has failed from 8 times it on",
        needs=Samples("points", "train"),
        compute=f"{_HERE}.sliced:first_wasserstein",
        bias="falls",
        scale="log",
        judges=True,
    )


def _rare(family: _Family) -> Iterator[Metric]:
    train = Samples(family.extractor, "train")
    yield Metric(
        f"mind{family.suffix}",
        "minimize",
        "squared feature distance",
        "sliced squared 2-Wasserstein distance to the training split over fixed directions (arXiv 2605.06797), same features",
        needs=train,
        compute=f"{_HERE}.sliced:distance_to_real",
        replicates=f"{_HERE}.sliced:without_each",
        bias="falls",
        in_tables=False,
    )
    if family.dimensions is not None:
        yield Metric(
            f"{family.frechet}_infinity{family.suffix}",
            "minimize",
            "squared feature distance",
            f"the Frechet distance extrapolated to infinitely many images (arXiv 1911.07023); from {PER_DIMENSION} images a "
            "feature on",
            needs=train,
            compute=f"{_HERE}.frechet:distance_at_infinity",
            scale="log",
            least_n=PER_DIMENSION * family.dimensions,
            in_tables=False,
        )
    if family.gaussian:
        yield Metric(
            f"mmd{family.suffix}",
            "minimize",
            "1000 x squared kernel distance",
            "CMMD's distance to the training split (arXiv 2401.09603): Gaussian kernel of width 10 on features of length 1",
            needs=train,
            compute=f"{_HERE}.kernel:gaussian_distance",
            cost="pairs",
            bias="falls",
            in_tables=False,
        )
    if family.classes:
        yield Metric(
            "inception_score",
            "maximize",
            "score",
            "exp of the mean divergence of class probabilities from their mean, over 10 parts (arXiv 1606.03498)",
            needs=train,
            compute=f"{_HERE}.class_score:inception_score",
            bias="rises",
            least_n=20,
            in_tables=False,
        )
