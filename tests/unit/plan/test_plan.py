"""A plan resolves every cell before anything starts."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from jit_sweep.cli.plan import MOST_ROWS, show, trial_rows
from jit_sweep.cli.plan import planned as checked
from jit_sweep.errors import UserError
from jit_sweep.home import home_at
from jit_sweep.plan.entry import Entry, Plan
from jit_sweep.plan.places import places
from jit_sweep.plan.plan import plan
from jit_sweep.plan.planner import Planner
from jit_sweep.plan.questions import questions_of
from jit_sweep.plan.search import proposals, searches
from jit_sweep.spec.read import read_spec
from jit_sweep.spec.sweep import SweepSpec
from search_spaces.axes import AXES
from search_spaces.axis import Axis, Slot
from search_spaces.cells import Cell, axis_values, put, recipe_values
from search_spaces.presets import PRESETS, preset
from search_spaces.quantities import QUANTITIES, excess
from tests.support.sweep_files import write_sweep
from tests.support.teachers import representation, teacher
from tests.support.trials import trial_of_recipe
from trainables.config.diffusion import DiffusionConfig
from trainables.config.evaluation import EvaluationConfig
from trainables.config.method import AutoencoderMethod
from trainables.config.network import ConvStemEmbedding
from trainables.config.objective import RepresentationTerm
from trainables.config.recipe import Recipe
from trainables.config.shape import speed_shape
from trainables.config.times import Uniform
from trainables.networks.cost import training_flops


def planned(folder: Path, **changes: Any) -> Plan:
    return plan(read_spec(write_sweep(folder, **changes)), source="sweep.yaml")


def grid(axes: dict[str, list[Any]], **more: Any) -> dict[str, Any]:
    return {"stages": [{"grid": {"axes": axes, **more}}]}


def test_a_grid_is_every_combination_with_every_seed(tmp_path: Path) -> None:
    entries = planned(tmp_path, **grid({"patch_size": [16, 4], "prediction": ["x", "v"]}, seeds=3)).entries
    assert len({entry.trial_id for entry in entries}) == 12
    assert entries[0].label == "patch_size=16 prediction=x"


def test_a_cell_rule_changes_seeds_and_images_of_its_cells_only(tmp_path: Path) -> None:
    rule = {"where": {"patch_size": 4}, "seeds": 2, "images_per_trial": 8}
    entries = planned(tmp_path, **grid({"patch_size": [16, 4]}, seeds=1, cells=[rule])).entries
    assert [(e.arm["patch_size"], e.seed, e.images) for e in entries] == [(16, 0, 16), (4, 0, 8), (4, 1, 8)]


def test_an_axis_that_does_not_exist_in_a_cell_is_left_out_and_its_copies_are_one_trial(tmp_path: Path) -> None:
    entries = planned(tmp_path, **grid({"t_sampling": ["uniform", "logit_normal"], "t_mu": [-0.8, 0.0]})).entries
    assert [entry.arm for entry in entries] == [
        {"t_sampling": "uniform"},
        {"t_sampling": "logit_normal", "t_mu": -0.8},
        {"t_sampling": "logit_normal", "t_mu": 0.0},
    ]


@pytest.mark.parametrize("stage", ["grid", "search"])
def test_an_axis_that_exists_in_no_cell_is_refused_with_its_condition(tmp_path: Path, stage: str) -> None:
    axes = {"t_mu": [-0.8, 0.0, 0.4], "prediction": ["x", "v"]}
    baseline = {"preset": "jit-tiny", "batch_size": 8, "diffusion": {"t_sampling": {"kind": "uniform"}}}
    stages = [{stage: {"axes": axes, **({"trials": 2} if stage == "search" else {})}}]
    with pytest.raises(UserError) as error:
        planned(tmp_path, baseline=baseline, stages=stages)
    assert str(error.value) == (
        f"sweep.yaml: stages[0].{stage}.axes.t_mu: `t_mu` must exist in some cell, and it does only where "
        "t_sampling=logit_normal, got none; set t_sampling=logit_normal in the baseline or as an axis, or leave t_mu out"
    )


def test_a_conditional_axis_of_a_search_that_starts_from_the_best_cell_may_exist_there(tmp_path: Path) -> None:
    first = {"grid": {"axes": {"t_sampling": ["uniform", "logit_normal"]}}}
    second = {"search": {"axes": {"t_mu": [-0.8, 0.0]}, "trials": 2, "from": "best_cell"}}
    baseline = {"preset": "jit-tiny", "batch_size": 8, "diffusion": {"t_sampling": {"kind": "uniform"}}}
    assert len(planned(tmp_path, baseline=baseline, stages=[first, second]).entries) == 2


def test_cells_that_are_one_run_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An axis that writes where nothing reads, as one that was registered wrongly would."""
    idle = Axis("idle", "nothing", TypeAdapter(int), Slot(lambda tree, value: None, lambda tree: 0))
    monkeypatch.setitem(AXES, "idle", idle)
    with pytest.raises(UserError, match=r"idle=2: cells must differ in what they train .*, got the same run as idle=1; leave"):
        planned(tmp_path, **grid({"idle": [1, 2]}))


