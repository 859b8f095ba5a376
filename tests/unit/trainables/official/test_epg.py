"""Our encoder and decoder against the numbers of EPG's formulas, typed anew and not run (tests/golden/README.md)."""

import json
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.paths import GOLDEN
from trainables.config.trial import TrialConfig
from trainables.networks.cost import parameter_count
from trainables.networks.encoder_decoder import EncoderDecoder
from trainables.networks.registry import blank

TOLERANCE = 1e-5
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
    model = {
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
    sizes = {"image_size": config["image_size"], "channels": config["in_channels"], "num_classes": config["num_classes"]}
    return TrialConfig.model_validate({"model": model, "data": {"digest": "none", **sizes}, "attention": "fp32"})


def theirs(name: str) -> str:
    """The official name of a parameter of ours."""
    if name in LEARNED:
        return LEARNED[name]
    module, _, kind = name.rpartition(".")
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
