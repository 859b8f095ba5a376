"""Stages that encode the images of later ones: known before anything starts, by the arm that they are."""

from pathlib import Path
from typing import Any

import pytest

from jit_sweep.errors import UserError
from jit_sweep.plan.entry import Plan
from jit_sweep.plan.foundations import Foundation, foundations
from jit_sweep.plan.plan import plan
from jit_sweep.plan.tuned_arms import still_to_come
from jit_sweep.plan.waiting import with_arms
from jit_sweep.results.further import growing
from jit_sweep.spec.read import read_spec
from tests.support.sweep_files import write_sweep
from trainables.config.space import LatentSpace, TrialEncoder
from trainables.networks.cost import training_flops

CODES: dict[str, Any] = {
    "name": "codes",
    "grid": {
        "axes": {"preset": ["autoencoder-tiny"], "code": ["kl", "vq"]},
        "seeds": [3, 4],
        "cells": [{"where": {"code": "vq"}, "images_per_trial": 64}],
    },
}
BUDGET = {"images_per_trial": 32}
HALVING = {"kind": "halving", "first_rung": {"images": 32}, "metric": "fd_efflite0_96"}


def planned(folder: Path, *stages: dict[str, Any], **changes: Any) -> Plan:
    content = {"baseline": {"preset": "jit-tiny/2"}, "budget": BUDGET, "stages": list(stages), "scheduler": {"kind": "none"}}
    return plan(read_spec(write_sweep(folder, **{**content, **changes})), source="sweep.yaml")


def denoisers(encoder: Any, **axes: Any) -> dict[str, Any]:
    return {"grid": {"axes": {"encoder": encoder, **axes}}}


def refused(folder: Path, *stages: dict[str, Any]) -> str:
    with pytest.raises(UserError) as error:
        planned(folder, *stages)
    return str(error.value)


def test_an_arm_of_an_earlier_stage_is_named_by_its_values_and_known_by_its_trial(tmp_path: Path) -> None:
    entries = planned(tmp_path, CODES, denoisers(["codes code=vq", None])).entries
    vq = next(entry for entry in entries if entry.arm.get("code") == "vq" and entry.seed == 3)
    latent, pixels = entries[-2:]
    assert isinstance(latent.trial.space, LatentSpace)
    assert latent.trial.space.encoder == TrialEncoder(trial=vq.trial_id, images=64, weights="ema")
    assert latent.trial.space.trunk == vq.trial.model.trunk
    assert (latent.trial.canvas, pixels.trial.canvas) == ((4, 8), (3, 32))
    assert (latent.label, pixels.label) == ("encoder=codes code=vq", "encoder=none")


def test_who_encodes_is_part_of_who_is_trained_on_the_codes(tmp_path: Path) -> None:
    kl, vq = planned(tmp_path, CODES, denoisers(["codes code=kl", "codes code=vq"])).entries[-2:]
    assert kl.trial_id != vq.trial_id
    longer = {**CODES, "grid": {**CODES["grid"], "cells": [{"where": {"code": "vq"}, "images_per_trial": 96}]}}
    kl_again, vq_longer = planned(tmp_path, longer, denoisers(["codes code=kl", "codes code=vq"])).entries[-2:]
    assert kl_again.trial_id == kl.trial_id
    assert vq_longer.trial_id != vq.trial_id


def test_a_baseline_may_see_codes_and_a_preset_in_a_stage_takes_its_place(tmp_path: Path) -> None:
    one_arm = {"name": "codes", "grid": {"axes": {"preset": ["autoencoder-tiny"]}}}
    baseline = {"preset": "jit-tiny/2", "space": {"kind": "latent", "encoder": {"kind": "stage", "stage": "codes"}}}
    entries = planned(tmp_path, one_arm, {"grid": {"axes": {"prediction": ["x", "v"]}}}, baseline=baseline).entries
    assert [entry.trial.space.kind for entry in entries] == ["pixels", "latent", "latent"]
    assert entries[0].trial.method.kind == "autoencoder"


def test_an_arm_that_encodes_is_never_stopped_early(tmp_path: Path) -> None:
    grid = {"axes": {"preset": ["autoencoder-tiny"], "code": ["kl", "vq"]}}
    stages = (
        {"name": "codes", "grid": grid},
        {"name": "others", "grid": {"axes": {**grid["axes"], "code_channels": [8]}}},
        denoisers(["codes code=vq"]),
    )
    entries = planned(tmp_path, *stages, scheduler=HALVING, budget={"images_per_trial": 128}).entries
    assert [entry.protected for entry in entries] == [False, True, False, False, False]


