"""Our encoder and decoder against the numbers of EPG's formulas, typed anew and not run (tests/golden/README.md)."""

import json
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.paths import GOLDEN
from trainables.config.average import TARGET
from trainables.config.trial import TrialConfig
from trainables.diffusion.karras_grid import SMALLEST, sigma_at
from trainables.diffusion.noise_levels import at_level
from trainables.methods.encoder_pretraining import ShownAtLevels, contrasts
from trainables.networks.cost import parameter_count
from trainables.networks.encoder_decoder import EncoderDecoder
from trainables.networks.encoder_pretrainer import EncoderPretrainer
from trainables.networks.registry import blank

TOLERANCE = 1e-5
EPG_SIDE = 64
"""Side of the images whose noise EPG scales by 1."""
ENDS = {
    "encoder.embedding.expand": "patch_embed.proj",
    "encoder.norm": "norm",
    "label": "class_embed",
    "to_decoder": "encoder_to_decoder",
    "final_norm": "out_norm",
    "head": "out",
}
LEARNED = {"encoder.class_token": "cls_token", "encoder.positions": "pos_embed"}
BLOCK = {
    "norm1": "norm1",
    "attention.qkv": "attn.qkv",
    "attention.proj": "attn.proj",
    "norm2": "norm2",
    "mlp.first": "mlp.fc1",
    "mlp.second": "mlp.fc2",
}
PROJECTOR = {"first": 0, "norm1": 1, "second": 3, "norm2": 4, "third": 6}
DECODER = {**BLOCK, "merge": "skip_linear", "merge_norm": "skip_norm", "modulation": "adaLN_modulation.1"}


class Golden(NamedTuple):
    """A file's arrays, and a trial of its configuration."""

    meta: dict[str, Any]
    arrays: dict[str, Tensor]
    gradients: dict[str, float]
    trial: TrialConfig


def golden() -> Golden:
    file = np.load(GOLDEN / "neighbours" / "epg.npz", allow_pickle=False)
    meta = json.loads(str(file["meta"]))
    arrays = {key: torch.from_numpy(file[key]) for key in file.files if file[key].dtype.kind in "fi"}
    gradients = dict(zip(map(str, file["grad_names"]), file["grad_norms"].tolist(), strict=True))
    return Golden(meta, arrays, gradients, trial_of(meta["config"]))


def trial_of(config: dict[str, Any]) -> TrialConfig:
    """EPG's flags as ours."""
    trunk = {
        "kind": "encoder_decoder",
        "decoder_width": config["decoder_embed_dim"],
        "decoder_depth": config["decoder_depth"],
        "decoder_heads": config["decoder_num_heads"],
    }
    sizes = {"image_size": config["image_size"], "channels": config["in_channels"], "num_classes": config["num_classes"]}
    model = model_of(config, trunk)
    return TrialConfig.model_validate({"model": model, "data": {"digest": "none", **sizes}, "attention": "fp32"})


def pretraining_of(case: Golden) -> TrialConfig:
    """The same of its first stage; the images of the file are one group."""
    config, told = case.meta["pretrain_config"], case.meta["pretrain"]
    group, side = len(case.arrays["pre_x"]), config["image_size"]
    trunk = {
        "kind": "encoder_pretrainer",
        "projector_width": config["hidden_dim"],
        "projected_width": config["output_dim"],
    }
    method = {
        "kind": "encoder_pretraining",
        "temperature": told["tau_contrastive"],
        "level_temperature": told["tau_consistency"],
        "group": group,
    }
    data = {"digest": "none", "image_size": side, "channels": config["in_channels"], "num_classes": 1}
    plain = {"batch_size": group, "diffusion": {"noise_scale": side / EPG_SIDE}, "attention": "fp32", "data": data}
    return TrialConfig.model_validate({"model": model_of(config, trunk), "method": method, **plain})


def model_of(config: dict[str, Any], trunk: dict[str, Any]) -> dict[str, Any]:
    """The encoder's sizes around a trunk."""
    return {
        "patch_size": config["patch_size"],
        "width": config["embed_dim"],
        "depth": config["depth"],
        "heads": config["num_heads"],
        "mlp_ratio": float(config.get("mlp_ratio", 4.0)),
        "position": "none",
        "rope": False,
        "class_tokens": 0,
        "trunk": trunk,
    }