def test_the_sampling_clamp_changes_the_evaluation_and_not_the_trial(tmp_path: Path) -> None:
    a, b = planned(tmp_path, **grid({"t_eps_sample": [0.05, 0.0]})).entries
    assert a.trial_id == b.trial_id
    assert (a.evaluation.t_eps_sample, b.evaluation.t_eps_sample) == (0.05, 0.0)
    assert a.key != b.key


def test_the_sampling_clamp_follows_the_training_clamp_where_none_is_given(tmp_path: Path) -> None:
    entries = planned(tmp_path, **grid({"t_eps_train": [0.05, 0.1]})).entries
    assert [entry.evaluation.t_eps_sample for entry in entries] == [0.05, 0.1]


def test_every_impossible_cell_is_named_with_the_rule_and_valid_choices(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        planned(tmp_path, **grid({"patch_size": [16, 7, 5]}))
    lines = str(error.value).splitlines()
    assert len(lines) == 2
    assert "stages[0].grid: patch_size=7: `patch_size` must divide image_size, got patch_size=7, image_size=32; try" in lines[0]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"stages": [{"grid": {"axes": {"patch_size": [16, 7]}, "seeds": 0}}]}, "stages[0].grid.seeds"),
        ({"stages": [{"grid": {"axes": {"patch_size": [16, 7]}, "seeds": 10**6}}]}, "stages[0].grid.seeds"),
        ({"stages": [{"search": {"trials": 0, "axes": {"patch_size": [16, 7]}}}]}, "stages[0].search.trials"),
        ({"budget": {"images_per_trial": 0, "rungs": 0}}, "budget.images_per_trial"),
        ({"budget": {"images_per_trial": 20}}, "budget.images_per_trial"),
        ({"budget": {"images_per_trial": 16, "rungs": 10**6}}, "budget.rungs"),
        ({"evaluation": {"n": 0}}, "evaluation.n"),
        ({"evaluation": {"n": 385}}, "evaluation.n"),
        ({"resources": {"workers": 3}}, "resources.workers"),
    ],
)
def test_an_impossible_count_hides_no_impossible_cell(tmp_path: Path, changes: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError) as error:
        checked(write_sweep(tmp_path, **{**grid({"patch_size": [16, 7]}), **changes}), home_at(tmp_path))
    lines = str(error.value).splitlines()
    assert f": {key}: " in lines[0]
    assert "`patch_size` must divide image_size, got patch_size=7" in lines[-1]
    assert len(lines) == 2 + (changes.get("budget", {}).get("rungs") == 0)


def test_a_possible_cell_beside_an_impossible_count_is_no_fault(tmp_path: Path) -> None:
    for changes in ({"budget": {"images_per_trial": 0}}, {"evaluation": {"n": 0}}, {"resources": {"workers": 3}}):
        with pytest.raises(UserError) as error:
            checked(write_sweep(tmp_path, **grid({"patch_size": [16, 8]}), **changes), home_at(tmp_path))
        assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        ({"depth": 10**8}, "depth: must be less than or equal to 1000"),
        ({"width": 2**53}, "width: must be less than or equal to 65536"),
        ({"class_tokens": 10**6}, "class_tokens: must be less than or equal to 65536"),
        ({"mlp_ratio": 1e9}, "mlp_ratio: must be less than or equal to 100"),
    ],
)
def test_a_network_of_a_size_that_is_a_slip_is_refused(tmp_path: Path, model: dict[str, Any], fault: str) -> None:
    with pytest.raises(UserError, match=re.escape(fault)):
        planned(tmp_path, baseline={"preset": "jit-tiny", "model": model, "batch_size": 8})


def test_more_averages_than_anybody_compares_are_refused(tmp_path: Path) -> None:
    averages = [{"kind": "decay", "name": f"e{number}"} for number in range(65)]
    with pytest.raises(UserError, match="at most 64 items"):
        planned(tmp_path, baseline={"preset": "jit-tiny", "ema": averages, "batch_size": 8})


def test_a_search_with_an_impossible_choice_is_refused_before_it_samples(tmp_path: Path) -> None:
    search = {"search": {"trials": 2, "axes": {"width": [16, 17], "learning_rate": {"low": 1e-4, "high": 1e-3}}}}
    with pytest.raises(UserError, match="width=17"):
        planned(tmp_path, stages=[search])


def test_a_budget_that_is_no_whole_number_of_batches_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must be a multiple of batch_size=8, got 20; try 16"):
        planned(tmp_path, budget={"images_per_trial": 20})


def test_more_scored_images_than_held_out_ones_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="evaluation.n: `n` must be at most 384, the held-out images.*got n=385; try 384"):
        planned(tmp_path, evaluation={"n": 385})


