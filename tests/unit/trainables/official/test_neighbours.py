"""Our heads and trunk flags against the numbers of the official networks (tests/golden/README.md)."""

import json
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.paths import GOLDEN
from trainables.config.evaluation import EvaluationConfig
from trainables.config.objective import WeightedTerm
from trainables.config.trial import TrialConfig
from trainables.diffusion.integrators import stage_steps
from trainables.diffusion.loss import loss
from trainables.diffusion.sampler import sample
from trainables.diffusion.tapped import TAPPED, Told
from trainables.networks.cost import parameter_count
from trainables.networks.network import Network
from trainables.networks.registry import blank
from trainables.official.neighbours import sources, to_ours
from trainables.training.step import image_losses

TOLERANCE = 1e-5
PIXNERD_TRUNK: dict[str, Any] = {
    "embedding": {"kind": "linear"},
    "position": "none",
    "class_tokens": 0,
    "bias": False,
    "rope_kind": "alternating",
    "time_period": 10.0,
}


class Golden(NamedTuple):
    """A file's arrays, and a trial of its configuration."""

    family: str
    meta: dict[str, Any]
    arrays: dict[str, Tensor]
    trial: TrialConfig

    @property
    def state_dict(self) -> dict[str, Tensor]:
        return {name.removeprefix("sd/"): tensor for name, tensor in self.arrays.items() if name.startswith("sd/")}


def golden(name: str, family: str, *, under: str = "", **model: Any) -> Golden:
    """A file's configuration with a network that `model` completes; of several sets of arrays the one below `under`."""
    file = np.load(GOLDEN / "neighbours" / f"{name}.npz", allow_pickle=False)
    meta = json.loads(str(file["meta"]))
    config = {**meta.get("base", {}), **meta.get("config", {})}
    names = f"{under}grad_names"
    meta["grad_names"] = [str(each) for each in file[names]]
    arrays = {key.removeprefix(under): torch.from_numpy(file[key]) for key in file.files if file[key].dtype.kind in "fi"}
    sizes = {
        "patch_size": config["patch_size"],
        "width": config.get("hidden_size") or config["num_attention_heads"] * config["attention_head_dim"],
        "heads": config.get("num_groups") or config.get("num_heads") or config["num_attention_heads"],
    }
    data = {
        "digest": "none",
        "image_size": meta.get("image_size") or config["input_size"],
        "channels": config["in_channels"],
        "num_classes": config["num_classes"],
    }
    values = {"model": {**sizes, **model}, "data": data, "diffusion": {"prediction": "v", "loss": "v"}}
    return Golden(family, meta, arrays, TrialConfig.model_validate(values))


HEADS: dict[str, dict[str, Any]] = {
    "pixnerd": {"depth": 2, "head": {"kind": "neural_field", "width": 16, "blocks": 2, "ratio": 2}},
    "ddt": {"depth": 2, "head": {"kind": "decoupled", "blocks": 2}},
    "deco": {"depth": 2, "head": {"kind": "pixel_mlp", "width": 16, "blocks": 2}},
    "pixeldit": {"depth": 2, "head": {"kind": "pixel_transformer", "width": 8, "blocks": 2}},
    "dip": {"depth": 2, "head": {"kind": "patch_unet", "width": 4}},
}
PLAIN: dict[str, Any] = {
    "embedding": {"kind": "linear"},
    "class_tokens": 0,
    "norm": "layer",
    "mlp": "gelu",
    "rope": False,
    "qk_norm": False,
}
LIGHTNING: dict[str, dict[str, Any]] = {
    "plain": PLAIN,
    "final": {**PLAIN, "norm": "rms", "mlp": "swiglu", "rope": True},
    "all": {**PLAIN, "norm": "rms", "mlp": "swiglu", "rope": True, "qk_norm": True, "adaln_shift": False},
}


PIXELFLOW: dict[str, Any] = {
    **PLAIN,
    "position": "none",
    "rope": True,
    "rope_kind": "column_first",
    "qk_norm": True,
    "qk_norm_kind": "joint",
    "mlp_norm": "rms",
    "time_kind": "clock",
    "size_embedding": True,
}


def loaded(case: Golden) -> Network:
    network = blank(case.trial).eval()
    network.load_state_dict(to_ours(case.state_dict, case.trial, family=case.family))
    return network


def relative_error(ours: Tensor, official: Tensor) -> float:
    return float((ours.detach() - official).abs().max() / official.abs().max())


def gradient_norms(case: Golden, network: Network) -> dict[str, float]:
    """Of each official parameter, from the gradients of ours that it lies in."""
    norms: dict[str, float] = {}
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    for ours, parts in sources(case.trial, family=case.family).items():
        gradient = gradients[ours]
        assert gradient is not None
        pieces = gradient.flatten().split([case.state_dict[part].numel() for part in parts])
        norms |= {part: float(piece.norm()) for part, piece in zip(parts, pieces, strict=True)}
    return norms


