"""The classifier of noisy images: what it counts and costs, and that it trains, scores and goes on as every method does."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from search_spaces.presets import preset
from tests.support.classifiers import OWN, classifier, of_shades
from tests.support.kept import kept_by_autograd
from tests.support.networks import closed_forms_are_exact_of_images, compiles_to_the_same, goes_on_bit_for_bit
from tests.support.paths import FEW_HELD_OUT, FEW_IMAGES
from tests.support.trials import batch, moved, trial_of_recipe
from trainables.assignment import Assignment
from trainables.config.evaluation import EvaluationConfig
from trainables.config.fields import identity
from trainables.config.trial import DataConfig, TrialConfig
from trainables.data import describe, open_images
from trainables.evaluation.metrics.classes import HeldoutClasses
from trainables.evaluation.metrics.registry import METRICS
from trainables.networks.cost import parameter_count
from trainables.networks.memory import Fit, peak_bytes, state_bytes
from trainables.networks.registry import blank, build
from trainables.report import Ended, Rung, Scored
from trainables.train import train
from trainables.training.batches import Batch, Batches
from trainables.training.learner import Learner
from trainables.training.step import EagerStep
from trainables.training.workers import Workers

KEPT = Fit(1, activation_checkpointing=False)
VARIANTS: dict[str, dict[str, Any]] = {
    "adm": {},
    "adaptive": {"pool": "adaptive"},
    "convolutions": {"resample": "convolutions", "scale_shift": False},
    "one level": {"multipliers": (1,), "attention": ()},
    "legacy order": {"attention_order": "heads"},
}


def few_images_trial(**changes: Any) -> TrialConfig:
    described = describe(FEW_IMAGES, holdout=FEW_HELD_OUT)
    data = DataConfig(digest=described.digest, image_size=32, num_classes=described.num_classes)
    return classifier({"multipliers": (1, 1), "attention": (2,)}, data=data, **changes)


@pytest.mark.parametrize("trunk", VARIANTS.values(), ids=VARIANTS)
def test_the_closed_forms_are_exact(trunk: dict[str, Any]) -> None:
    closed_forms_are_exact_of_images(classifier(trunk, attention="fp32"), out=(5,))


def test_the_preset_is_adm_s_in_its_54_million_parameters() -> None:
    trial = trial_of_recipe(preset("adm-classifier-256"), data=DataConfig(digest="none", image_size=256, num_classes=1000))
    with torch.device("meta"):
        assert parameter_count(trial) == sum(parameter.numel() for parameter in blank(trial).parameters()) == 54_096_360


@pytest.mark.parametrize(
    "changes",
    [{}, {"attention": "fp32"}, {"precision": "bf16"}, {"precision": "bf16", "residual": "bf16"}],
    ids=["fp32", "fp32 attention", "bf16", "bf16 residual"],
)
@pytest.mark.parametrize("trunk", VARIANTS.values(), ids=VARIANTS)
def test_the_memory_model_follows_what_autograd_keeps(trunk: dict[str, Any], changes: dict[str, Any]) -> None:
    trial = classifier(trunk, **changes)
    more, fewer = (kept_by_autograd(trial, images=images) for images in (6, 2))
    modelled = peak_bytes(trial, KEPT) - state_bytes(trial)
    assert 0.85 < 4 * modelled / (more - fewer) < 1.5


def test_a_fresh_one_of_means_gives_every_class_the_same_chance_and_both_differ_from_seed_to_seed() -> None:
    means, attending = (build(classifier({"pool": pool})) for pool in ("adaptive", "attention"))
    assert (means(*batch(2)) == 0).all()
    assert attending(*batch(2)).std() > 0
    position = attending.state_dict()["pool.position"]
    assert position.std() == pytest.approx(0.02, rel=0.1)
    assert not torch.equal(position, build(classifier(seed=1)).state_dict()["pool.position"])


@pytest.mark.slow
def test_it_compiles_in_one_graph() -> None:
    z, t, _ = batch(2)
    compiles_to_the_same(moved(classifier({"multipliers": (1,), "attention": ()})), z, t)


def test_the_loss_is_the_cross_entropy_of_the_noisy_image() -> None:
    trial = classifier()
    step, (x, t, y) = EagerStep(trial), batch(4)
    e = x.flip(0)
    per_image = t.view(-1, 1, 1, 1)
    with torch.no_grad():
        losses = step(Batch(x=x, e=e, t=t, y=y))
        logits = step.network(per_image * x + (1 - per_image) * e, t)
    torch.testing.assert_close(losses, -F.log_softmax(logits, dim=1)[torch.arange(4), y])


def test_it_meets_every_label_though_denoisers_have_some_dropped() -> None:
    images, trial = open_images(FEW_IMAGES, holdout=FEW_HELD_OUT), few_images_trial(diffusion={"label_drop": 0.9})
    met = Batches(trial, images, device=torch.device("cpu")).take(0, 64).y
    assert met.max() < trial.data.num_classes


def test_its_id_has_its_times_and_noise_and_nothing_else_of_the_diffusion() -> None:
    own = classifier().id
    assert classifier(diffusion={"prediction": "v", "loss": "x", "label_drop": 0.5, "t_eps_train": 0.2}).id == own
    apart = [classifier(diffusion=each) for each in ({"noise_scale": 2.0}, {"t_sampling": {"kind": "uniform"}})]
    assert len({own, *(trial.id for trial in apart)}) == 3
    assert identity(classifier())["diffusion"].keys() == {"noise_scale", "t_sampling"}


REFUSED: dict[str, dict[str, Any]] = {
    "`method` classifier trains the trunk unet_classifier, and no other method does": {"method": {"kind": "denoiser"}},
    "`method` classifier finds one of several classes .* num_classes=1": {
        "data": DataConfig(digest="none", image_size=16, num_classes=1)
    },
    "`method` classifier finds .* got path=staged": {"diffusion": {"path": {"kind": "staged", "stages": 2}}},
}


@pytest.mark.parametrize(("message", "changes"), REFUSED.items(), ids=lambda value: str(value)[:40])
def test_what_a_classifier_cannot_be_is_refused(message: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=message):
        TrialConfig.model_validate({**classifier().model_dump(), **changes})


def test_rungs_that_compare_samples_are_refused_of_what_draws_none() -> None:
    told: dict[str, Any] = {"images": 8, "rungs": (8,), "storage": "nowhere"}
    with pytest.raises(ValueError, match="`rung_metric` kid_efflite0_96 is of what draws samples, got method=cl"):
        Assignment(trial=classifier(), rung_metric="kid_efflite0_96", **told)


def test_it_goes_on_bit_for_bit_from_where_it_was_saved() -> None:
    images, trial = open_images(FEW_IMAGES, holdout=FEW_HELD_OUT), few_images_trial(batch_size=2)
    goes_on_bit_for_bit(*(Learner(trial, images, workers=Workers()) for _ in range(2)))


def test_the_held_out_scores_are_those_of_the_grids_places() -> None:
    images, trial = open_images(FEW_IMAGES, holdout=FEW_HELD_OUT), few_images_trial(diffusion={"noise_scale": 2.0})
    grid, network = HeldoutClasses(images), moved(trial)
    scores = {name: METRICS[name].of_network(grid, network, trial) for name in (OWN, "heldout_accuracy")}
    surprise, right = [], []
    with torch.no_grad():
        for z, t, y in grid.places(trial, size=3):
            chances = network(z, t).softmax(dim=1)
            surprise += [-math.log(float(chances[i, label])) for i, label in enumerate(y)]
            right += (chances.argmax(1) == y).tolist()
    assert len(right) == 2 * grid.images
    assert scores[OWN] == pytest.approx(sum(surprise) / len(surprise), rel=1e-5)
    assert scores["heldout_accuracy"] == pytest.approx(sum(right) / len(right))


def test_a_trained_one_finds_classes_that_it_never_saw_and_has_no_scores_of_samples(tmp_path: Path) -> None:
    trial, told = of_shades(tmp_path)
    how = EvaluationConfig(n=4, sampler="euler", steps=2, t_eps_sample=0.05, weights="raw")
    reports = [*train(Assignment(trial=trial, images=240, rungs=(8, 240), rung_metric=OWN, evaluations=(how,), **told))]
    first, last = (report for report in reports if isinstance(report, Rung))
    assert last.values[OWN] < first.values[OWN]
    assert not last.pictures
    [scored] = [report for report in reports if isinstance(report, Scored)]
    assert scored.values.keys() == scored.raw_values.keys() == {OWN, "heldout_accuracy"}
    assert scored.values["heldout_accuracy"] > 0.8
    assert (scored.grid, scored.heldout, scored.rows, scored.collapsed) == ("", {}, {}, False)
    assert isinstance(reports[-1], Ended)
    assert reports[-1].outcome == "done"
