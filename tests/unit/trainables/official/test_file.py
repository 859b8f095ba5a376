"""Official checkpoints become folders of ours and come back bit for bit; what is none is refused before it can do harm."""

import argparse
import json
import os
import pickle
import resource
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from jit_sweep.cli import main
from jit_sweep.errors import UserError
from jit_sweep.models.model_folder import ModelFolderConfig, load_network, read_config
from jit_sweep.models.official import export_checkpoint, import_checkpoint
from jit_sweep.models.official_settings import IMAGENET_EPOCH, args_of, config_of, official_name
from search_spaces.presets import preset
from tests.support.paths import GOLDEN
from tests.support.trials import lively, small_model, small_trial
from trainables.config.average import DecayEma
from trainables.config.evaluation import EvaluationConfig
from trainables.config.evaluation_rules import check_weights
from trainables.config.network import LinearEmbedding
from trainables.diffusion.maths import noisy
from trainables.evaluation.generate import generate
from trainables.networks.cost import parameter_count
from trainables.networks.jit import JiT
from trainables.networks.sizes import mlp_hidden
from trainables.official.names import TABLE_TOLERANCE, to_ours
from trainables.official.shapes import Sizes
from trainables.official.words import SETS

FILE = np.load(GOLDEN / "jit_official_tiny.npz")
META = json.loads(str(FILE["meta"]))
ARRAYS = {name: torch.from_numpy(FILE[name]) for name in FILE.files if name != "meta"}
OFFICIAL = {name.removeprefix("sd/"): tensor for name, tensor in ARRAYS.items() if name.startswith("sd/")}
TABLE = "net.pos_embed"
BIAS = "net.final_layer.linear.bias"
ARGS: dict[str, Any] = {
    "model": "tiny",
    "img_size": 16,
    "class_num": 5,
    "in_context_start": 2,
    "P_mean": -1,
    "P_std": 0.7,
    "noise_scale": 1.0,
    "t_eps": 0.04,
    "label_drop_prob": 0.2,
    "attn_dropout": 0.0,
    "proj_dropout": 0.0,
    "ema_decay1": 0.999,
    "ema_decay2": 0.99,
    "batch_size": 16,
    "world_size": 4,
    "blr": 5e-5,
    "lr": 5e-5 * 64 / 256,
    "warmup_epochs": 0,
    "cfg": 2.9,
    "interval_min": 0.1,
    "interval_max": 1.0,
    "resume": "",
    "lr_schedule": "constant",
    "pin_mem": True,
    "data_path": None,
}
FILES = ["config.json", "ema2.safetensors", "model.safetensors", "official.json", "positions.safetensors", "raw.safetensors"]


def averaged(table: Tensor, decay: float) -> Tensor:
    """What the official average makes of a table that never changes."""
    average = table.clone()
    for _ in range(2000):
        average.mul_(decay).add_(table, alpha=1 - decay)
    return average


AVERAGED = [averaged(OFFICIAL[TABLE], decay) for decay in (0.9999, 0.9996)]


def weight_sets() -> dict[str, dict[str, Tensor]]:
    """Three sets that differ everywhere; `model_ema1` has the golden file's weights."""
    scaled = {name: tensor * 0.5 for name, tensor in OFFICIAL.items()} | {TABLE: AVERAGED[1].clone()}
    raw = {name: tensor * 1.25 for name, tensor in OFFICIAL.items()} | {TABLE: OFFICIAL[TABLE].clone()}
    average = {name: tensor.clone() for name, tensor in OFFICIAL.items()} | {TABLE: AVERAGED[0].clone()}
    return {"model": raw, "model_ema1": average, "model_ema2": scaled}


def content(**changes: Any) -> dict[str, Any]:
    parts = {**weight_sets(), "args": argparse.Namespace(**ARGS), "optimizer": {"state": {0: torch.ones(3)}}, "epoch": 599}
    return {**parts, **changes}


def saved(path: Path, **changes: Any) -> Path:
    torch.save(content(**changes), path)
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return saved(tmp_path / "checkpoint-last.pth")


def loaded(path: Path) -> Any:
    """What the official code reads."""
    return torch.load(path, map_location="cpu", weights_only=False)