def test_a_sampling_clamp_that_would_divide_by_zero_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="`t_eps_sample` must be above 0 for eps-prediction"):
        planned(tmp_path, **grid({"prediction": ["eps"], "t_eps_sample": [0.0]}))


def test_a_grid_too_large_to_plan_is_refused_and_never_cut(tmp_path: Path) -> None:
    axes = {"t_mu": [i / 100 for i in range(100)], "noise_scale": [1 + i / 100 for i in range(50)]}
    with pytest.raises(UserError, match="at most 4096 combinations, got 5000"):
        planned(tmp_path, **grid(axes))


def test_whole_numbers_as_the_ends_of_a_continuous_axis_stay_continuous(tmp_path: Path) -> None:
    search = {"search": {"trials": 2, "axes": {"t_mu": {"low": -2, "high": 1}, "depth": {"low": 2, "high": 4}}}}
    axes = searches(planned(tmp_path, stages=[search]).spec)[0].axes
    assert [type(axes[name].low) for name in ("t_mu", "depth")] == [float, int]  # type: ignore[union-attr]


def test_rungs_are_equally_spaced_whole_batches_and_the_last_is_the_end(tmp_path: Path) -> None:
    assert planned(tmp_path, budget={"images_per_trial": 80, "rungs": 4}).entries[0].rungs == (16, 40, 64, 80)


def test_the_fingerprint_knows_baseline_data_objective_and_evaluation_and_nothing_else(tmp_path: Path) -> None:
    base = planned(tmp_path).fingerprint
    same: list[dict[str, Any]] = [{"budget": {"images_per_trial": 32}}, {"resources": {"cpus": 2}}, grid({"depth": [2]})]
    other: list[dict[str, Any]] = [{"objective": "heldout_v_error"}, {"evaluation": {"n": 16}}, {"data": {"name": "emoji32"}}]
    assert [planned(tmp_path, **changes).fingerprint == base for changes in same] == [True] * 3
    assert [planned(tmp_path, **changes).fingerprint == base for changes in other] == [False] * 3


def test_a_trials_id_ignores_budget_and_evaluation_and_feels_everything_else(tmp_path: Path) -> None:
    trial = planned(tmp_path).entries[0].trial
    assert planned(tmp_path, budget={"images_per_trial": 32}, evaluation={"n": 4}).entries[0].trial.id == trial.id
    assert trial.model_copy(update={"seed": 1}).id != trial.id
    assert trial.model_copy(update={"precision": "bf16"}).id != trial.id