def has_official_gradients(case: Golden, network: Network) -> bool:
    """Whether every parameter's gradient has the official length, to 1e-5 of it and of the longest."""
    official = dict(zip(case.meta["grad_names"], case.arrays["grad_norms"].tolist(), strict=True))
    official = {name: norm for name, norm in official.items() if name in case.state_dict}
    allowed = TOLERANCE * max(official.values())
    return bool(gradient_norms(case, network) == pytest.approx(official, rel=TOLERANCE, abs=allowed))


@pytest.mark.parametrize("name", HEADS)
def test_a_head_computes_the_official_output(name: str) -> None:
    case = golden(name, name, **PIXNERD_TRUNK, **HEADS[name])
    arrays, network = case.arrays, loaded(case)
    assert parameter_count(case.trial) == case.meta["parameters"] == sum(p.numel() for p in network.parameters())
    assert relative_error(network(arrays["z"], arrays["t"], arrays["y"]), arrays["out"]) < TOLERANCE


@pytest.mark.parametrize("name", [name for name in HEADS if name != "deco"])
def test_a_head_s_loss_and_gradients_are_the_official_ones(name: str) -> None:
    case = golden(name, name, **PIXNERD_TRUNK, **HEADS[name])
    arrays, network = case.arrays, loaded(case)
    loss = (network(arrays["z"], arrays["t"], arrays["y"]) - (arrays["x"] - arrays["noise"])).square().mean()
    loss.backward()
    assert float(loss.detach()) == pytest.approx(float(arrays["loss_v"]), rel=TOLERANCE)
    assert has_official_gradients(case, network)


def taught(case: Golden, **term: Any) -> Golden:
    """The case with the terms of DeCo's trainer: `term` are those beside the squared error and the representation."""
    projector = {name.removeprefix("proj/0."): tensor for name, tensor in case.arrays.items() if name.startswith("proj/")}
    out, hidden = projector["4.weight"].shape
    teacher = {"weights": "none", "sha256": "0" * 64, "width": out}
    align = {"kind": "representation", "weight": 0.5, "block": case.meta["align_layer"], "hidden": hidden, "teacher": teacher}
    terms = [{"kind": kind, "weight": weight} for kind, weight in term.items()]
    diffusion = {**case.trial.diffusion.model_dump(), "prediction": case.meta["prediction"], "terms": [*terms, align]}
    return case._replace(trial=TrialConfig.model_validate({**case.trial.model_dump(), "diffusion": diffusion}))


def projected(case: Golden) -> Network:
    """The network with the file's projector."""
    network, maps = blank(case.trial).eval(), {"first": 0, "second": 2, "third": 4}
    weights = to_ours(case.state_dict, case.trial, family=case.family)
    own = {
        f"auxiliary.representation.{ours}.{kind}": case.arrays[f"proj/0.{theirs}.{kind}"]
        for ours, theirs in maps.items()
        for kind in ("weight", "bias")
    }
    network.load_state_dict({**weights, **own})
    return network


DECO: list[Golden] = [
    taught(golden("deco", "deco", **PIXNERD_TRUNK, **HEADS["deco"]), frequency=1.0),
    taught(golden("deco_baseline_jit", "deco-baseline", depth=2, final_norm="layer", **PIXNERD_TRUNK)),
]


@pytest.mark.parametrize("case", DECO, ids=lambda case: case.family)
def test_deco_s_terms_and_gradients_are_the_official_trainer_s(case: Golden) -> None:
    arrays, network = case.arrays, projected(case)
    tapped = network.tapped(arrays["z"], arrays["t"], arrays["y"]).tokens["representation"]
    assert relative_error(tapped, arrays["aligned"]) < TOLERANCE
    told = Told(network.auxiliary["representation"](tapped), arrays["features"])
    assert float(TAPPED["representation"](told).mean().detach()) == pytest.approx(float(arrays["term_cos_loss"]), rel=TOLERANCE)
    truths, clamp = {"representation": arrays["features"]}, case.trial.diffusion.t_eps_train
    x, noise, t, y = (arrays[name] for name in ("x", "noise", "t", "y"))
    total = image_losses(network, x, noise, t, y, clamp, None, truths).mean()
    total.backward()
    assert float(total.detach()) == pytest.approx(float(arrays["term_loss"]), rel=TOLERANCE)
    assert has_official_gradients(case, network)