def assert_same_weights(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for key in SETS:
        assert found[key].keys() == expected[key].keys()
        for name, tensor in expected[key].items():
            assert found[key][name].dtype == tensor.dtype
            assert torch.equal(found[key][name], tensor), f"{key}: {name}"


def refusal(checkpoint: Path, **options: int) -> str:
    """The one line that an import ends with, which has left nothing."""
    folder = checkpoint.parent / "out"
    before = sorted(checkpoint.parent.iterdir())
    with pytest.raises(UserError) as told:
        import_checkpoint(checkpoint, folder, **options)
    assert sorted(checkpoint.parent.iterdir()) == before
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 600
    return str(told.value)


@pytest.mark.parametrize("as_dict", [False, True])
def test_an_imported_checkpoint_comes_back_bit_for_bit(tmp_path: Path, as_dict: bool) -> None:
    args = {**ARGS, "P_std": 0.1 + 0.2, "seed": 3} if as_dict else argparse.Namespace(**ARGS)
    first = loaded(saved(tmp_path / "first.pth", args=args))
    import_checkpoint(tmp_path / "first.pth", tmp_path / "out")
    export_checkpoint(tmp_path / "out", tmp_path / "new" / "checkpoint-last.pth")
    back = loaded(tmp_path / "new" / "checkpoint-last.pth")
    assert back.keys() == {*SETS, "args", "epoch"}
    assert_same_weights(back, first)
    assert (type(back["args"]), back["args"], back["epoch"]) == (type(args), args, 599)
    values = back["args"] if as_dict else vars(back["args"])
    assert {name: type(value) for name, value in values.items()} == {n: type(v) for n, v in (ARGS | values).items()}


def test_averaging_moves_the_table_by_more_than_a_rounding_error() -> None:
    first, second = ((average - OFFICIAL[TABLE]).abs().max() for average in AVERAGED)
    assert first > 2e-5
    assert 0 < second < first < TABLE_TOLERANCE


@torch.no_grad()
def test_the_imported_network_computes_the_official_output(checkpoint: Path, tmp_path: Path) -> None:
    imported = import_checkpoint(checkpoint, tmp_path / "out")
    network = load_network(tmp_path / "out")
    z = noisy(ARRAYS["x"], META["noise_scale"] * ARRAYS["noise"], ARRAYS["t"])
    error = (network(z, ARRAYS["t"], ARRAYS["y"]) - ARRAYS["net_out"]).abs().max() / ARRAYS["net_out"].abs().max()
    assert error < 1e-5
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES == list(imported.files)
    assert imported.parameters == sum(parameter.numel() for parameter in network.parameters())


def test_the_folder_holds_the_raw_weights_and_both_averages(checkpoint: Path, tmp_path: Path) -> None:
    import_checkpoint(checkpoint, tmp_path / "out")
    for key, file in zip(SETS, ("raw.safetensors", "model.safetensors", "ema2.safetensors"), strict=True):
        ours, expected = load_file(tmp_path / "out" / file), to_ours(weight_sets()[key])
        assert ours.keys() == expected.keys()
        assert all(torch.equal(ours[name], tensor) for name, tensor in expected.items())


def test_an_imported_model_samples(checkpoint: Path, tmp_path: Path) -> None:
    import_checkpoint(checkpoint, tmp_path / "out")
    config = read_config(tmp_path / "out")
    evaluation = config.evaluation.model_copy(update={"n": 2, "steps": 2})
    images = generate(load_network(tmp_path / "out"), config.trial, evaluation, torch.tensor([0, 4]))
    assert (images.dtype, images.shape) == (torch.uint8, (2, 3, 16, 16))


def test_the_configuration_says_what_args_and_shapes_say(checkpoint: Path, tmp_path: Path) -> None:
    import_checkpoint(checkpoint, tmp_path / "out")
    config = read_config(tmp_path / "out")
    trial, evaluation = config.trial, config.evaluation
    assert trial.model == small_model()
    assert (trial.data.digest, trial.data.image_size, trial.data.num_classes) == ("imported", 16, 5)
    assert trial.diffusion.t_sampling.model_dump() == {"kind": "logit_normal", "mu": -1.0, "sigma": 0.7}
    assert (trial.diffusion.t_eps_train, trial.diffusion.label_drop, trial.batch_size) == (0.04, 0.2, 64)
    decays = {"ema1": 0.999, "ema2": 0.99}
    assert trial.ema == tuple(DecayEma(name=name, decay=decay, warmup=False) for name, decay in decays.items())
    assert (trial.optimiser.learning_rate, trial.optimiser.scale_with_batch) == (5e-5, True)
    assert (evaluation.sampler, evaluation.steps, evaluation.guidance, evaluation.weights) == ("heun", 50, 2.9, "ema1")
    check_weights(trial, evaluation.weights)


@pytest.mark.parametrize(("size", "start"), [("B", 4), ("L", 8), ("H", 10)])
@pytest.mark.parametrize("patch", [16, 32])
def test_an_official_size_is_its_preset_with_official_defaults(size: str, start: int, patch: int) -> None:
    recipe = preset(f"jit-{size.lower()}/{patch}")
    config = config_of(sizes_of_preset(f"jit-{size.lower()}/{patch}"), dropout_args(size, patch), class_tokens_start=None)
    trial = config.trial
    optimiser = recipe.optimiser.model_copy(update={"warmup_images": 5 * IMAGENET_EPOCH})
    assert (trial.model, trial.diffusion, trial.optimiser) == (recipe.model, recipe.diffusion, optimiser)
    assert (trial.model.class_tokens_start, trial.batch_size, trial.precision) == (start, 1024, "bf16")
    assert [(average.name, average.warmup) for average in trial.ema] == [("ema1", False), ("ema2", False)]
    assert config.evaluation == EvaluationConfig(n=50_000, weights="ema1", interval=(0.0, 1.0))
    assert official_name(trial.model) == f"JiT-{size}/{patch}"


def dropout_args(size: str, patch: int) -> dict[str, Any]:
    return {"model": f"JiT-{size}/{patch}", **({"proj_dropout": 0.2} if size == "H" else {})}


GUIDANCE = {"B/16": 3.0, "B/32": 3.0, "L/16": 2.4, "L/32": 2.5, "H/16": 2.2, "H/32": 2.3}
"""Of the published evaluations (JiT's README)."""


@pytest.mark.parametrize("name", GUIDANCE)
def test_the_arguments_of_a_published_command_are_our_official_recipe(name: str) -> None:
    size, _, patch = name.partition("/")
    resolution = 16 * int(patch)
    command: dict[str, str | int | float | bool | None] = {
        "model": f"JiT-{name}",
        "attn_dropout": 0.0,
        "proj_dropout": 0.2 if size == "H" else 0.0,
        "P_mean": -0.8,
        "P_std": 0.8,
        "img_size": resolution,
        "noise_scale": resolution / 256,
        "batch_size": 128,
        "world_size": 8,
        "blr": 5e-5,
        "epochs": 600,
        "warmup_epochs": 5,
        "gen_bsz": 128,
        "num_images": 50_000,
        "cfg": GUIDANCE[name],
        "interval_min": 0.1,
        "interval_max": 1.0,
        "online_eval": True,
    }
    recipe = preset(f"jit-{size.lower()}/{patch}@{resolution}")
    config = config_of(sizes_of_preset(f"jit-{size.lower()}/{patch}"), command, class_tokens_start=None)
    trial = config.trial
    assert (trial.model, trial.diffusion, trial.ema) == (recipe.model, recipe.diffusion, recipe.ema)
    assert (trial.batch_size, trial.optimiser.warmup) == (recipe.batch_size, 5 * IMAGENET_EPOCH)
    assert (config.evaluation.guidance, config.evaluation.interval) == (GUIDANCE[name], (0.1, 1.0))
    assert {key: value for key, value in args_of(config).items() if key in command and key != "batch_size"} == {
        key: command[key] for key in args_of(config) if key in command and key != "batch_size"
    }


@pytest.mark.parametrize("wrap", ["_orig_mod.{}", "module.{}", "module._orig_mod.{}", "net._orig_mod.{}", "net.module.{}"])
def test_names_behind_wrappers_are_read_and_told(tmp_path: Path, wrap: str) -> None:
    def wrapped(name: str) -> str:
        return wrap.format(name.removeprefix("net.") if wrap.startswith("net.") else name)

    plain = weight_sets()
    file = saved(tmp_path / "file.pth", model={wrapped(name): tensor for name, tensor in plain["model"].items()})
    imported = import_checkpoint(file, tmp_path / "out")
    assert imported.left_out["names"] == "_orig_mod and module of wrappers, which are no part of them"
    export_checkpoint(tmp_path / "out", tmp_path / "back.pth")
    assert_same_weights(loaded(tmp_path / "back.pth"), plain)


def test_two_parameters_with_one_name_without_wrappers_are_refused(tmp_path: Path) -> None:
    both = {**weight_sets()["model"], f"module.{BIAS}": torch.ones(48)}
    assert "must have names of their own without wrappers" in refusal(saved(tmp_path / "file.pth", model=both))


def test_numbers_of_numpy_are_read_and_paths_left_out(tmp_path: Path) -> None:
    numbers = {
        "noise_scale": np.float32(2.0),
        "seed": np.int64(7),
        "P_mean": np.array(-0.5, dtype=">f8")[()],
        "cfg": np.float16(2),
    }
    others = {"output_dir": Path("/runs/a"), "data_path": PureWindowsPath("D:/images"), "word": np.str_("x")}
    args = argparse.Namespace(**{**ARGS, **numbers, **others})
    imported = import_checkpoint(saved(tmp_path / "file.pth", args=args), tmp_path / "out")
    assert {name for name in imported.left_out if name.startswith("args")} == {f"args.{name!r}" for name in others}
    trial = read_config(tmp_path / "out").trial
    assert (trial.diffusion.noise_scale, trial.seed, trial.diffusion.t_sampling.model_dump()["mu"]) == (2.0, 7, -0.5)


@pytest.mark.parametrize("value", [Path("/x"), np.str_("x"), [1.0]], ids=["path", "text", "list"])
def test_a_setting_that_is_read_and_cannot_be_is_never_taken_for_its_default(tmp_path: Path, value: object) -> None:
    args = argparse.Namespace(**{**ARGS, "noise_scale": value})
    assert "`args.noise_scale` must be a plain number or word, got" in refusal(saved(tmp_path / "file.pth", args=args))


def sizes_of_preset(name: str) -> Sizes:
    model = preset(name).model
    assert model.embedding.kind == "bottleneck"
    return Sizes(
        width=model.width,
        depth=model.depth,
        head_dim=model.width // model.heads,
        bottleneck=model.embedding.dim,
        hidden=mlp_hidden(model),
        class_tokens=32,
        num_classes=1000,
        channels=3,
        patch_size=model.patch_size,
        image_size=16 * model.patch_size,
    )


@pytest.mark.parametrize("hidden", [100, 101, 102, 129, 255])
def test_any_hidden_width_has_a_ratio(hidden: int) -> None:
    sizes = Sizes(48, 4, 12, 16, hidden, 3, 5, 3, 4, 16)
    assert mlp_hidden(config_of(sizes, ARGS, class_tokens_start=None).trial.model) == hidden


def test_a_rate_of_the_user_s_own_and_a_cosine_are_kept() -> None:
    args = {**ARGS, "lr": 1e-3, "lr_schedule": "cosine", "epochs": 10, "min_lr": 1e-4}
    optimiser = config_of(Sizes(48, 4, 12, 16, 128, 3, 5, 3, 4, 16), args, class_tokens_start=None).trial.optimiser
    assert (optimiser.learning_rate, optimiser.scale_with_batch) == (1e-3, False)
    assert optimiser.schedule.model_dump() == {"kind": "cosine", "total_images": 12_811_670, "final": 0.1}


def test_the_start_of_the_class_tokens_is_asked_for_where_nothing_tells_it(tmp_path: Path) -> None:
    args = {name: value for name, value in ARGS.items() if name != "in_context_start"}
    file = saved(tmp_path / "file.pth", args=args)
    assert "got 'tiny'; give the block where its class tokens begin with --class-tokens-start N" in refusal(file)
    assert "`class_tokens_start` must be below depth" in refusal(file, class_tokens_start=9)
    import_checkpoint(file, tmp_path / "out", class_tokens_start=3)
    assert read_config(tmp_path / "out").trial.model.class_tokens_start == 3


def test_settings_that_are_not_plain_are_left_out_by_name(tmp_path: Path) -> None:
    junk = {"a": [1, 2], "b": torch.ones(2), "c": float("nan"), "d": {"e": 1}, "f": "\udc80", "g": 10**30}
    junk["a"].append(junk["a"])  # type: ignore[attr-defined]
    args = argparse.Namespace(**ARGS, **junk)
    vars(args)[7] = 1  # type: ignore[index]
    imported = import_checkpoint(saved(tmp_path / "file.pth", args=args), tmp_path / "out")
    assert imported.left_out["args.'a'"] == "list, not a plain setting"
    assert set(imported.left_out) == {"optimizer", "args.7", *(f"args.{name!r}" for name in junk)}
    export_checkpoint(tmp_path / "out", tmp_path / "back.pth")
    assert loaded(tmp_path / "back.pth")["args"] == argparse.Namespace(**ARGS)


Change = Callable[[dict[str, Any]], object]
WRONG_CONTENT: dict[str, tuple[Change, str]] = {
    "no ema2": (lambda c: c.pop("model_ema2"), "must hold model, model_ema1, model_ema2 and args, got 'model', 'model_ema1'"),
    "no args": (lambda c: c.pop("args"), "must hold model, model_ema1, model_ema2 and args"),
    "args a list": (lambda c: c.update(args=[1]), "`args` must be an argparse.Namespace or a dict, got list"),
    "set a tensor": (lambda c: c.update(model=torch.ones(2)), "`model` must be a state dict, got Tensor"),
    "no prefix": (lambda c: c["model"].update(x=torch.ones(2)), "must be named net.*, got 'x'"),
    "no string": (lambda c: c["model"].update({3: torch.ones(2)}), "must be named net.*, got 3"),
    "missing": (lambda c: c["model_ema2"].pop(BIAS), r"missing ['final_layer.linear.bias']"),
    "unknown": (lambda c: c["model"].update({"net.stranger": torch.ones(2)}), "unknown ['stranger']"),
    "no block": (
        lambda c: c.update(model={n: t for n, t in c["model"].items() if "blocks" not in n}),
        "missing ['blocks.0.adaLN",
    ),
    "strange block": (lambda c: c["model"].update({f"net.blocks.{9**40}.x": torch.ones(2)}), "unknown ['blocks.1478"),
    "no tensor": (lambda c: c["model"].update({BIAS: 3}), "must be a tensor, got int"),
    "shape": (
        lambda c: c["model_ema1"].update({BIAS: torch.ones(47)}),
        f"model_ema1: {BIAS} must have the shape [48], got [47]",
    ),
    "dimensions": (
        lambda c: c["model"].update({TABLE: torch.ones(4)}),
        "net.pos_embed must have 3 dimensions of at least 1, got [4]",
    ),
    "empty": (
        lambda c: c["model"].update({"net.blocks.0.attn.q_norm.weight": torch.ones(0)}),
        "dimensions of at least 1, got [0]",
    ),
    "half": (lambda c: c["model"].update({BIAS: torch.ones(48).half()}), "must be float32, got torch.float16"),
    "integer": (lambda c: c["model"].update({BIAS: torch.ones(48).long()}), "must be float32, got torch.int64"),
    "sparse": (lambda c: c["model"].update({BIAS: torch.ones(48).to_sparse()}), "must be a dense, contiguous tensor"),
    "no data": (lambda c: c["model"].update({BIAS: torch.ones(48, device="meta")}), "must be a dense, contiguous tensor"),
    "expanded": (lambda c: c["model"].update({BIAS: torch.ones(1).expand(48)}), "must be a dense, contiguous tensor"),
    "shared": (
        lambda c: c["model"].update({BIAS: c["model"]["net.blocks.0.norm1.weight"]}),
        "the parameters of `model` must not share memory",
    ),
    "nan": (lambda c: c["model_ema2"][BIAS].fill_(float("nan")), f"NaN or infinity in model_ema2: {BIAS}"),
    "inf": (lambda c: c["model"][TABLE].fill_(float("inf")), "NaN or infinity in model: net.pos_embed"),
    "table": (lambda c: c["model_ema1"][TABLE].add_(0.1), "`pos_embed` must be the fixed sine-cosine table"),
}


@pytest.mark.parametrize("case", WRONG_CONTENT)
def test_a_wrong_checkpoint_is_refused(case: str, tmp_path: Path) -> None:
    change, said = WRONG_CONTENT[case]
    wrong = content()
    change(wrong)
    torch.save(wrong, tmp_path / "file.pth")
    assert said in refusal(tmp_path / "file.pth")


WRONG_ARGS: dict[str, tuple[dict[str, Any], str]] = {
    "model": (
        {"model": "JiT-B/16"},
        "`args.model` must agree with the tensors, got 'JiT-B/16' with patch_size=16 (tensors: 4)",
    ),
    "img_size": ({"img_size": 256}, "`args.img_size` must agree with the tensors and the model's name, got 256 and 16"),
    "class_num": ({"class_num": 1000}, "`args.class_num` must agree"),
    "word": ({"noise_scale": "much"}, "`args.noise_scale` must be a number up to 2^53, got 'much'"),
    "huge": ({"epochs": 1e300, "lr_schedule": "cosine"}, "`args.epochs` must be a number"),
    "part": ({"batch_size": 1.5}, "`args.batch_size` must be a whole number, got 1.5"),
    "negative": (
        {"noise_scale": -1.0},
        "trial.diffusion.noise_scale: must be greater than or equal to 0.001",
    ),
    "schedule": ({"lr_schedule": "steps"}, "trial.optimiser.schedule: `kind` must be one of 'constant', 'cosine', got 'steps'"),
    "dropout": ({"attn_dropout": 1.0}, "trial.model.attn_dropout: must be less than 1, got 1.0"),
    "start": ({"in_context_start": 4}, "`class_tokens_start` must be below depth"),
    "sampler": ({"sampling_method": "dpm"}, "evaluation.sampler: must be 'euler' or 'heun', got 'dpm'"),
}


@pytest.mark.parametrize("case", WRONG_ARGS)
def test_settings_that_the_tensors_or_the_rules_contradict_are_refused(case: str, tmp_path: Path) -> None:
    changes, said = WRONG_ARGS[case]
    assert said in refusal(saved(tmp_path / "file.pth", args=argparse.Namespace(**{**ARGS, **changes})))


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.file),)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("where", ["args", "model", "optimizer"])
def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path: Path, zipped: bool, where: str) -> None:
    harm, file = tmp_path / "harm", tmp_path / "file.pth"
    torch.save(content(**{where: Payload(harm)}), file, _use_new_zipfile_serialization=zipped)
    torch.load(file, weights_only=False)
    harm.rmdir()  # so the payload works, where somebody lets it
    said = refusal(file)
    assert ("which needs posix.mkdir to be called" if zipped else "a bare pickle, which is not read") in said