VALUES: dict[str, Any] = {
    "path": "staged",
    "levels": 40,
    "stages": 2,
    "stage_transform": "blur",
    "stage_noise": "halved",
    "stage_gamma": -0.25,
    "size_embedding": True,
    "time_kind": "clock",
    "mlp_norm": "layer",
    "attention": "fp32",
    "residual": "bf16",
    "patch_size": 8,
    "prediction": "eps",
    "loss": "x",
    "t_sampling": "uniform",
    "t_mu": 0.3,
    "t_sigma": 1.5,
    "t_eps_train": 0.2,
    "t_eps_sample": 0.2,
    "noise_scale": 2.0,
    "learning_rate": 0.5,
    "width": 192,
    "depth": 7,
    "bottleneck": 5,
    "norm": "layer",
    "mlp": "gelu",
    "rope": False,
    "qk_norm": False,
    "class_tokens": 3,
    "dropout": 0.1,
    "attn_dropout": 0.1,
    "proj_dropout": 0.1,
    "output_skip": "edm",
    "grad_clip": 0.5,
    "batch_size": 8,
    "weights": "raw",
    "sampling_steps": 3,
    "sampling_shift": 2.0,
    "guidance": 2.0,
    "t_scale": 0.5,
    "t_shift": 2.0,
    "t_at_noise": 2.0,
    "t_at_data": 3.0,
    "weighting": "sigmoid",
    "weighting_bias": -2.0,
    "weighting_importance": True,
    "weighting_gamma": 4.0,
    "term.cosine": 0.5,
    "term.frequency": 0.5,
    "term.multiscale": 0.5,
    "term.classifier": 0.5,
    "classifier_block": 2,
    "term.representation": 2.0,
    "representation_block": 2,
    "representation_hidden": 5,
    "optimiser": "muon",
    "momentum": 0.9,
    "rope_kind": "alternating",
    "qk_norm_kind": "layer",
    "bias": False,
    "position": "none",
    "time_period": 10.0,
    "adaln_start": "torch",
    "adaln_shift": False,
    "normalise_input": True,
    "block_start": "torch",
    "head": "pixel_mlp",
    "final_norm": "layer",
    "head_width": 24,
    "head_blocks": 3,
    "routing": "skip",
    "routing_share": 0.25,
    "routing_ends": 2,
    "dimensions": 1024,
    "trunk": "unet",
    "trunk_width": 64,
    "trunk_blocks": 2,
    "trunk_depth": 2,
    "trunk_patch": 2,
    "decoder_width": 32,
    "decoder_depth": 2,
    "decoder_heads": 2,
    "trunk_dropout": 0.1,
    "head_channels": 16,
    "resample": "convolutions",
    "scale_shift": False,
    "code_channels": 8,
    "code": "vq",
    "alignment": 0.2,
    "perceptual": 0.2,
    "kl_weight": 1e-3,
    "code_entries": 16,
    "commitment": 0.5,
    "preset": "jit-tiny/8",
    "parent": "codes code=vq",
    "parent_part": "encoder",
    "encoder": "codes code=vq",
    "latent_sample": "draw",
    "latent_quantise": False,
    "method": "masked_tokens",
    "mask_mean": 0.9,
    "mask_deviation": 0.5,
    "mask_least": 0.5,
    "head_repeats": 2,
    "class_copies": 2,
    "token_head_width": 64,
    "token_head_blocks": 2,
    "temperature": 0.9,
    "head_steps": 50,
    "token_limit": 3.0,
    "contrast_temperature": 0.5,
    "level_temperature": 0.5,
    "contrast_group": 4,
    "target_decay": 0.5,
    "least_side": 0.9,
    "projector_width": 128,
    "projected_width": 32,
    "pool": "adaptive",
    "classifier_scale": 2.0,
    "classifier": "finder pool=adaptive",
    "interval": "0.2..0.9",
}
OF_STAGES = {"preset", "parent", "parent_part", "encoder", "latent_sample", "latent_quantise", "classifier"}
"""Axes that only a recipe of a sweep knows: no trial says which preset it came from, or which stage it builds on."""
UVIT = {"trunk": "uvit", "trunk_width": 16}
ENCODER_DECODER = {"trunk": "encoder_decoder"}
OF_TEACHERS = ("alignment", "perceptual")
OF_CODES: dict[str, dict[str, Any]] = {
    "code_channels": {},
    "code": {},
    "kl_weight": {},
    "code_entries": {"code": "vq"},
    "commitment": {"code": "vq"},
}
"""What exists under the trunk autoencoder, which one preset has."""
OF_MASKED_TOKENS: tuple[str, ...] = (
    "mask_mean",
    "mask_deviation",
    "mask_least",
    "head_repeats",
    "class_copies",
    "token_head_width",
    "token_head_blocks",
    "temperature",
    "head_steps",
    "token_limit",
)
"""What exists under the method masked_tokens."""
OF_PRETRAINING = (
    "contrast_temperature",
    "level_temperature",
    "contrast_group",
    "target_decay",
    "least_side",
    "projector_width",
    "projected_width",
)
"""What exists where an encoder is pre-trained, as one preset does."""
UNET = {"trunk": "unet", "trunk_width": 32, "trunk_blocks": 1}
UNDER: dict[str, dict[str, Any]] = {
    "parent_part": {"parent": "codes"},
    "latent_sample": {"encoder": "codes"},
    "latent_quantise": {"encoder": "codes"},
    "levels": {"path": "karras"},
    "stages": {"path": "staged"},
    "stage_transform": {"path": "staged"},
    "stage_noise": {"path": "staged"},
    "stage_gamma": {"path": "staged"},
    "t_scale": {"t_sampling": "mode"},
    "t_shift": {"t_sampling": "shifted"},
    "t_at_noise": {"t_sampling": "interpolated"},
    "t_at_data": {"t_sampling": "interpolated"},
    "weighting_bias": {"weighting": "sigmoid"},
    "weighting_importance": {"weighting": "sigmoid"},
    "weighting_gamma": {"weighting": "min_snr"},
    "classifier_block": {"term.classifier": 0.5},
    "representation_block": {"term.representation": 0.5},
    "representation_hidden": {"term.representation": 0.5},
    "momentum": {"optimiser": "muon"},
    "head_width": {"head": "pixel_mlp"},
    "head_blocks": {"head": "pixel_mlp"},
    "routing_share": {"routing": "skip"},
    "routing_ends": {"routing": "skip", "depth": 6},
    "decoder_width": ENCODER_DECODER,
    "decoder_depth": ENCODER_DECODER,
    "decoder_heads": ENCODER_DECODER,
    "trunk_width": UNET,
    "trunk_blocks": UNET,
    "trunk_depth": UVIT,
    "trunk_patch": UVIT,
    "trunk_dropout": UNET,
    "head_channels": UNET,
    "resample": UNET,
    "scale_shift": UNET,
    **OF_CODES,
    **{name: {"method": "masked_tokens"} for name in OF_MASKED_TOKENS},
    **{name: {} for name in OF_PRETRAINING},
    "pool": {},
    "alignment": {},
    "perceptual": {},
}
"""What an axis hangs on, where the baseline has it not."""


