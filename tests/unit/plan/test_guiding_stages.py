"""Stages whose classifiers guide the samples of later ones, by the gradient: known before anything starts."""

from pathlib import Path
from typing import Any

import pytest

from jit_sweep.errors import UserError
from jit_sweep.plan.entry import Plan
from jit_sweep.plan.foundations import Foundation, foundations
from jit_sweep.plan.plan import plan
from jit_sweep.spec.read import read_spec
from search_spaces.axes import AXES
from search_spaces.cells import put
from search_spaces.presets import preset
from tests.support.sweep_files import write_sweep
from trainables.config.evaluation import GuidingClassifier, StageClassifier
from trainables.networks.cost import training_flops

FINDER: dict[str, Any] = {
    "name": "finder",
    "grid": {
        "axes": {"preset": ["classifier-tiny"], "pool": ["attention", "adaptive"], "batch_size": [8]},
        "cells": [{"where": {"pool": "adaptive"}, "images_per_trial": 64}],
        "seeds": [3, 4],
    },
}
ONE: dict[str, Any] = {"name": "finder", "grid": {"axes": {"preset": ["classifier-tiny"], "batch_size": [8]}}}
HALVING = {"kind": "halving", "first_rung": {"images": 16}}


def planned(folder: Path, *stages: dict[str, Any], guided: Any = None, scale: float = 1.0, **changes: Any) -> Plan:
    evaluation = {"n": 8, "sampler": "euler", "steps": 2, "classifier": guided, "classifier_scale": scale}
    content = {"budget": {"images_per_trial": 32}, "evaluation": evaluation, "stages": [*stages], **changes}
    return plan(read_spec(write_sweep(folder, **content)), source="sweep.yaml")


def denoisers(**axes: Any) -> dict[str, Any]:
    return {"name": "denoisers", "grid": {"axes": axes}}


def test_an_arm_of_an_earlier_stage_guides_and_is_known_by_its_trial(tmp_path: Path) -> None:
    *finders, guided, plain = planned(tmp_path, FINDER, denoisers(classifier=["finder pool=adaptive", None])).entries
    adaptive = next(entry for entry in finders if entry.arm["pool"] == "adaptive" and entry.seed == 3)
    assert guided.evaluation.guide == GuidingClassifier(trial=adaptive.trial_id, images=64)
    assert (guided.label, plain.label) == ("classifier=finder pool=adaptive", "classifier=none")
    assert plain.evaluation.guide is None


def test_the_best_classifier_of_a_stage_guides_once_it_is_known(tmp_path: Path) -> None:
    found = planned(tmp_path, FINDER, denoisers(classifier=["finder best", None]))
    [choice] = found.choices
    assert (choice.metric, [arm["pool"] for arm in choice.arms]) == ("heldout_cross_entropy", ["attention", "adaptive"])
    assert {entry.trial.method.kind for entry in found.entries} == {"classifier"}
    guided, plain = found.later
    assert guided.evaluation.guide is not None
    assert guided.evaluation.guide.trial in {entry.trial_id for entry in found.entries}
    assert plain.evaluation.guide is None


def test_who_guides_is_part_of_how_samples_are_scored(tmp_path: Path) -> None:
    axes = {"classifier": ["finder pool=adaptive"]}
    longer = {**FINDER["grid"], "cells": [{"where": {"pool": "adaptive"}, "images_per_trial": 96}]}
    one, other = (planned(tmp_path, {**FINDER, "grid": of}, denoisers(**axes)).entries[-1] for of in (FINDER["grid"], longer))
    assert one.trial_id == other.trial_id
    assert one.evaluation.id != other.evaluation.id


def test_arms_that_are_guided_otherwise_are_trained_once(tmp_path: Path) -> None:
    changes = {
        "free": {"guidance": 2.0},
        "within": {"guidance": 2.0, "interval": "0.3..0.8"},
        "classifier": {"classifier": "finder"},
        "stronger": {"classifier": "finder", "classifier_scale": 4.0},
    }
    ablation = {"ablation": {"kind": "one_at_a_time", "changes": changes, "seeds": 2}}
    baseline = {"preset": "jit-tiny", "batch_size": 8, "diffusion": {"label_drop": 0.1}}
    finder, *others = planned(tmp_path, ONE, ablation, baseline=baseline).entries
    assert len(others) == 10
    assert len({entry.trial_id for entry in others}) == 2
    assert len({entry.evaluation.id for entry in others}) == 5
    assert {entry.evaluation.interval for entry in others} == {(0.1, 1.0), (0.3, 0.8)}
    guides = {entry.evaluation.guide for entry in others} - {None}
    assert guides == {GuidingClassifier(trial=finder.trial_id, images=32)}


def test_where_nothing_guides_one_arm_is_left_of_all_strengths(tmp_path: Path) -> None:
    crossed = denoisers(classifier=["finder", None], classifier_scale=[1.0, 4.0])
    _, *found = planned(tmp_path, ONE, crossed).entries
    labels = [f"classifier=finder classifier_scale={scale}" for scale in (1.0, 4.0)]
    assert [entry.label for entry in found] == [*labels, "classifier=none"]
    assert [entry.evaluation.classifier_scale for entry in found] == [1.0, 4.0, 1.0]
    methods = denoisers(preset=["classifier-tiny", "jit-tiny/8"], classifier=["finder"], classifier_scale=[1.0, 4.0])
    assert len(planned(tmp_path, ONE, methods).entries) == 1 + 1 + 2