class Allocated:
    """A tensor that is not in its file: torch's unpickler makes one of any size."""

    def __reduce__(self) -> tuple[Any, ...]:
        return torch.FloatTensor, (10_000_000,)


def test_tensors_larger_than_their_file_are_refused(tmp_path: Path) -> None:
    weights = {**OFFICIAL, BIAS: Allocated()}
    assert "bytes, got tensors of 40,7" in refusal(saved(tmp_path / "file.pth", model=weights))


def test_a_bare_pickle_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file.pth"
    file.write_bytes(pickle.dumps(Payload(tmp_path / "harm")))
    assert "a bare pickle, which is not read because it can run code" in refusal(file)


def repacked(source: Path, target: Path, *, compression: int = zipfile.ZIP_STORED, declared: int | None = None) -> Path:
    """The same records in another archive."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
        if declared is not None:
            new.filelist[-1].file_size = declared
    return target


def test_an_archive_that_torch_did_not_write_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    assert "compressed" in refusal(repacked(checkpoint, tmp_path / "a.pth", compression=zipfile.ZIP_DEFLATED))
    assert "bytes claim to hold 1,0" in refusal(repacked(checkpoint, tmp_path / "b.pth", declared=10**12))
    with zipfile.ZipFile(tmp_path / "c.pth", "w") as archive:
        archive.writestr("notes.txt", "no checkpoint")
    assert "a checkpoint must be a file that torch.save wrote" in refusal(tmp_path / "c.pth")


def damaged(raw: bytes) -> Iterator[tuple[bytes, str]]:
    yield b"", "which is empty; copy it again"
    yield raw[: len(raw) // 2], "which ends too early; copy it again"
    yield b"epoch 3: loss 0.2\n" * 20, "which is none; give the file as the official code wrote it"
    yield json.dumps({"model": {}}).encode(), "which is none"


def test_files_that_are_no_archive_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    for number, (raw, said) in enumerate(damaged(checkpoint.read_bytes())):
        file = tmp_path / f"{number}.pth"
        file.write_bytes(raw)
        assert said in refusal(file)


def test_a_folder_and_a_missing_file_are_refused_with_the_file_to_give(checkpoint: Path, tmp_path: Path) -> None:
    assert f"got the folder {tmp_path}; give {checkpoint}" in refusal(tmp_path)
    assert "got none at" in refusal(tmp_path / "none.pth")


@pytest.mark.slow
def test_a_damaged_pickle_never_ends_in_a_traceback(tmp_path: Path) -> None:
    torch.save(content(), tmp_path / "whole.pth")
    with zipfile.ZipFile(tmp_path / "whole.pth") as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        pickled = archive.read(name)
    random = np.random.default_rng(0)
    for number in range(30):
        broken = bytearray(pickled)
        broken[random.integers(len(broken))] = random.integers(256)
        file = tmp_path / f"{number}.pth"
        with zipfile.ZipFile(tmp_path / "whole.pth") as old, zipfile.ZipFile(file, "w") as new:
            for entry in old.infolist():
                new.writestr(entry.filename, bytes(broken) if entry.filename == name else old.read(entry))
        with suppress(UserError):  # anything else fails this test
            import_checkpoint(file, tmp_path / f"out{number}")
        file.unlink()


def test_a_top_level_other_than_a_dict_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "file.pth")
    assert "must be a dict of model, model_ema1, model_ema2 and args, got list" in refusal(tmp_path / "file.pth")


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file can grow beyond 64 KiB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_an_import_that_cannot_be_written_leaves_nothing(checkpoint: Path, full_disk: None) -> None:
    assert "the folder to import to must be one that can be written" in refusal(checkpoint)


def test_an_export_that_cannot_be_written_leaves_nothing(
    checkpoint: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    import_checkpoint(checkpoint, tmp_path / "out")
    request.getfixturevalue("full_disk")
    with pytest.raises(UserError, match="must be a file that can be written"):
        export_checkpoint(tmp_path / "out", tmp_path / "back" / "file.pth")
    assert list((tmp_path / "back").iterdir()) == []


def test_what_is_there_is_never_overwritten(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").touch()
    with pytest.raises(UserError, match="must be new or empty"):
        import_checkpoint(checkpoint, tmp_path / "full")
    with pytest.raises(UserError, match="must be one that can be written"):
        import_checkpoint(checkpoint, checkpoint / "out")
    (tmp_path / "empty").mkdir()
    import_checkpoint(checkpoint, tmp_path / "empty")
    with pytest.raises(UserError, match="must not exist yet"):
        export_checkpoint(tmp_path / "empty", checkpoint)
    with pytest.raises(UserError, match="give .*full/checkpoint-last.pth"):
        export_checkpoint(tmp_path / "empty", tmp_path / "full")


def champion(folder: Path, network: JiT, **evaluation: Any) -> Path:
    """As `jit-sweep export` writes it."""
    folder.mkdir()
    config = ModelFolderConfig(trial=network.trial, evaluation=EvaluationConfig(**evaluation))
    (folder / "config.json").write_text(config.model_dump_json())
    save_file(network.state_dict(), folder / "model.safetensors")
    return folder


def test_a_champion_becomes_a_checkpoint_with_its_averaged_weights_everywhere(tmp_path: Path) -> None:
    network = lively(small_trial(diffusion={"noise_scale": 2.0}))
    exported = export_checkpoint(champion(tmp_path / "faces", network, guidance=1.5), tmp_path / "checkpoint-last.pth")
    assert exported.weights == ("model.safetensors",) * 3
    assert exported.lacking == ()
    other = champion(tmp_path / "others", network, guidance=1.5, guidance_channels=2, shift=2.0, classifier_scale=3.0)
    assert export_checkpoint(other, tmp_path / "others.pth").lacking == ("shift=2.0", "guidance_channels=2")
    written = loaded(tmp_path / "checkpoint-last.pth")
    assert_same_weights(dict.fromkeys(SETS, written["model"]), written)
    assert written["model"].keys() == OFFICIAL.keys()
    assert (written["args"].noise_scale, written["args"].cfg, written["args"].in_context_start) == (2.0, 1.5, 2)
    assert exported.bytes < 2 * 4 * parameter_count(network.trial)  # written once, not three times
    import_checkpoint(tmp_path / "checkpoint-last.pth", tmp_path / "out")
    back = load_network(tmp_path / "out")
    assert back.trial.model == network.trial.model
    assert back.trial.diffusion == network.trial.diffusion
    assert all(torch.equal(back.state_dict()[name], tensor) for name, tensor in network.state_dict().items())


def test_a_network_of_other_components_is_refused_with_the_reason(tmp_path: Path) -> None:
    linear = small_model(embedding=LinearEmbedding(), norm="layer")
    with pytest.raises(UserError, match=r"got norm=layer \(official: rms\), embedding=linear \(official: bottleneck\)"):
        export_checkpoint(champion(tmp_path / "a", lively(small_trial(linear))), tmp_path / "a.pth")
    velocity = lively(small_trial(diffusion={"prediction": "v"}))
    deaf = lively(small_trial(diffusion={"terms": [{"kind": "classifier"}]}))
    with pytest.raises(UserError, match=r"got terms=classifier \(official: none\)"):
        export_checkpoint(champion(tmp_path / "c", deaf), tmp_path / "c.pth")
    with pytest.raises(UserError, match=r"got prediction=v \(official: x\)"):
        export_checkpoint(champion(tmp_path / "b", velocity), tmp_path / "b.pth")


def test_a_damaged_folder_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must hold a config\.json"):
        export_checkpoint(tmp_path, tmp_path / "back.pth")
    for name, said in (
        ("official.json", r"must hold a sound official\.json"),
        ("raw.safetensors", "must be a safetensors file"),
        ("positions.safetensors", "must be a safetensors file"),
    ):
        import_checkpoint(checkpoint, tmp_path / name)
        (tmp_path / name / name).write_bytes(b"{")
        with pytest.raises(UserError, match=said):
            export_checkpoint(tmp_path / name, tmp_path / "back.pth")
    weights = load_file(tmp_path / "official.json" / "model.safetensors") | {"head.bias": torch.ones(3)}
    save_file(weights, tmp_path / "raw.safetensors" / "raw.safetensors")
    with pytest.raises(UserError, match=r"raw\.safetensors: head\.bias must have the shape \[48\], got \[3\]"):
        export_checkpoint(tmp_path / "raw.safetensors", tmp_path / "back.pth")


@pytest.mark.slow
def test_the_commands_import_and_export(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def said(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["jit-sweep", *arguments])
        try:
            code: object = main()
        except SystemExit as ended:  # typer's own, where people read what is printed
            code = ended.code
        assert code == 0
        return capfd.readouterr().out

    [row] = json.loads(said("import-jit", checkpoint.name, "out", "--json"))["rows"]
    assert sorted(row["files"]) == FILES
    assert row["left_out"] == {"optimizer": "not part of a model"}
    said("sample", "out/", "--out", "samples.png", "--n", "2")
    assert (tmp_path / "samples.png").read_bytes().startswith(b"\x89PNG")
    assert "--model tiny --img_size 16 --class_num 5 --noise_scale 1.0" in said("export-jit", "out", "back.pth")
    assert_same_weights(loaded(tmp_path / "back.pth"), weight_sets())


def test_the_command_refuses_in_one_line_with_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"model": Payload(tmp_path / "harm")}, tmp_path / "bad.pth")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["jit-sweep", "import-jit", "bad.pth", "out"])
    assert main() == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: bad.pth: a checkpoint must be a file that torch.save wrote, got bad.pth, which needs")
    assert said.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bad.pth"]