def test_the_cost_of_a_baseline_that_sees_codes_asks_for_no_cost_of_itself(tmp_path: Path) -> None:
    one_arm: dict[str, Any] = {"name": "codes", "grid": {"axes": {"preset": ["autoencoder-tiny"]}}}
    baseline = {"preset": "jit-tiny/2", "space": {"kind": "latent", "encoder": {"kind": "stage", "stage": "codes"}}}
    budget = {**BUDGET, "matched": "flops"}
    denoiser = {"grid": {"axes": {"prediction": ["x", "v"]}}}
    with pytest.raises(UserError, match="must have images of their own where the baseline builds on them"):
        planned(tmp_path, one_arm, denoiser, baseline=baseline, budget=budget)
    own = {"axes": one_arm["grid"]["axes"], "cells": [{"where": {"preset": "autoencoder-tiny"}, "images_per_trial": 64}]}
    entries = planned(tmp_path, {**one_arm, "grid": own}, denoiser, baseline=baseline, budget=budget).entries
    assert [entry.images for entry in entries] == [64, 32, 32]


def test_a_race_of_presets_is_refused_where_its_metric_is_blind_to_what_differs(tmp_path: Path) -> None:
    race = {"kind": "halving", "first_rung": {"images": 32}, "metric": "heldout_v_error"}
    budget = {"images_per_trial": 128}
    alike = {"grid": {"axes": {"preset": ["jit-tiny/8", "jit-tiny/16"]}}}
    assert planned(tmp_path, alike, scheduler=race, budget=budget).entries
    noisier = {"grid": {"axes": {"preset": ["jit-tiny/8", "epg-xl"], "batch_size": [32]}}}
    with pytest.raises(UserError, match="must hold noise_scale, along which heldout_v_error does not compare arms"):
        planned(tmp_path, noisier, scheduler=race, budget=budget)


def test_arms_with_unequal_seeds_are_no_choice(tmp_path: Path) -> None:
    unequal = {**CODES, "grid": {**CODES["grid"], "cells": [{"where": {"code": "vq"}, "seeds": [3]}]}}
    with pytest.raises(UserError, match=r"whose arms have unequal seeds \(1 of .*code=vq and 2 of .*code=kl\)"):
        planned(tmp_path, unequal, denoisers(["codes best"]))


def test_a_preset_keeps_how_fast_it_is_computed(tmp_path: Path) -> None:
    grid = {"grid": {"axes": {"preset": ["jit-tiny/8", "autoencoder-tiny"]}}}
    entries = planned(tmp_path, grid, baseline={"preset": "jit-tiny", "attention": "fp32", "compile": True}).entries
    assert [(entry.trial.attention, entry.trial.compile) for entry in entries] == [("fp32", True)] * 2
    assert entries[0].trial.model.patch_size == 8


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        (
            (CODES, denoisers(["codes"])),
            "must name one arm of the stage codes, got none of its 2; try codes preset=autoencoder-tiny code=kl, or codes best",
        ),
        ((CODES, denoisers(["codes code=xy"])), "got code=xy, which 0 arms of it have"),
        ((CODES, denoisers(["code code=vq"])), "must name an earlier stage of the sweep, got 'code'; did you mean 'codes'?"),
        ((denoisers(["codes code=vq"]), CODES), "must name an earlier stage of the sweep, got 'codes'; put one before it"),
        (
            ({"name": "plain", "grid": {"axes": {"prediction": ["x"]}}}, denoisers(["plain"])),
            "must name a stage that trains an autoencoder, got plain, which trains transformer",
        ),
        (
            ({**CODES, "grid": {**CODES["grid"], "limits": {"parameters": 1000}}}, denoisers(["codes code=vq"])),
            "must name an arm of the stage codes that is trained as it stands there, got one with `limits`, which leave it out",
        ),
        ((CODES, denoisers(["=vq"])), "must be a stage's name, or such as `codes code=vq`"),
        ((CODES, denoisers(["codes code=vq"], preset=["jit-none"])), "`preset` must be a known one, got 'jit-none'"),
        ((CODES, denoisers(["codes code=vq"], latent_sample=["draw"])), "`sample` draw needs a Gaussian code, got code=vq"),
    ],
)
def test_an_encoder_that_no_stage_trains_is_refused(stages: tuple[dict[str, Any], ...], said: str, tmp_path: Path) -> None:
    assert said in refused(tmp_path, *stages)


def test_what_encodes_is_named_with_its_cost_beside_the_arms_that_see_its_codes(tmp_path: Path) -> None:
    plan = planned(tmp_path, CODES, denoisers(["codes code=vq", None], prediction=["x", "v"]))
    [each] = foundations(plan.entries)
    vq = next(entry for entry in plan.entries if entry.arm.get("code") == "vq" and entry.seed == 3)
    assert each == Foundation(1, "codes", vq.label, 3, vq.trial_id, 64, training_flops(vq.trial, images=64) / 1e12, 2)


