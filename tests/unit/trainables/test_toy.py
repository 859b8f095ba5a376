"""The toy: points of a spiral, lifted into many dimensions, and an MLP; the same trial, trainer and scores as of images."""

from itertools import pairwise
from math import hypot
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from search_spaces.presets import preset
from tests.support.trials import trial_of_recipe
from trainables.assignment import Assignment
from trainables.config.evaluation import EvaluationConfig
from trainables.config.network import ConvStemEmbedding
from trainables.config.trial import DataConfig, TrialConfig
from trainables.data import describe, open_images
from trainables.data.readers.spiral import NAME, RADIUS, point
from trainables.diffusion.lift import Lift
from trainables.evaluation.features.points import POINTS
from trainables.evaluation.grid import scatter
from trainables.evaluation.metrics.sliced import first_wasserstein
from trainables.evaluation.real import Reference
from trainables.networks.cost import forward_flops, parameter_count
from trainables.networks.registry import build
from trainables.report import Scored
from trainables.train import train

SPIRAL = describe(NAME)


def toy(**diffusion: object) -> TrialConfig:
    """The preset's trial with some keys of its diffusion changed."""
    recipe = preset("toy")
    data = DataConfig(digest=SPIRAL.digest, image_size=1, channels=2, num_classes=1, flip=False)
    changed = recipe.diffusion.model_copy(update=diffusion)
    return trial_of_recipe(recipe.model_copy(update={"diffusion": changed, "batch_size": 16}), data=data)


def test_the_points_lie_on_the_spiral_and_are_the_same_everywhere() -> None:
    images = open_images(NAME)
    points = POINTS.features(images.read(images.train[:200]))
    curve = torch.tensor([point(i / 4000) for i in range(4001)])
    assert torch.cdist(points, curve).min(1).values.max() < 2 / 255
    assert points.norm(dim=1).max() <= RADIUS + 1 / 127
    assert images.fingerprint == SPIRAL.digest == "1456dc5a88926805"
    assert (SPIRAL.train_count, SPIRAL.heldout_count) == (len(images.train), len(images.heldout))
    radii = [hypot(*point(u / 10)) for u in range(11)]
    assert all(a < b for a, b in pairwise(radii))


def test_a_lift_keeps_lengths_and_comes_back() -> None:
    x = torch.randn(5, 2, 1, 1)
    for dimensions in (2, 512):
        lift = Lift(2, 1, dimensions)
        y = lift.up(x)
        assert y.shape == (5, dimensions, 1, 1)
        assert torch.allclose(y.flatten(1).norm(dim=1), x.flatten(1).norm(dim=1), atol=1e-6)
        assert torch.allclose(lift.down(y), x, atol=1e-6)


def test_the_distance_of_two_sets_apart_is_the_mean_of_their_shift_along_directions() -> None:
    points = torch.randn(300, 2)
    assert first_wasserstein(points, Reference(points)) == 0
    moved = first_wasserstein(points + torch.tensor([3.0, 0.0]), Reference(points))
    assert moved == pytest.approx(3 * 2 / torch.pi, rel=0.05)


def test_an_mlp_costs_what_its_closed_form_says() -> None:
    trial = toy()
    network = build(trial)
    assert parameter_count(trial) == sum(parameter.numel() for parameter in network.parameters())
    with FlopCounterMode(display=False) as counter:
        network(torch.randn(3, 512, 1, 1), torch.rand(3), torch.zeros(3, dtype=torch.int64))
    assert counter.get_total_flops() == 3 * forward_flops(trial)


@pytest.mark.slow
def test_a_toy_is_trained_scored_and_drawn(tmp_path: Path) -> None:
    how = EvaluationConfig(n=64, features="points", sampler="euler", steps=2, t_eps_sample=0.05, weights="ema")
    trial = toy(dimensions=8)
    assignment = Assignment(trial=trial, images=64, rungs=(32,), evaluations=(how,), data=NAME, storage=str(tmp_path))
    (scored,) = (report for report in train(assignment) if isinstance(report, Scored))
    assert 0 < scored.heldout["sliced_w1"] < 0.1 < scored.values["sliced_w1"]
    picture = np.asarray(Image.open(scored.grid.removeprefix("file://")))
    assert picture.min() < 255
    assert picture.shape[0] == picture.shape[1]


def test_points_are_drawn_where_they_lie() -> None:
    drawn = scatter(torch.tensor([[-1.0, 1.0]]))[0, 0]
    assert drawn[:4, :4].min() < 255
    assert drawn[5:].min() == drawn[:, 5:].min() == 255


def test_an_mlp_of_several_patches_is_refused() -> None:
    images = DataConfig(digest="none", image_size=16, num_classes=1)
    with pytest.raises(ValueError, match="`trunk` mlp takes"):
        trial_of_recipe(preset("toy"), data=images)
    with pytest.raises(ValueError, match="`trunk` mlp has a linear head.*got head=pixel_mlp"):
        type(preset("toy").model).model_validate({**preset("toy").model.model_dump(), "head": {"kind": "pixel_mlp"}})


def test_what_an_mlp_does_not_read_is_no_part_of_its_id() -> None:
    trial = toy()
    for changes in ({"norm": "rms"}, {"heads": 2}, {"bias": False}):
        model = trial.model.model_copy(update=changes)
        assert trial.model_copy(update={"model": model}).id == trial.id
    wider = trial.model.model_copy(update={"embedding": ConvStemEmbedding()})
    assert trial.model_copy(update={"model": wider}).id != trial.id