def theirs(name: str) -> str:
    """The official name of a parameter of ours."""
    if name in LEARNED:
        return LEARNED[name]
    module, _, kind = name.rpartition(".")
    if module.startswith("projector."):
        return f"projection_head.{PROJECTOR[module.removeprefix('projector.')]}.{kind}"
    if module in ENDS:
        return f"{ENDS[module]}.{kind}"
    within = module.removeprefix("encoder.")
    _, block, part = within.split(".", 2)
    stem, parts = ("blocks", BLOCK) if within != module else ("decoder_blocks", DECODER)
    return f"{stem}.{block}.{parts[part]}.{kind}"


def loaded(case: Golden) -> EncoderDecoder:
    network = blank(case.trial).eval()
    assert isinstance(network, EncoderDecoder)
    own = dict(network.named_parameters())
    weights = {name: case.arrays[f"sd/{theirs(name)}"].reshape(parameter.shape) for name, parameter in own.items()}
    assert len(weights) == sum(key.startswith("sd/") for key in case.arrays)
    network.load_state_dict(weights)
    return network


def test_the_network_computes_epg_s_image_weighted_loss_and_gradients() -> None:
    case = golden()
    network, arrays = loaded(case), case.arrays
    output = network(arrays["net_input"], arrays["time_input"], arrays["y"])
    assert float((output.detach() - arrays["out"]).abs().max() / arrays["out"].abs().max()) < TOLERANCE
    loss = (arrays["weight"] * (output - arrays["x"]).square().flatten(1).mean(1)).mean()
    loss.backward()
    assert float(loss.detach()) == pytest.approx(float(arrays["loss"]), rel=TOLERANCE)
    ours = {theirs(name): float(p.grad.norm()) for name, p in network.named_parameters() if p.grad is not None}
    assert ours == pytest.approx(case.gradients, rel=TOLERANCE, abs=TOLERANCE * max(case.gradients.values()))


def test_it_has_epg_s_parameters() -> None:
    case = golden()
    assert parameter_count(case.trial) == case.meta["parameters"]


def test_both_contrasts_of_epg_s_first_stage_are_its_own_image_by_image() -> None:
    case = golden()
    arrays, trial = case.arrays, pretraining_of(case)
    network = blank(trial)
    assert isinstance(network, EncoderPretrainer)
    names = [name for name, _ in network.named_parameters()]
    assert len(names) == sum(key.startswith("pre/sd/") for key in arrays)
    weights, target = (
        {name: arrays[f"{of}/sd/{theirs(name)}"].reshape(p.shape) for name, p in network.named_parameters()}
        for of in ("pre", "target")
    )
    network.load_state_dict(weights)
    network.averages = {TARGET: target}
    levels, index, scale = case.meta["pretrain"]["levels"], case.meta["pretrain"]["index"], trial.noise_scale
    pair = torch.tensor([[sigma_at(index + place, steps=levels - 1)] * len(arrays["pre_x"]) for place in (0, 1)])
    torch.testing.assert_close(scale * pair[0], arrays["pre_sigma"], rtol=TOLERANCE, atol=0)
    torch.testing.assert_close(scale * pair[1], arrays["pre_sigma_next"], rtol=TOLERANCE, atol=0)
    torch.testing.assert_close(scale * torch.full_like(pair[0], SMALLEST), arrays["pre_sigma_min"], rtol=TOLERANCE, atol=0)
    x, e = arrays["pre_x"], scale * arrays["pre_noise"]
    one, other = (at_level(arrays[f"pre_view{n}"], e, torch.full_like(pair[0], SMALLEST), scale) for n in (1, 2))
    given = ShownAtLevels((one, other), at_level(x, e, pair[0], scale), at_level(x, e, pair[1], scale))
    with torch.no_grad():
        found = contrasts(network, given)
    for ours, key in ((found.views, "pre_contrastive"), (found.levels, "pre_consistency")):
        assert float((ours - arrays[key]).abs().max() / arrays[key].abs().max()) < TOLERANCE