def test_a_null_classifier_leaves_the_file_s_strength_to_the_others(tmp_path: Path) -> None:
    _, *found = planned(tmp_path, ONE, denoisers(classifier=["finder", None]), guided={"stage": "finder"}, scale=4.0).entries
    assert [(entry.evaluation.guide is not None, entry.evaluation.classifier_scale) for entry in found] == [
        (True, 4.0),
        (False, 1.0),
    ]


def test_a_strength_without_a_classifier_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        planned(tmp_path, ONE, denoisers(classifier_scale=[1.0, 4.0]))
    said = "`classifier_scale` other than 1 needs a `classifier` that guides, got classifier_scale=4, classifier=null; name one"
    assert said in str(error.value)


def test_what_guides_is_named_with_its_cost_beside_the_arms_that_it_guides(tmp_path: Path) -> None:
    found = planned(tmp_path, ONE, denoisers(classifier=["finder", None], prediction=["x", "v"])).entries
    [each] = foundations(found)
    tflops = training_flops(found[0].trial, images=32) / 1e12
    assert each == Foundation(1, "guidance", found[0].label, 0, found[0].trial_id, 32, tflops, 2)


def test_a_sweep_may_be_guided_by_a_stage_of_its_own(tmp_path: Path) -> None:
    finder, x, v = planned(tmp_path, ONE, denoisers(prediction=["x", "v"]), guided={"stage": "finder"}, scale=3.0).entries
    assert finder.evaluation.guide is None
    assert x.evaluation.guide == v.evaluation.guide == GuidingClassifier(trial=finder.trial_id, images=32)
    assert x.evaluation.classifier_scale == 3.0


def test_a_classifier_that_guides_is_never_stopped_early(tmp_path: Path) -> None:
    for guided, axes in (({"stage": "finder"}, {"prediction": ["x", "v"]}), (None, {"classifier": ["finder", None]})):
        entries = planned(tmp_path, ONE, denoisers(**axes), guided=guided, scheduler=HALVING).entries
        assert [entry.protected for entry in entries] == [True, False, False]
    single = {**FINDER, "name": "others", "grid": {**FINDER["grid"], "seeds": 1}}
    with pytest.raises(UserError, match="must be a score of every trial, got heldout_v_error"):
        planned(tmp_path, ONE, single, denoisers(classifier=["finder", None]), scheduler=HALVING)


def test_an_axis_puts_a_stage_and_an_interval_where_they_are_read() -> None:
    cell = put(preset("jit-tiny"), {"classifier": "finder pool=adaptive", "interval": "0.25..1.0"})
    assert StageClassifier.model_validate(cell.evaluation["classifier"]).where == {"pool": "adaptive"}
    interval: Any = cell.evaluation["interval"]
    assert interval == (0.25, 1.0)
    tree = {**cell.recipe.model_dump(), "evaluation": cell.evaluation}
    assert AXES["classifier"].slot.get(tree) == "finder pool=adaptive"
    assert AXES["interval"].slot.get(tree) == "0.25..1" == AXES["interval"].check("0.25..1.0")
    assert not AXES["classifier"].exists(preset("classifier-tiny").model_dump())


@pytest.mark.parametrize("value", ["0.5", "0.5..0.5", "0.6..0.5", "-0.1..1", "0..1.1", "a..b", "0..nan", "0.1..0.2..0.3"])
def test_an_interval_is_two_times_in_their_order(value: str) -> None:
    with pytest.raises(ValueError, match=r"`interval` must be two times of 0..1 such as 0.1..1, the lower one first"):
        AXES["interval"].check(value)


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ((FINDER, denoisers(classifier=["finder"])), "`evaluation.classifier` must name one arm of the stage finder"),
        (
            (ONE, denoisers(classifier=["findr"])),
            "must name an earlier stage of the sweep, got 'findr'; did you mean 'finder'?",
        ),
        ((denoisers(classifier=["finder"]), ONE), "must name an earlier stage of the sweep, got 'finder'; put one before it"),
        ((ONE, denoisers(classifier=["denoisers"])), "must name an earlier stage of the sweep, got 'denoisers'; try finder"),
        (
            ({"name": "plain", "grid": {"axes": {"prediction": ["x"]}}}, denoisers(classifier=["plain"])),
            "`classifier` must be a trial of method classifier, got",
        ),
        (
            (ONE, denoisers(classifier=["finder"], noise_scale=[2.0])),
            "`classifier` must have been trained on the same images, classes and noise_scale, got noise_scale 1.0 for 2.0",
        ),
        (({**ONE, "name": None}, denoisers(classifier=["finder"])), "got 'finder'; put one before it"),
        ((ONE, denoisers(classifier=["=x"])), "must be a stage's name, or such as"),
    ],
)
def test_a_classifier_that_no_stage_trains_is_refused(stages: tuple[dict[str, Any], ...], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        planned(tmp_path, *stages)
    assert said in str(error.value)


def test_a_sweep_is_guided_by_no_later_stage_nor_by_itself(tmp_path: Path) -> None:
    for stages in ((denoisers(prediction=["x"]), ONE), (denoisers(prediction=["x"]),)):
        with pytest.raises(UserError, match="`evaluation.classifier` must name an earlier stage of the sweep"):
            planned(tmp_path, *stages, guided={"stage": "denoisers"})
