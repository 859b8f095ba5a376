"""Stages whose weights later ones start from: known before anything starts, by the arm that they are."""

from pathlib import Path
from typing import Any

import pytest

from jit_sweep.errors import UserError
from jit_sweep.plan.entry import Plan
from jit_sweep.plan.plan import plan
from jit_sweep.spec.read import read_spec
from tests.support.sweep_files import write_sweep
from trainables.config.recipe import Parent

FIRST: dict[str, Any] = {"name": "first", "grid": {"axes": {"prediction": ["x", "v"]}, "seeds": [3, 4]}}
TRUNK = {"trunk": {"kind": "encoder_decoder"}, "position": "none", "rope": False, "patch_size": 8}


def planned(folder: Path, *stages: dict[str, Any], **baseline: Any) -> Plan:
    content = {
        "baseline": {"preset": "jit-tiny", **baseline},
        "budget": {"images_per_trial": 32},
        "stages": list(stages),
        "scheduler": {"kind": "none"},
    }
    return plan(read_spec(write_sweep(folder, **content)), source="sweep.yaml")


def children(*parents: Any, **axes: Any) -> dict[str, Any]:
    return {"grid": {"axes": {"parent": list(parents), **axes}}}


def test_a_child_starts_from_the_first_seed_of_the_arm_that_it_names(tmp_path: Path) -> None:
    entries = planned(tmp_path, FIRST, children("first prediction=v", None)).entries
    parent = next(entry for entry in entries if entry.arm.get("prediction") == "v" and entry.seed == 3)
    child, from_the_seed = entries[-2:]
    assert child.trial.parent == Parent(trial=parent.trial_id, images=32)
    assert from_the_seed.trial.parent is None
    assert child.label == "parent=first prediction=v"
    assert child.trial_id != from_the_seed.trial_id


def test_a_child_may_start_from_a_part(tmp_path: Path) -> None:
    first, stage = {**FIRST, "grid": {"axes": {"prediction": ["x"]}}}, children("first", None, parent_part=["encoder"])
    entries = planned(tmp_path, first, stage, model=TRUNK).entries
    assert entries[1].trial.parent == Parent(trial=entries[0].trial_id, images=32, parts=("encoder",))
    assert [entry.label for entry in entries[1:]] == ["parent=first parent_part=encoder", "parent=none"]


def test_the_baseline_of_a_later_stage_may_start_from_an_earlier_one(tmp_path: Path) -> None:
    first, later = {**FIRST, "grid": {"axes": {"parent": [None]}}}, {"grid": {"axes": {"prediction": ["x", "v"]}}}
    entries = planned(tmp_path, first, later, parent={"stage": "first"}).entries
    own = Parent(trial=entries[0].trial_id, images=32)
    assert [entry.trial.parent for entry in entries] == [None, own, own]


def test_the_shipped_denoisers_begin_from_the_encoder_that_an_earlier_stage_pretrains() -> None:
    entries = plan(read_spec("epg"), source="epg").entries
    first, *denoisers = entries
    assert (first.trial.method.kind, first.trial.draws) == ("encoder_pretraining", False)
    parents = [entry.trial.parent for entry in denoisers]
    assert parents == [None] * 3 + [Parent(trial=first.trial_id, images=first.images, parts=("encoder",))] * 3
    assert len({entry.trial.model for entry in denoisers}) == len({entry.images for entry in denoisers}) == 1


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        (
            (FIRST, children("first")),
            "`parent` must name one arm of the stage first, got none of its 2; try first prediction=x",
        ),
        ((children("first"), FIRST), "`parent` must name an earlier stage of the sweep, got 'first'; put one before it"),
        (
            (FIRST, children("first prediction=x", width=[192])),
            "`parent` must train the same network, got 872,768 parameters of the stage first for 3,127,168",
        ),
        (
            (FIRST, children("first prediction=x", parent_part=["encoder"])),
            "`parent.parts` names what the trunks encoder_decoder, encoder_pretrainer or autoencoder are made of",
        ),
    ],
)
def test_a_parent_that_no_stage_trains_is_refused(stages: tuple[dict[str, Any], ...], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        planned(tmp_path, *stages)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("parent", "child", "said"),
    [
        ({"preset": ["jit-tiny/4"]}, {"preset": ["epg-tiny"]}, "got encoder=none of the stage first for encoder=transformer"),
        (
            {"preset": ["autoencoder-tiny"]},
            {"preset": ["autoencoder-tiny"], "trunk_width": [64]},
            "got width=32 of the stage first for width=64",
        ),
        ({"preset": ["autoencoder-tiny"]}, {"preset": ["epg-tiny"]}, "got encoder=convolutions, width=32"),
    ],
)
def test_a_part_is_of_the_same_kind_and_sizes_in_both(
    tmp_path: Path, parent: dict[str, Any], child: dict[str, Any], said: str
) -> None:
    stages = {"name": "first", "grid": {"axes": parent}}, children("first", parent_part=["encoder"], **child)
    with pytest.raises(UserError) as error:
        planned(tmp_path, *stages)
    assert "`parent.parts` must be of the same kind and sizes in both, " in str(error.value)
    assert said in str(error.value)


def test_what_loss_terms_train_beside_a_network_is_no_part_of_what_a_child_starts_from(tmp_path: Path) -> None:
    first = {"name": "first", "grid": {"axes": {"term.classifier": [0.1]}}}
    entries = planned(tmp_path, first, children("first", **{"term.classifier": [0]})).entries
    assert entries[1].trial.parent == Parent(trial=entries[0].trial_id, images=32)


def test_a_search_starts_from_no_stage_behind_it(tmp_path: Path) -> None:
    search = {"search": {"trials": 2, "axes": {"parent": ["first prediction=x", None]}}}
    with pytest.raises(UserError, match="`parent` must name an earlier stage of the sweep, got 'first'; put one before it"):
        planned(tmp_path, search, FIRST)
    assert planned(tmp_path, FIRST, search).entries


def test_one_mistake_is_told_once(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        planned(tmp_path, FIRST, children("first", prediction=["x", "v"]))
    assert "matched" not in str(error.value)


def test_a_search_is_no_stage_to_start_from(tmp_path: Path) -> None:
    search = {"name": "seeking", "search": {"trials": 2, "axes": {"prediction": ["x", "v"]}}}
    with pytest.raises(UserError, match="must name a grid or an ablation of the sweep, got 'seeking', a search"):
        planned(tmp_path, search, children("seeking"))


def test_an_encoder_of_other_sizes_is_refused(tmp_path: Path) -> None:
    first = {**FIRST, "grid": {"axes": {"prediction": ["x"]}}}
    stage = children("first", parent_part=["encoder"], depth=[2])
    with pytest.raises(UserError, match="must be of the same kind and sizes in both, got depth=4 of the stage first"):
        planned(tmp_path, first, stage, model=TRUNK)
