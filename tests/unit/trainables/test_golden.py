"""Our network, loss and sampler against the numbers of the official JiT code (tests/golden/README.md)."""

import json

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.paths import GOLDEN
from trainables.config.diffusion import DiffusionConfig
from trainables.config.evaluation import EvaluationConfig
from trainables.config.network import BottleneckEmbedding, ModelConfig
from trainables.config.trial import DataConfig, TrialConfig
from trainables.diffusion.loss import loss
from trainables.diffusion.maths import noisy
from trainables.diffusion.sampler import sample
from trainables.networks.jit import JiT
from trainables.networks.registry import blank
from trainables.official.names import to_official, to_ours

FILE = np.load(GOLDEN / "jit_official_tiny.npz")
META = json.loads(str(FILE["meta"]))
ARRAYS = {name: torch.from_numpy(FILE[name]) for name in FILE.files if name != "meta"}
OFFICIAL = {name.removeprefix("sd/"): tensor for name, tensor in ARRAYS.items() if name.startswith("sd/")}
TOLERANCE = 1e-5


def golden_trial(attention: str) -> TrialConfig:
    model = ModelConfig(
        patch_size=META["patch_size"],
        width=META["hidden_size"],
        depth=META["depth"],
        heads=META["num_heads"],
        embedding=BottleneckEmbedding(dim=META["bottleneck_dim"]),
        class_tokens=META["in_context_len"],
        class_tokens_start=META["in_context_start"],
    )
    data = DataConfig(digest="none", image_size=META["img_size"], num_classes=META["num_classes"])
    diffusion = DiffusionConfig(noise_scale=META["noise_scale"], t_eps_train=META["t_eps"])
    values = {"data": data, "model": model, "diffusion": diffusion, "attention": attention, "precision": "fp32"}
    return TrialConfig.model_validate(values)


@pytest.fixture(params=["sdpa", "fp32"])
def network(request: pytest.FixtureRequest) -> JiT:
    network = blank(golden_trial(request.param)).eval()
    assert isinstance(network, JiT)
    network.load_state_dict(to_ours(OFFICIAL))
    return network


def relative_error(ours: Tensor, official: Tensor) -> float:
    return float((ours - official).abs().max() / official.abs().max())


@torch.no_grad()
def test_the_network_computes_the_official_output_with_a_class_and_without(network: JiT) -> None:
    z = noisy(ARRAYS["x"], META["noise_scale"] * ARRAYS["noise"], ARRAYS["t"])
    assert relative_error(z, ARRAYS["net_z"]) < TOLERANCE
    null = torch.full_like(ARRAYS["y"], META["num_classes"])
    assert relative_error(network(z, ARRAYS["t"], ARRAYS["y"]), ARRAYS["net_out"]) < TOLERANCE
    assert relative_error(network(z, ARRAYS["t"], null), ARRAYS["net_out_null"]) < TOLERANCE


@torch.no_grad()
def test_the_loss_is_the_official_one(network: JiT) -> None:
    x, e, t = ARRAYS["x"], META["noise_scale"] * ARRAYS["noise"], ARRAYS["t"]
    z = noisy(x, e, t)
    ours = loss(network(z, t, ARRAYS["y"]), x, e, z, t, network.trial.diffusion).mean()
    assert relative_error(ours, ARRAYS["loss"]) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["heun", "euler"])
def test_the_sampler_ends_at_the_official_images(network: JiT, sampler: str) -> None:
    settings = {"sampler": sampler, "steps": META["steps"], "guidance": META["cfg"], "t_eps_sample": META["t_eps"]}
    interval = (META["interval_min"], META["interval_max"])
    samples = sample(
        network,
        META["noise_scale"] * ARRAYS["z0"],
        ARRAYS["y"],
        diffusion=network.trial.diffusion,
        evaluation=EvaluationConfig.model_validate({**settings, "interval": interval}),
        num_classes=META["num_classes"],
    )
    assert relative_error(samples, ARRAYS[f"sample_{sampler}"]) < TOLERANCE


def test_official_names_go_to_ours_and_back_bit_for_bit() -> None:
    ours = to_ours(OFFICIAL)
    back = to_official(ours, position=OFFICIAL["net.pos_embed"], patch_size=META["patch_size"])
    assert back.keys() == OFFICIAL.keys()
    assert all(torch.equal(back[name], OFFICIAL[name]) for name in OFFICIAL)


def test_the_prefix_is_optional_and_the_fixed_table_is_the_official_one(network: JiT) -> None:
    bare = to_ours({name.removeprefix("net."): tensor for name, tensor in OFFICIAL.items()})
    assert all(torch.equal(bare[name], tensor) for name, tensor in to_ours(OFFICIAL).items())
    assert network.position is not None
    assert torch.equal(network.position, OFFICIAL["net.pos_embed"][0])


def test_a_missing_an_unknown_and_a_foreign_table_are_refused_by_name() -> None:
    without = {name: tensor for name, tensor in OFFICIAL.items() if "blocks.1.attn.qkv.bias" not in name}
    with pytest.raises(ValueError, match=r"missing \['blocks\.1\.attn\.qkv\.bias'\]"):
        to_ours(without)
    with pytest.raises(ValueError, match=r"unknown \['stranger'\]"):
        to_ours({**OFFICIAL, "net.stranger": torch.zeros(1)})
    with pytest.raises(ValueError, match="`pos_embed` must be the fixed"):
        to_ours({**OFFICIAL, "net.pos_embed": OFFICIAL["net.pos_embed"] + 0.01})


def test_a_network_of_other_components_has_no_official_form(network: JiT) -> None:
    ours = {name: tensor for name, tensor in to_ours(OFFICIAL).items() if "q_norm" not in name}
    with pytest.raises(ValueError, match="missing"):
        to_official(ours, position=OFFICIAL["net.pos_embed"], patch_size=META["patch_size"])