def recipe_for(name: str, folder: Path) -> Recipe:
    """A recipe in which an axis may be varied: a teacher is no value of one."""
    others = {
        "pool": "classifier-tiny",
        **dict.fromkeys(OF_PRETRAINING, "epg-pretraining-tiny"),
        **dict.fromkeys([*OF_CODES, *OF_TEACHERS], "autoencoder-tiny"),
    }
    recipe = preset(others.get(name, "jit-tiny"))
    if name in OF_TEACHERS:
        return recipe.model_copy(update={"method": AutoencoderMethod.model_validate({name: {"teacher": teacher(folder)}})})
    if "representation" not in name:
        return recipe
    return recipe.model_copy(update={"diffusion": DiffusionConfig(terms=(RepresentationTerm(**representation(folder)),))})


@pytest.mark.parametrize("name", AXES)
def test_every_axis_changes_something(name: str, tmp_path: Path) -> None:
    recipe = put(recipe_for(name, tmp_path), UNDER.get(name, {})).recipe
    cell = put(recipe, {name: VALUES[name]})
    assert (cell.recipe != recipe) != bool(cell.evaluation)
    put_there = {"interval": (0.2, 0.9), "classifier": {"stage": "finder", "where": {"pool": "adaptive"}, "best": False}}
    assert [*cell.evaluation.values()] in ([], [put_there.get(name, VALUES[name])])


def test_axis_values_are_read_back_out_of_a_configuration(tmp_path: Path) -> None:
    entry = planned(tmp_path).entries[0]
    images = entry.trial.data
    staged = {"path", *(name for name in UNDER if "path" in UNDER[name])}
    for name, value in VALUES.items():
        if name in OF_STAGES:
            continue
        recipe = recipe_for(name, tmp_path).model_copy(update={"precision": "bf16"})
        cell = put(recipe, {**UNDER.get(name, {}), name: value})
        data = images.model_copy(update={"image_size": 128}) if name in staged else images
        trial = trial_of_recipe(cell.recipe, data=data)
        guide = {"classifier": {"trial": trial.id, "images": 8}} if name == "classifier_scale" else {}
        evaluation = EvaluationConfig.model_validate({**entry.evaluation.model_dump(), **cell.evaluation, **guide})
        assert axis_values(trial, evaluation)[name] == value


@pytest.mark.parametrize("name", sorted(OF_STAGES - {"preset", "classifier"}))
def test_axis_values_of_stages_are_read_back_out_of_a_recipe(name: str) -> None:
    assert recipe_values(put(preset("jit-tiny"), {**UNDER.get(name, {}), name: VALUES[name]}).recipe)[name] == VALUES[name]


def test_only_axes_that_exist_have_a_value(tmp_path: Path) -> None:
    entry = planned(tmp_path).entries[0]
    diffusion = entry.trial.diffusion.model_copy(update={"t_sampling": Uniform()})
    values = axis_values(entry.trial.model_copy(update={"diffusion": diffusion}), entry.evaluation)
    assert AXES.keys() - values.keys() == {"t_mu", "t_sigma", "preset", "classifier_scale", *UNDER}


def test_an_embedding_that_the_bottleneck_axis_cannot_write_is_no_value_of_it(tmp_path: Path) -> None:
    entry = planned(tmp_path).entries[0]
    model = entry.trial.model.model_copy(update={"embedding": ConvStemEmbedding()})
    assert "bottleneck" not in axis_values(entry.trial.model_copy(update={"model": model}), entry.evaluation)


def test_cells_above_a_limit_are_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = grid({"patch_size": [4, 8, 16], "prediction": ["x", "v"]}, seeds=2, limits={"tokens": 20})
    plan = planned(tmp_path, **changes)
    assert {entry.arm["patch_size"] for entry in plan.entries} == {8, 16}
    assert len(plan.entries) == 8
    assert plan.left_out == {0: 2}
    show(write_sweep(tmp_path, **changes), home_at(tmp_path), as_json=False)
    assert "stage 0: 2 cells left out, above the grid's limits" in capsys.readouterr().out
    named = {"stages": [{"name": "patches", **stage} for stage in changes["stages"]]}
    show(write_sweep(tmp_path, **named), home_at(tmp_path), as_json=False)
    assert "stage `patches`: 2 cells left out" in capsys.readouterr().out


def test_nothing_is_left_out_at_a_limit_itself(tmp_path: Path) -> None:
    plan = planned(tmp_path, **grid({"patch_size": [8, 16]}, limits={"tokens": 16}))
    assert (len(plan.entries), plan.left_out) == (2, {})


def test_a_grid_or_search_that_is_above_its_limits_everywhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="`limits` must leave some trials, got none of 2 within tokens=3; raise a limit"):
        planned(tmp_path, **grid({"patch_size": [8, 16]}, limits={"tokens": 3}))
    search = {"trials": 2, "axes": {"depth": {"low": 2, "high": 9}}, "limits": {"parameters": 10}}
    with pytest.raises(
        UserError, match="`limits` must leave some trials, got none at the ends of the axes within parameters=10"
    ):
        planned(tmp_path, stages=[{"search": search}])