@pytest.mark.parametrize("variant", LIGHTNING)
def test_a_lightning_dit_computes_the_official_output_and_loss(variant: str) -> None:
    case = golden("lightningdit", "lightningdit", under=f"{variant}/", depth=2, **LIGHTNING[variant])
    arrays, network = case.arrays, loaded(case)
    assert parameter_count(case.trial) == case.meta[f"parameters_{variant}"]
    output = network(arrays["z"], arrays["t"], arrays["y"])
    assert relative_error(output, arrays["out"]) < TOLERANCE
    v = arrays["x"] - arrays["noise"]
    squared = (output - v).square().flatten(1).mean(1)
    assert squared.tolist() == pytest.approx(arrays["mse"].tolist(), rel=TOLERANCE)
    diffusion = case.trial.diffusion.model_copy(update={"terms": (WeightedTerm(kind="cosine"),)})
    total = loss(output, arrays["x"], arrays["noise"], arrays["z"], arrays["t"], diffusion).mean()
    total.backward()
    assert float(total.detach()) == pytest.approx(float(arrays["loss"]), rel=TOLERANCE)
    assert has_official_gradients(case, network)


def test_a_lightning_dit_samples_as_the_official_sampler_guided_on_its_first_channels_alone() -> None:
    case = golden("lightningdit", "lightningdit", under="all/", depth=2, **LIGHTNING["all"])
    official, start = case.meta["sample"], np.load(GOLDEN / "neighbours" / "lightningdit.npz")["noise"][:2]
    evaluation = EvaluationConfig(
        sampler="euler",
        steps=official["num_sampling_steps"] - 1,
        shift=1 / official["timestep_shift"],
        guidance=official["cfg_scale"],
        guidance_channels=3,
        interval=(official["cfg_interval_start"], 1.0),
    )
    drawn = sample(
        loaded(case),
        torch.from_numpy(start),
        case.arrays["sample_y"],
        diffusion=case.trial.diffusion,
        evaluation=evaluation,
        num_classes=case.trial.data.num_classes,
    )
    grid = [at for _, at, _ in stage_steps(evaluation, case.trial.diffusion.path)[0]]
    assert [*grid, 1.0] == pytest.approx(case.arrays["sample_grid"].tolist(), abs=1e-6)
    assert relative_error(drawn, case.arrays["sample"]) < TOLERANCE


def test_deco_s_baseline_is_its_trunk_with_a_linear_head_behind_a_layer_norm() -> None:
    case = golden("deco_baseline_jit", "deco-baseline", depth=2, final_norm="layer", **PIXNERD_TRUNK)
    arrays, network = case.arrays, loaded(case)
    assert relative_error(network(arrays["z"], arrays["t"], arrays["y"]), arrays["out"]) < TOLERANCE


def test_a_dit_computes_the_official_noise_of_a_network_that_also_tells_a_variance() -> None:
    case = golden("dit", "lightningdit", depth=3, **PLAIN)
    arrays, channels = dict(case.arrays), case.trial.data.channels
    for kind in ("weight", "bias"):
        both = arrays[f"sd/final_layer.linear.{kind}"].unflatten(0, (-1, 2 * channels))
        arrays[f"sd/final_layer.linear.{kind}"] = both[:, :channels].flatten(0, 1)
    output = loaded(case._replace(arrays=arrays))(arrays["z"], arrays["step"].float(), arrays["y"])
    assert relative_error(output, arrays["out"][:, :channels]) < TOLERANCE


def test_a_state_dict_of_another_network_is_refused_by_name() -> None:
    case = golden("pixnerd", "pixnerd", **PIXNERD_TRUNK, **HEADS["pixnerd"])
    with pytest.raises(ValueError, match="a difference in blocks"):
        to_ours({k: v for k, v in case.state_dict.items() if "blocks.1.attn" not in k}, case.trial, family="pixnerd")
    wrapped = {f"module._orig_mod.{name}": tensor for name, tensor in case.state_dict.items()}
    assert to_ours(wrapped, case.trial, family="pixnerd").keys() == dict(loaded(case).named_parameters()).keys()


def test_pixelflow_s_network_and_its_gradients_are_the_official_ones() -> None:
    case = golden("pixelflow_net", "pixelflow", depth=2, **PIXELFLOW)
    arrays, network = case.arrays, loaded(case)
    assert parameter_count(case.trial) == case.meta["parameters"] == sum(p.numel() for p in network.parameters())
    output = network(arrays["z"], arrays["timestep"] / 1000, arrays["y"])
    assert relative_error(output, arrays["out"]) < TOLERANCE
    loss = (output - arrays["target"]).square().mean()
    loss.backward()
    assert float(loss.detach()) == pytest.approx(float(arrays["loss"]), rel=TOLERANCE)
    assert has_official_gradients(case, network)
