"""Our U-ViT against the numbers of lucidrains' reimplementation (tests/golden/README.md)."""

import json
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.paths import GOLDEN
from trainables.config.trial import TrialConfig
from trainables.networks.cost import parameter_count
from trainables.networks.registry import blank
from trainables.networks.uvit import Uvit

TOLERANCE = 1e-5
ENDS = {
    "first": "init_conv",
    "time.into": "time_mlp.1",
    "time.out": "time_mlp.3",
    "last": "final_conv",
    "to_patch": "final_conv",
}
BLOCK = {
    "conv1": "block1.proj",
    "norm1": "block1.norm",
    "condition": "mlp.1",
    "conv2": "block2.proj",
    "norm2": "block2.norm",
    "shortcut": "res_conv",
}
ATTENTION = {"norm": "norm", "qkv": "to_qkv", "proj": "to_out.0", "out_norm": "to_out.1"}
BOTTOM = {
    "norm": "0.norm.g",
    "qkv.weight": "0.to_qkv.weight",
    "proj.weight": "0.to_out.weight",
    "q_scale": "0.q_scale",
    "k_scale": "0.k_scale",
    "first.weight": "1.proj_in.0.weight",
    "second.weight": "1.proj_out.1.weight",
    "condition.weight": "1.to_scale_shift.1.weight",
    "condition.bias": "1.to_scale_shift.1.bias",
}


class Golden(NamedTuple):
    """A file's arrays, and a trial of its configuration."""

    meta: dict[str, Any]
    arrays: dict[str, Tensor]
    gradients: dict[str, float]
    trial: TrialConfig


def golden(name: str = "uvit_lucidrains") -> Golden:
    file = np.load(GOLDEN / "neighbours" / f"{name}.npz", allow_pickle=False)
    meta = json.loads(str(file["meta"]))
    arrays = {key: torch.from_numpy(file[key]) for key in file.files if file[key].dtype.kind in "fi"}
    gradients = dict(zip(map(str, file["grad_names"]), file["grad_norms"].tolist(), strict=True))
    return Golden(meta, arrays, gradients, trial_of(meta["config"], size=arrays["z"].shape[-1]))


def trial_of(config: dict[str, Any], *, size: int) -> TrialConfig:
    """The reimplementation's flags as ours."""
    trunk = {
        "kind": "uvit",
        "width": config["dim"],
        "multipliers": config["dim_mults"],
        "depth": config["vit_depth"],
        "heads": config["attn_heads"],
        "head_channels": config["attn_dim_head"],
        "mlp_ratio": config["ff_mult"],
        "time_features": config["learned_sinusoidal_dim"],
        "patch": config.get("patch_size", 1),
    }
    beside = {"patch_size": 4, "width": 48, "depth": 4, "heads": 4, "class_tokens": 0}
    data = {"digest": "none", "image_size": size, "num_classes": 1}
    return TrialConfig.model_validate({"model": {**beside, "trunk": trunk}, "data": data, "attention": "fp32"})


def names(trial: TrialConfig, network: Uvit) -> dict[str, str]:
    """The official name of each parameter but the class's, which there is none of."""
    levels = len(network.down)
    modules = {**ENDS, **({} if trial.model.patch == 1 else {"last": "unpatchify"})}
    for level in range(levels):
        down, up = f"downs.{level}", f"ups.{levels - 1 - level}"
        for which in range(2):
            modules |= {f"down_blocks.{2 * level + which}.{ours}": f"{down}.{which}.{theirs}" for ours, theirs in BLOCK.items()}
            modules |= {f"up_blocks.{2 * level + which}.{ours}": f"{up}.{which + 1}.{theirs}" for ours, theirs in BLOCK.items()}
        modules |= {f"down_attention.{level}.{ours}": f"{down}.2.{theirs}" for ours, theirs in ATTENTION.items()}
        modules |= {f"up_attention.{level}.{ours}": f"{up}.3.{theirs}" for ours, theirs in ATTENTION.items()}
        modules |= {f"down.{level}.map": f"{down}.3.1", f"up.{level}.map": f"{up}.0.net.0"}
    modules |= {f"final.{ours}": f"final_res_block.{theirs}" for ours, theirs in BLOCK.items()}
    exact = {"time.waves": "time_mlp.0.weights"}
    for i in range(len(network.bottom)):
        exact |= {f"bottom.{i}.{ours}": f"vit.layers.{i}.{theirs}" for ours, theirs in BOTTOM.items()}
    found: dict[str, str] = {}
    for name in dict(network.named_parameters()):
        if name == "label.weight":
            continue
        module, _, kind = name.rpartition(".")
        ending = "g" if "norm" in module.rpartition(".")[2] else kind
        found[name] = exact[name] if name in exact else f"{modules[module]}.{ending}"
    return found


def loaded(case: Golden) -> Uvit:
    network = blank(case.trial).eval()
    assert isinstance(network, Uvit)
    official, own = names(case.trial, network), dict(network.named_parameters())
    weights = {name: case.arrays[f"sd/{theirs}"].reshape(own[name].shape) for name, theirs in official.items()}
    assert len(weights) == sum(key.startswith("sd/") for key in case.arrays)
    network.load_state_dict({**weights, "label.weight": torch.zeros_like(own["label.weight"])})
    return network


def test_a_uvit_computes_the_reimplementation_s_output_loss_and_gradients() -> None:
    case = golden()
    network, arrays = loaded(case), case.arrays
    output = network(arrays["z"], arrays["logsnr"], torch.zeros(len(arrays["z"]), dtype=torch.int64))
    error = (output.detach() - arrays["out"]).abs().max() / arrays["out"].abs().max()
    assert float(error) < TOLERANCE
    loss = (output - arrays["target"]).square().mean()
    loss.backward()
    assert float(loss.detach()) == pytest.approx(float(arrays["loss"]), rel=TOLERANCE)
    own = dict(network.named_parameters())
    ours = {
        theirs: float(grad.norm())
        for name, theirs in names(case.trial, network).items()
        if (grad := own[name].grad) is not None
    }
    allowed = TOLERANCE * max(case.gradients.values())
    assert ours == pytest.approx(case.gradients, rel=TOLERANCE, abs=allowed)


def test_it_has_the_reimplementation_s_parameters_and_a_class_s() -> None:
    case = golden()
    assert parameter_count(case.trial) == case.meta["parameters"] + 2 * 4 * case.meta["config"]["dim"]