def test_the_best_arm_lets_its_stage_wait_and_costs_what_the_dearest_would(tmp_path: Path) -> None:
    plan = planned(tmp_path, CODES, denoisers(["codes best", None], prediction=["x", "v"]), {"grid": {"axes": {"width": [32]}}})
    assert [entry.stage for entry in plan.entries] == [0] * 4 + [2]
    assert [entry.label for entry in plan.later][:2] == [f"encoder=codes best prediction={each}" for each in ("x", "v")]
    (choice,) = plan.choices
    assert (choice.stage, choice.by, choice.metric, choice.made) == (0, (1,), "heldout_reconstruction_error", False)
    assert [arm["code"] for arm in choice.arms] == ["kl", "vq"]
    assert still_to_come(plan) == [*plan.later]
    assert {*growing(plan)} == {1}
    ways = [training_flops(with_arms(plan, {choice.name: arm}).entries[4].trial, images=32) for arm in choice.arms]
    assert training_flops(plan.later[0].trial, images=32) == max(ways)


def test_a_baseline_may_see_the_best_codes(tmp_path: Path) -> None:
    space = {"kind": "latent", "encoder": {"kind": "stage", "stage": "codes", "best": True, "where": {"code": "vq"}}}
    found = planned(
        tmp_path, CODES, {"grid": {"axes": {"prediction": ["x", "v"]}}}, baseline={"preset": "jit-tiny/2", "space": space}
    )
    assert [choice.name for choice in found.choices] == ["codes best code=vq"]
    (vq,) = found.choices[0].arms
    known = with_arms(found, {"codes best code=vq": vq})
    assert not known.later
    assert [entry.trial.space.kind for entry in known.entries] == ["pixels"] * 4 + ["latent"] * 2


def test_what_a_sweep_is_does_not_hang_on_a_choice_that_nobody_asks_for(tmp_path: Path) -> None:
    one_arm = {"name": "codes", "grid": {"axes": {"preset": ["autoencoder-tiny"]}}}
    stages = (one_arm, {"grid": {"axes": {"prediction": ["x", "v"]}}})
    encoder = {"kind": "stage", "stage": "codes"}
    spaces = [{"kind": "latent", "encoder": {**encoder, **best}} for best in ({}, {"best": False}, {"best": True})]
    plain, said, best = (
        planned(tmp_path, *stages, baseline={"preset": "jit-tiny/2", "space": space}).fingerprint for space in spaces
    )
    assert plain == said != best


@pytest.mark.parametrize(
    ("codes", "denoiser", "changes", "said"),
    [
        ({}, denoisers(["codes best code=xy"]), {}, "got codes best code=xy, and none has these values; try codes best"),
        (
            {},
            denoisers(["codes best"], latent_sample=["draw"]),
            {},
            "got code=vq; try sample: mean; so it is where codes best is preset=autoencoder-tiny code=vq",
        ),
        (
            {},
            denoisers(["codes best", "codes code=vq"]),
            {},
            "got the same run as encoder=codes best; leave one of them out; so it is where codes best is",
        ),
        ({"limits": {"parameters": 1000}}, denoisers(["codes best"]), {}, "`limits` leave all of them out"),
        (
            {"seeds": {"min": 3, "max": 6}, "cells": []},
            denoisers(["codes best"]),
            {},
            "got codes best, whose seeds race and are not as many in each; give the stage a number of seeds",
        ),
        (
            {},
            denoisers(["codes best"]),
            {"budget": {**BUDGET, "matched": "device_seconds"}},
            "`budget.matched: device_seconds` needs the speed of every arm at launch, got codes best",
        ),
        (
            {"axes": {"preset": ["autoencoder-tiny", "jit-tiny/4"]}, "cells": []},
            denoisers(["codes best"]),
            {},
            "of heldout_reconstruction_error and heldout_v_error (preset=autoencoder-tiny, preset=jit-tiny/4)",
        ),
        (
            {"axes": {"noise_scale": [1.0, 2.0]}, "cells": []},
            {"grid": {"axes": {"parent": ["codes best"]}}},
            {},
            "which differ in noise_scale, along which heldout_v_error says nothing; name one, such as codes best noise_scale=1",
        ),
    ],
)
def test_a_best_arm_that_nothing_tells_apart_is_refused(
    codes: dict[str, Any], denoiser: dict[str, Any], changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as error:
        planned(tmp_path, {**CODES, "grid": {**CODES["grid"], **codes}}, denoiser, **changes)
    assert said in str(error.value)
