"""What a sweep does not reach within its budget is refused or told before it starts, with the share that it reaches."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jit_sweep.errors import UserError
from jit_sweep.plan import budget_remarks
from jit_sweep.plan.budget_remarks import soundness_remarks
from jit_sweep.plan.clamp_remarks import clamp_remarks
from jit_sweep.plan.entry import Plan
from jit_sweep.plan.plan import plan
from jit_sweep.spec.sweep import SweepSpec
from search_spaces.presets import OFFICIAL, PRESETS, preset
from tests.support.sweep_files import tiny_sweep
from trainables.config.optimiser import WarmupEpochs

BUDGET = {"images_per_trial": 25_600, "rungs": 2}
CONSTANT = {"kind": "decay", "warmup": False}


def planned(**changes: Any) -> Plan:
    """Scored on as many images as scores need, in a step for each stage of a path."""
    parts = {"budget": BUDGET, "evaluation": {"n": 384, "sampler": "euler", "steps": 4}, **changes}
    return plan(SweepSpec.model_validate(tiny_sweep(**parts)), source="sweep.yaml")


def of_baseline(preset: str = "jit-tiny", **changes: Any) -> Plan:
    return planned(baseline={"preset": preset, **changes})


def large_images(folder: Path, size: int) -> dict[str, Any]:
    file = folder / "images.npz"
    shades = np.arange(0, 240, 30, dtype=np.uint8)
    np.savez(file, images=shades[:, None, None, None] * np.ones((1, size, size, 3), dtype=np.uint8))
    return {"uri": str(file), "holdout": 2}


@pytest.mark.parametrize(
    "name", [name for name, recipe in PRESETS.items() if name != "toy" and recipe.method.kind == "denoiser"]
)
def test_every_preset_trains_at_its_full_rate_for_most_of_a_small_budget(name: str) -> None:
    stages = [{"grid": {"axes": {"grad_clip": [1.0]}}}]
    trial = planned(baseline={"preset": name}, stages=stages).entries[0].trial
    assert trial.optimiser.warmup <= 25_600 / 16


@pytest.mark.parametrize("name", OFFICIAL)
def test_an_official_recipe_is_keyed_by_size_patch_and_resolution(name: str) -> None:
    recipe, (short, _, resolution) = OFFICIAL[name], name.partition("@")
    assert recipe.model == preset(short).model
    assert (recipe.diffusion.noise_scale, recipe.optimiser.warmup_images) == (int(resolution) / 256, WarmupEpochs(epochs=5))
    assert [average.warmup for average in recipe.ema] == [False, False]


def test_an_official_recipe_warms_up_for_five_epochs_of_the_users_data(tmp_path: Path) -> None:
    data, budget = large_images(tmp_path, 512), {"images_per_trial": 1024}
    evaluation = {"n": 2, "weights": "raw"}
    entry = planned(data=data, budget=budget, evaluation=evaluation, baseline={"preset": "jit-b/32@512"}).entries[0]
    assert entry.trial.optimiser.warmup == 5 * 6


def test_an_official_recipe_for_another_resolution_is_refused() -> None:
    rule = "baseline.preset: jit-b/16@256 is the official run on images of 256 px, got images of 32 px; try jit-b/16"
    with pytest.raises(UserError, match=rule):
        of_baseline("jit-b/16@256")


@pytest.mark.parametrize(
    ("preset", "given", "told"),
    [
        ("jit-b/32", {}, "noise_scale=1: the official runs at 512 px have 2; set noise_scale=2, or try preset jit-b/32@512"),
        ("jit-l/32", {}, "noise_scale=1: the official runs at 512 px have 2; set noise_scale=2, or try preset jit-l/32@512"),
        (
            "jit-b-rope/32",
            {},
            "noise_scale=1: the official runs at 512 px have 2; set noise_scale=2, or try preset jit-b/32@512",
        ),
        ("jit-s/32", {}, "noise_scale=1: the official runs at 512 px have 2; set noise_scale=2"),
        ("jit-l/32", {"noise_scale": 1.5}, None),
    ],
)
def test_a_noise_scale_that_is_not_the_official_one_of_the_resolution_is_told(
    tmp_path: Path, preset: str, given: dict[str, float], told: str | None
) -> None:
    baseline = {"preset": preset, "diffusion": given}
    plan = planned(data=large_images(tmp_path, 512), evaluation={"n": 2}, baseline=baseline)
    lines = [line for line in soundness_remarks(plan) if line.startswith("noise_scale")]
    assert lines == ([told] if told else [])


@pytest.mark.parametrize(
    ("override", "rule"),
    [
        (
            {"optimiser": {"warmup_images": 6_405_835}},
            "`warmup_images` must end within the trial's images, got 6,405,835 of 25,600: the rate would end at 0.4 % of its "
            "value; try 1,280, or train on more images",
        ),
        (
            {"optimiser": {"warmup_images": {"kind": "epochs", "epochs": 18}}},
            "got 26,694 of 25,600: the rate would end at 96 %",
        ),
        (
            {"ema": [CONSTANT]},
            "`weights` must be trained ones, got ema, an average that is still 92 % initial weights after 800 updates; try its "
            "warmup: true, a decay of at most 0.9951, or weights=raw",
        ),
        (
            {"ema": [{"kind": "half_life", "images": 10**6, "warmup": False}]},
            "is still 98 % initial weights after 800 updates; try its warmup: true, a half-life of at most 4,535 images",
        ),
    ],
)
def test_what_never_comes_to_train_is_refused_with_the_share_and_a_proposal(override: dict[str, Any], rule: str) -> None:
    with pytest.raises(UserError) as error:
        of_baseline(**override)
    assert rule in str(error.value)


@pytest.mark.parametrize("stage", ["grid", "search"])
@pytest.mark.parametrize(
    ("override", "line"),
    [
        ({"optimiser": {"warmup_images": 12_800}}, "the warm-up takes 50 % of 25,600 images; try warmup_images=1280"),
        (
            {"optimiser": {"schedule": {"kind": "cosine", "total_images": 51_200}, "warmup_images": 0}},
            "the cosine ends at 51,200 images and the trial at 25,600, with 50 % of the rate left instead of 0 %; leave "
            "total_images out",
        ),
        (
            {"ema": [{**CONSTANT, "decay": 0.998}]},
            "the average ema is still 20 % initial weights when it is scored; try its warmup: true, a decay of at most 0.9951, "
            "or weights=raw",
        ),
        (
            {"ema": [{**CONSTANT, "decay": 0.9985}]},
            "the rung at 12,800 images scores the average ema, still 55 % initial weights; set its warmup: true, or "
            "lower its decay",
        ),
    ],
)
def test_what_comes_late_is_told_with_the_share_and_a_proposal(stage: str, override: dict[str, Any], line: str) -> None:
    body = {"axes": {"prediction": ["x"]}, **({"trials": 1} if stage == "search" else {})}
    plan = planned(stages=[{stage: body}], baseline={"preset": "jit-tiny", **override})
    assert any(told.endswith(f": {line}") for told in soundness_remarks(plan))


def test_a_gate_in_the_warm_up_is_told() -> None:
    scheduler = {"kind": "halving", "first_rung": {"images": 640}, "s_train": 0.01}
    plan = planned(scheduler=scheduler, baseline={"preset": "jit-tiny", "optimiser": {"warmup_images": 1600}})
    line = "arms may stop at 640 images, in the warm-up of 1,600, where the rate is at 40 % of its value"
    assert soundness_remarks(plan)[0] == f"prediction=x (and 1 more cell): {line}; move first_rung behind it"


def test_nothing_is_said_of_a_sweep_that_reaches_everything() -> None:
    assert soundness_remarks(of_baseline()) == []


@pytest.mark.parametrize(("gpus", "precision", "where"), [(0, "fp32", "a CPU"), (1, "bf16", "a GPU")])
def test_precision_follows_the_device_that_the_sweep_asks_for_and_not_the_machine_that_plans(
    gpus: int, precision: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = []
    for able in (True, False):
        monkeypatch.setattr(budget_remarks, "computes_bf16", lambda able=able: able)
        plans.append(planned(baseline={"preset": "jit-b"}, resources={"gpus": gpus}))
    assert plans[0].fingerprint == plans[1].fingerprint
    assert [entry.trial_id for entry in plans[0].entries] == [entry.trial_id for entry in plans[1].entries]
    assert plans[0].entries[0].trial.precision == precision
    assert f"precision={precision}, the default on {where}" in soundness_remarks(plans[0])


def test_bf16_that_this_cpu_would_emulate_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    for able in (True, False):
        monkeypatch.setattr(budget_remarks, "computes_bf16", lambda able=able: able)
        told.append(soundness_remarks(of_baseline(precision="bf16")))
    assert told[0] == []
    assert told[1] == ["precision=bf16 on a CPU: this one has no bf16 arithmetic and emulates it, many times slower than fp32"]


@pytest.mark.parametrize("stage", ["grid", "search"])
def test_guidance_by_a_null_label_that_nothing_trains_is_refused(stage: str) -> None:
    body = {"axes": {"guidance": [1.0, 4.0]}, **({"trials": 1} if stage == "search" else {})}
    with pytest.raises(UserError) as error:
        planned(stages=[{stage: body}], baseline={"preset": "jit-tiny", "diffusion": {"label_drop": 0.0}})
    rule = "`guidance` other than 1 needs the null label, which only `label_drop` trains, got guidance=4, label_drop=0"
    assert str(error.value) == f"sweep.yaml: stages[0].{stage}: guidance=4.0: {rule}; try label_drop=0.1 or guidance=1.0"


def test_guidance_by_a_null_label_that_training_hardly_meets_is_told_and_one_it_never_meets_refused() -> None:
    def sweep(label_drop: float) -> Plan:
        return planned(
            evaluation={"n": 384, "guidance": 2.0}, baseline={"preset": "jit-tiny", "diffusion": {"label_drop": label_drop}}
        )

    line = (
        "guidance=2 needs the null label, and only about 256 training images have it; raise label_drop, or train on more images"
    )
    assert soundness_remarks(sweep(0.01)) == [f"prediction=x (and 1 more cell): {line}"]
    with pytest.raises(UserError, match="needs a null label that training has met, got label_drop=1e-05 of 25,600 images"):
        sweep(1e-5)


def test_images_that_no_update_sees_are_told() -> None:
    lines = soundness_remarks(planned(budget={"images_per_trial": 160}))
    assert lines == ["prediction=x (and 1 more cell): 160 images are 11 % of the 1,483 to train on: no trial sees the others"]


@pytest.mark.parametrize(
    ("evaluation", "line"),
    [
        (
            {"sampler": "heun", "steps": 50},
            "t_eps_sample=0.05 in 50 heun steps changes the standard deviation of an exact network's samples: x -2.0 %, "
            "v +0.0 %; score with t_eps_sample=0 too, which x and v allow",
        ),
        (
            {"sampler": "euler", "steps": 16},
            "t_eps_sample=0.05 in 16 euler steps changes the standard deviation of an exact network's samples: x +0.0 %, "
            "v +0.0 %",
        ),
    ],
)
def test_plan_tells_how_the_sampling_clamp_changes_each_prediction(evaluation: dict[str, Any], line: str) -> None:
    assert clamp_remarks(planned(evaluation={"n": 8, **evaluation})) == [line]


def test_counts_that_are_too_small_for_what_is_made_of_them_are_told(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "few.npz", images=pixels)
    data = {"uri": str(tmp_path / "few.npz"), "holdout": 12}
    baseline = {"preset": "jit-tiny", "batch_size": 64}
    chance = "a distance of so few images moves by about 9.6 % by chance alone"
    assert soundness_remarks(planned(data=data, evaluation={"n": 12}, baseline=baseline))[:3] == [
        f"evaluation.n=12: {chance}; hold out and score 128 or more",
        "12 held-out images: heldout_v_error rests on these alone; hold out 64 or more",
        "batch_size=64: each update has every one of the 48 images to train on; lower batch_size",
    ]
    assert soundness_remarks(planned(evaluation={"n": 12}))[0] == f"evaluation.n=12: {chance}; score 384"