@pytest.mark.parametrize(
    ("more", "count"),
    [({}, 3), ({"limits": {"tokens": 20}}, 2), ({"seeds": 4}, 12), ({"trials": 1, "seeds": 4}, 4)],
)
def test_a_search_of_choices_proposes_as_many_as_there_are_within_its_limits_with_every_seed(
    tmp_path: Path, more: dict[str, Any], count: int
) -> None:
    search = {"trials": 9, "axes": {"patch_size": [4, 8, 16]}, **more}
    assert proposals(planned(tmp_path, stages=[{"search": search}])) == {0: count}


@pytest.mark.parametrize("name", QUANTITIES)
def test_every_quantity_that_can_be_limited_is_what_the_plan_shows_and_grows_with_the_model(tmp_path: Path, name: str) -> None:
    small, large = planned(tmp_path, **grid({"patch_size": [16, 4]})).entries
    values = [QUANTITIES[name].of(entry.trial, entry.images) for entry in (small, large)]
    assert values == [row.get(name, value) for row, value in zip(trial_rows([small, large], {}), values, strict=True)]
    of_patches = ("token_dimension", "token_dimension_over_width")
    assert values[0] < values[1] or name in ("parameters", "memory_gib", *of_patches)  # small patches make a small head
    deeper = small.trial.model_copy(update={"model": small.trial.model.model_copy(update={"depth": 9})})
    assert QUANTITIES[name].of(deeper, small.images) > values[0] or name in ("tokens", *of_patches)


def test_what_is_over_a_limit_is_over_it_by_a_share(tmp_path: Path) -> None:
    trial = planned(tmp_path, **grid({"patch_size": [4]})).entries[0].trial
    assert excess({"tokens": 16, "parameters": 1e9}, trial, images=16) == {"tokens": 3.0}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_takes_another_patch_size(name: str) -> None:
    assert preset(f"{name}/8").model.patch_size == 8


def test_a_cosine_ends_with_each_trials_own_budget_and_then_the_budget_is_part_of_the_trial(tmp_path: Path) -> None:
    baseline = {"preset": "jit-tiny", "optimiser": {"schedule": {"kind": "cosine"}, "warmup_images": 0}, "batch_size": 8}
    short, long = (planned(tmp_path, baseline=baseline, budget={"images_per_trial": images}).entries[0] for images in (16, 32))
    assert [entry.trial.optimiser.schedule.total_images for entry in (short, long)] == [16, 32]  # type: ignore[union-attr]
    assert short.trial_id != long.trial_id


def test_evaluation_axes_score_one_trial_several_ways(tmp_path: Path) -> None:
    axes: dict[str, list[Any]] = {
        "weights": ["ema", "raw"],
        "guidance": [1.0, 2.0],
        "sampling_steps": [2, 3],
        "sampling_shift": [1.0, 2.0],
    }
    entries = planned(tmp_path, **grid(axes)).entries
    assert len({entry.trial_id for entry in entries}) == 1
    assert len({entry.evaluation.id for entry in entries}) == 16


def test_an_axis_of_weights_that_the_trial_does_not_keep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="`weights` must be one of raw, ema, got 'slow'"):
        planned(tmp_path, **grid({"weights": ["slow"]}))


def test_a_trial_without_averages_is_scored_by_its_own_weights(tmp_path: Path) -> None:
    entry = planned(tmp_path, baseline={"preset": "jit-tiny", "ema": [], "batch_size": 8}).entries[0]
    assert (entry.trial.ema, entry.evaluation.weights) == ((), "raw")


def test_every_batch_size_of_an_axis_must_divide_the_budget_and_be_divided_by_the_workers(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="batch_size=12: `images_per_trial` must be a multiple of batch_size, got 16, batch_size=12; try 24"
    ):
        planned(tmp_path, **grid({"batch_size": [8, 12]}))
    with pytest.raises(UserError, match="batch_size=1: `workers` must divide batch_size, got workers=2, batch_size=1"):
        planned(tmp_path, **grid({"batch_size": [8, 1]}), resources={"workers": 2})


def test_arms_of_different_batch_sizes_stand_at_the_same_rungs(tmp_path: Path) -> None:
    entries = planned(tmp_path, **grid({"batch_size": [8, 12]}), budget={"images_per_trial": 96, "rungs": 4}).entries
    assert [entry.rungs for entry in entries] == [(24, 48, 72, 96)] * 2


def test_a_parent_is_part_of_a_trial_and_of_its_id(tmp_path: Path) -> None:
    parent = {"trial": "0123456789ab", "images": 16}
    entry = planned(tmp_path, baseline={"preset": "jit-tiny", "batch_size": 8, "parent": parent}).entries[0]
    plain = planned(tmp_path, baseline={"preset": "jit-tiny", "batch_size": 8}).entries[0]
    assert entry.trial.parent is not None
    assert entry.trial.parent.model_dump() == {**parent, "parts": ()}
    assert entry.trial_id != plain.trial_id


