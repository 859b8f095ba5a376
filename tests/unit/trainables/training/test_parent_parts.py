"""A child that begins with a part of its parent's weights, as the axis parent_part says."""

from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from tests.support.paths import FEW_HELD_OUT, FEW_IMAGES
from tests.support.trials import small_model, small_trial
from tests.unit.trainables.training.test_learner import IMAGES
from trainables.assignment import Assignment
from trainables.config.budget_rules import of_start
from trainables.config.evaluation import EvaluationConfig
from trainables.config.evaluation_rules import check_evaluation
from trainables.config.recipe import Parent
from trainables.config.trial import DataConfig, TrialConfig
from trainables.data import describe
from trainables.report import Phase
from trainables.storage.checkpoint import Store
from trainables.train import train
from trainables.training.learner import Learner
from trainables.training.workers import Workers

ENCODER: tuple[Literal["encoder"]] = ("encoder",)


def of(trunk: dict[str, Any] | None = None, model: dict[str, Any] | None = None, **changes: Any) -> TrialConfig:
    given = {"class_tokens": 0, "trunk": {"kind": "encoder_decoder", **(trunk or {})}, **(model or {})}
    return small_trial(small_model(**given), **changes)


def learner(trial: TrialConfig, *, updates: int = 0) -> Learner:
    made = Learner(trial, IMAGES, workers=Workers())
    for _ in range(updates):
        made.update()
    return made


def copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def test_a_child_has_its_parent_s_encoder_and_its_own_seed_s_weights_in_every_average() -> None:
    ema = [{"kind": "decay", "name": "slow", "decay": 0.9}, {"kind": "decay", "name": "ema", "decay": 0.99}]
    parent = learner(of({"decoder_width": 64}), updates=3).parts()["model"]
    child = learner(of({"decoder_width": 24}, seed=7, ema=ema))
    fresh = copied(child.parts()["model"])
    child.begin_from(parent, parts=ENCODER)
    begun = child.parts()
    assert child.step == 0
    for name, own in fresh.items():
        expected = parent[name] if name.startswith("encoder.") else own
        assert all(torch.equal(begun[part][name], expected) for part in ("model", "slow", "ema"))
    assert any(not torch.equal(fresh[name], parent[name]) for name in fresh if name.startswith("encoder."))


def test_an_encoder_of_another_shape_or_none_is_refused_by_name() -> None:
    longer = learner(of(model={"depth": 5})).parts()["model"]
    with pytest.raises(ValueError, match=r"a parent's encoder must have the trial's shape, .* encoder\.blocks\.4"):
        learner(of()).begin_from(longer, parts=ENCODER)
    plain = learner(small_trial()).parts()["model"]
    with pytest.raises(ValueError, match=r"a parent's encoder must have the trial's shape, .* encoder\.blocks\.0"):
        learner(of()).begin_from(plain, parts=ENCODER)


def test_a_trunk_without_an_encoder_has_no_such_part() -> None:
    parent = Parent(trial="0" * 12, images=8, parts=ENCODER)
    with pytest.raises(ValueError, match="`parent.parts` names what .* got parts=encoder, trunk=transformer; leave it out"):
        small_trial(parent=parent.model_dump())


def test_a_part_counts_in_the_id_and_a_whole_parent_s_stays_what_it_was() -> None:
    whole, part = (of(parent={"trial": "0" * 12, "images": 8, "parts": parts}) for parts in ((), ENCODER))
    assert of(parent={"trial": "0" * 12, "images": 8}).id == whole.id
    assert len({of().id, whole.id, part.id}) == 3


def test_an_average_that_is_mostly_the_seed_s_decoder_is_refused_as_it_is_without_a_parent() -> None:
    ema = [{"kind": "decay", "name": "ema", "decay": 0.9999, "warmup": False}]
    evaluation = EvaluationConfig(n=8, sampler="euler", steps=2)
    whole, part = (of(ema=ema, parent={"trial": "0" * 12, "images": 8, "parts": parts}) for parts in ((), ENCODER))
    check_evaluation(whole, evaluation, images=64)
    with pytest.raises(ValueError, match="`weights` must be trained ones"):
        check_evaluation(part, evaluation, images=64)
    assert (of_start(whole), of_start(part)) == ("its parent's weights", "initial weights")


@pytest.mark.slow
def test_a_trial_begins_from_a_part_in_its_storage_and_goes_on_from_its_own_checkpoint(tmp_path: Path) -> None:
    described = describe(FEW_IMAGES, holdout=FEW_HELD_OUT)
    data = DataConfig(digest=described.digest, image_size=32, num_classes=described.num_classes)
    parent = of({"decoder_width": 64}, data=data)
    child = of(data=data, parent={"trial": parent.id, "images": 8, "parts": ENCODER})

    how = EvaluationConfig(n=4, sampler="euler", steps=1, weights="raw")

    def trained(trial: TrialConfig, images: int) -> Phase:
        told: dict[str, Any] = {"data": FEW_IMAGES, "holdout": FEW_HELD_OUT, "storage": str(tmp_path), "evaluations": (how,)}
        reports = [*train(Assignment(trial=trial, images=images, **told))]
        return next(report for report in reports if isinstance(report, Phase))

    trained(parent, 8)
    begun = trained(child, 4)
    assert (begun.start, begun.parent, begun.images) == ("parent", f"{parent.id}@8", 0)
    store = Store(str(tmp_path))
    commits = [store.latest(each.id, most_images=8) for each in (parent, child)]
    before, after = (store.read(commit).tensors["model"] for commit in commits if commit is not None)
    apart = {name: float((tensor - before[name]).abs().max()) for name, tensor in after.items() if name.startswith("encoder.")}
    assert max(apart.values()) < 0.01
    assert trained(child, 8).start == "checkpoint"