@pytest.mark.parametrize(
    ("override", "rule"),
    [
        ({"attention": "flash"}, "`attention` flash needs a GPU and precision bf16, got device=cpu, precision=fp32"),
        ({"attention": "triton"}, "`attention` triton needs a GPU and precision bf16, got device=cpu, precision=fp32"),
        (
            {"ema": [{"kind": "decay", "name": "raw"}]},
            "`ema` must name each average once, and none of them model, optimiser, raw",
        ),
        ({"ema": [{"kind": "decay", "decy": 0.9}]}, "baseline.ema[0].decy: unknown key 'decy'; did you mean 'decay'?"),
        ({"ema": [{"decay": 0.9}]}, "baseline.ema[0]: must be a mapping with a `kind`"),
        (
            {"optimiser": {"schedule": {"kind": "cosin"}}},
            "baseline.optimiser.schedule: `kind` must be one of 'constant', 'cosine'",
        ),
        ({"optimiser": {"schedule": {"kind": "constant", "final": 0.1}}}, "unknown key 'final'; valid keys: kind"),
        (
            {"optimiser": {"schedule": {"kind": "cosine"}, "warmup_images": 16}},
            "(and 1 more cell): `schedule.total_images` must be above warmup_images",
        ),
        ({"ema": [{"kind": "decay"}, {"kind": "half_life", "images": 8}]}, "`ema` must name each average once"),
    ],
)
def test_an_override_that_no_trial_can_have_is_refused(tmp_path: Path, override: dict[str, Any], rule: str) -> None:
    with pytest.raises(UserError) as error:
        planned(tmp_path, baseline={"preset": "jit-tiny", "batch_size": 8, **override})
    assert rule in str(error.value)


def test_how_a_step_is_computed_is_part_of_a_trial(tmp_path: Path) -> None:
    changed = {"compile": True, "attention": "fp32", "precision": "bf16"}
    trial = planned(tmp_path, baseline={"preset": "jit-tiny", "batch_size": 8, **changed}).entries[0].trial
    assert trial.model_dump(include=set(changed)) == changed


@pytest.mark.parametrize(("total", "refused"), [(31, True), (32, False)])
def test_a_budget_that_brings_no_trial_to_its_end_is_refused(tmp_path: Path, total: int, refused: bool) -> None:
    changes = {**grid({"prediction": ["x", "v"]}), "budget": {"images_per_trial": 32, "rungs": 2, "total_images": total}}
    if not refused:
        assert len(planned(tmp_path, **changes).entries) == 2
        return
    with pytest.raises(UserError, match=r"budget.total_images: must bring one trial to its end, got 31; the smallest .* 32"):
        planned(tmp_path, **changes)


def test_a_cell_is_resolved_once_for_all_its_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolved, entry = list[int](), Planner.entry

    def counting(planner: Planner, cell: Cell, **given: Any) -> Entry:
        resolved.append(given["seed"])
        return entry(planner, cell, **given)

    monkeypatch.setattr(Planner, "entry", counting)
    sweep = planned(tmp_path, **grid({"width": [16, 32]}, seeds=50))
    assert len(resolved) == 2
    assert [(e.arm["width"], e.seed, e.trial.seed, e.position) for e in sweep.entries] == [
        (width, seed, seed, 50 * (width // 16 - 1) + seed) for width in (16, 32) for seed in range(50)
    ]
    alone = entry(Planner.of(sweep), put(sweep.baseline, {"width": 32}), stage=0, position=99, seed=49, images=16)
    assert sweep.entries[99] == alone.model_copy(update={"protected": True})


def test_plan_shows_the_first_trials_of_a_large_sweep_and_counts_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_sweep(tmp_path, stages=[{"grid": {"axes": {"prediction": ["x", "v"]}, "seeds": 150}}])
    show(file, home_at(tmp_path / "home"), as_json=False)
    out = capsys.readouterr().out
    assert out.count("prediction=") - MOST_ROWS in range(4)
    assert "and 100 more trials; --json has every one" in out
    show(file, home_at(tmp_path / "home"), as_json=True)
    assert capsys.readouterr().out.count('"parameters"') == 300


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            grid({"prediction": ["x", "v"]}, cells=[{"where": {"predicton": "x"}, "seeds": 2}]),
            "`where` must name axes of this grid, got 'predicton'; did you mean 'prediction'?",
        ),
        (
            grid({"norm": ["rms", "layer"]}, cells=[{"where": {"norm": "layr"}, "seeds": 2}]),
            "`where` must name a value of this grid's axis norm, got layr; did you mean 'layer'?",
        ),
        ({"evaluation": {"n": 8, "weights": "em"}}, "`weights` must be one of raw, ema, got 'em'; did you mean 'ema'?"),
        (grid({"weights": ["raww"]}), "`weights` must be one of raw, ema, got 'raww'; did you mean 'raw'?"),
    ],
)
def test_a_mistyped_name_of_a_cell_or_of_weights_is_told_what_it_meant(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError) as error:
        planned(tmp_path, **changes)
    assert said in str(error.value)


def test_arms_that_are_matched_in_flops_cost_the_same_to_a_batch(tmp_path: Path) -> None:
    budget = {"images_per_trial": 3200, "matched": "flops"}
    entries = planned(tmp_path, **grid({"patch_size": [16, 8], "depth": [2, 4]}), budget=budget).entries
    costs = [training_flops(entry.trial, images=entry.images) for entry in entries]
    assert len({entry.images for entry in entries}) == 4
    for entry, cost in zip(entries, costs, strict=True):
        assert abs(cost - costs[0]) <= training_flops(entry.trial, images=entry.trial.batch_size)


def test_arms_that_are_matched_both_ways_are_planned_at_equal_images_and_again_at_equal_flops(tmp_path: Path) -> None:
    longer = {"where": {"patch_size": 8}, "images_per_trial": 6400}
    first = {"grid": {"axes": {"patch_size": [16, 8]}, "cells": [longer], "contrasts": [{"axis": "patch_size"}]}}
    ladder = {"name": "parts", "ablation": {"kind": "ladder", "changes": {"deep": {"depth": 4}}}}
    found = planned(tmp_path, stages=[first, ladder], budget={"images_per_trial": 3200, "matched": "both"})
    images = [[entry.images for entry in found.entries if entry.stage == stage] for stage in range(4)]
    assert images[0] == [3200, 6400], "what a cell is given by name stays in the file's own stage"
    assert images[1] == [3200, 3200]
    for stage in (2, 3):
        of_stage = [entry for entry in found.entries if entry.stage == stage]
        costs = [training_flops(entry.trial, images=entry.images) for entry in of_stage]
        assert abs(costs[1] - costs[0]) <= training_flops(of_stage[1].trial, images=of_stage[1].trial.batch_size)
        assert of_stage[0].images != of_stage[1].images
    places_found = [place.id for place in places(found.spec)]
    assert len({*places_found}) == 4
    assert places_found[3] == "parts-flops"
    asked = [question.label for of in questions_of(found).values() for question in of]
    assert asked == [
        "patch_size=8 against 16, at equal images",
        "deep: depth=4 against without, at equal images",
        "patch_size=8 against 16, at equal FLOPs",
        "deep: depth=4 against without, at equal FLOPs",
    ]


def test_a_sweep_that_is_matched_both_ways_is_read_back_with_the_stages_that_it_has(tmp_path: Path) -> None:
    budget = {"images_per_trial": 3200, "matched": "both"}
    spec = read_spec(write_sweep(tmp_path, **grid({"patch_size": [16, 8]}), budget=budget))
    assert len(spec.stages) == 2
    assert SweepSpec.model_validate(spec.model_dump(mode="json", by_alias=True)) == spec
    alone = read_spec(write_sweep(tmp_path, **grid({"patch_size": [16, 8]}), budget={"images_per_trial": 3200}))
    assert places(spec)[0] == places(alone)[0], "the stage of equal images is the one that it was without the other"


@pytest.mark.parametrize("name", ["n" * 60, "taken"])
def test_a_stage_without_a_name_for_its_form_at_equal_flops_is_refused(tmp_path: Path, name: str) -> None:
    named = [{"name": each, **grid({"depth": [2, 4]})["stages"][0]} for each in (name, "taken-flops")]
    with pytest.raises(UserError, match="free and at most 63 characters, got .*-flops; rename a stage"):
        planned(tmp_path, stages=named, budget={"images_per_trial": 3200, "matched": "both"})


def test_arms_that_are_matched_in_device_seconds_train_as_long_as_their_speeds_say(tmp_path: Path) -> None:
    budget = {"images_per_trial": 3200, "matched": "device_seconds"}
    spec = read_spec(write_sweep(tmp_path, **grid({"patch_size": [16, 8]}), budget=budget))
    shapes = [speed_shape(entry.trial) for entry in plan(spec, source="sweep.yaml").entries]
    entries = plan(spec, source="sweep.yaml", speeds={shapes[0]: 1000.0, shapes[1]: 250.0}).entries
    assert [entry.images for entry in entries] == [3200, 800]
    with pytest.raises(UserError, match="needs the speed of the baseline and of each arm, got none of this one here; measure"):
        plan(spec, source="sweep.yaml", speeds={shapes[0]: 1000.0})
    elsewhere = plan(spec, source="sweep.yaml", speeds={}, promised={entry.label: entry.images for entry in entries})
    assert elsewhere.entries == entries, "what was promised at launch stays, whatever another home has measured"
