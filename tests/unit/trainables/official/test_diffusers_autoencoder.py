"""Autoencoders of diffusers, read without diffusers, make the codes and images that diffusers makes of them."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.trials import small_model, small_trial
from trainables.config.autoencoder import AutoencoderTrunk
from trainables.config.trial import DataConfig, TrialConfig
from trainables.networks.autoencoder import Autoencoder
from trainables.networks.registry import blank_model
from trainables.official.diffusers_autoencoder import is_of_diffusers, renamed

SIZES: dict[str, Any] = {"block_out_channels": (32, 64), "layers_per_block": 1, "latent_channels": 4, "norm_num_groups": 32}
TRUNK: dict[str, Any] = {"kind": "autoencoder", "width": 32, "multipliers": (1, 2)}
CODES: dict[str, dict[str, Any]] = {"kl": {}, "vq": {"code": {"kind": "vq", "entries": 16}}}


def coding(**trunk: Any) -> TrialConfig:
    data = DataConfig(digest="none", image_size=16, num_classes=1)
    return small_trial(small_model(class_tokens=0, trunk={**TRUNK, **trunk}), method={"kind": "autoencoder"}, data=data)


def network_of(trial: TrialConfig, weights: dict[str, Tensor]) -> Autoencoder:
    network, trunk = blank_model(trial).eval(), trial.model.trunk
    assert isinstance(network, Autoencoder)
    assert isinstance(trunk, AutoencoderTrunk)
    network.load_state_dict(renamed(weights, trunk, side=16))
    return network


def as_diffusers_names(network: Autoencoder) -> dict[str, Tensor]:
    """Our weights under diffusers' names: by hand, for the one size of this file."""
    ours, names = (
        network.state_dict(),
        {"to_code": "quant_conv", "from_code": "post_quant_conv", "entries": "quantize.embedding"},
    )
    block = {"norm1": "norm1", "conv1": "conv1", "norm2": "norm2", "conv2": "conv2", "shortcut": "conv_shortcut"}
    places = {
        "encoder": ["down_blocks.0.resnets.0", "down_blocks.0.downsamplers.0", "down_blocks.1.resnets.0"],
        "decoder": [f"up_blocks.0.resnets.{at}" for at in (0, 1)]
        + ["up_blocks.0.upsamplers.0"]
        + [f"up_blocks.1.resnets.{at}" for at in (0, 1)],
    }
    middle = ["mid_block.resnets.0", "mid_block.attentions.0", "mid_block.resnets.1"]
    found: dict[str, Tensor] = {}
    for name, tensor in ours.items():
        half, *rest = name.split(".")
        if half in names:
            found[".".join((names[half], *rest))] = tensor
            continue
        if rest[0] != "steps":
            end = {"first": "conv_in", "norm": "conv_norm_out", "last": "conv_out"}[rest[0]]
            found[f"{half}.{end}.{rest[1]}"] = tensor
            continue
        place = (
            [*places["encoder"], *middle][int(rest[1])] if half == "encoder" else [*middle, *places["decoder"]][int(rest[1])]
        )
        part, suffix = rest[2:]
        if part == "qkv":
            for each, piece in zip(("to_q", "to_k", "to_v"), tensor.chunk(3), strict=True):
                found[f"{half}.{place}.{each}.{suffix}"] = piece
        else:
            other = {"proj": "to_out.0", "norm": "group_norm", "conv": "conv"}.get(part) or block[part]
            found[f"{half}.{place}.{other}.{suffix}"] = tensor
    return found


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_each_weight_comes_back_under_its_own_name(code: dict[str, Any]) -> None:
    trial = coding(**code)
    network, trunk = blank_model(trial), trial.model.trunk
    assert isinstance(network, Autoencoder)
    assert isinstance(trunk, AutoencoderTrunk)
    theirs = as_diffusers_names(network)
    assert is_of_diffusers(theirs)
    assert not is_of_diffusers(network.state_dict())
    back = renamed(theirs, trunk, side=16)
    assert back.keys() == network.state_dict().keys()
    assert all(tensor.equal(back[name]) for name, tensor in network.state_dict().items())


def test_attention_of_older_files_has_other_names() -> None:
    trial = coding()
    network, trunk = blank_model(trial), trial.model.trunk
    assert isinstance(network, Autoencoder)
    assert isinstance(trunk, AutoencoderTrunk)
    older = {"to_q": "query", "to_k": "key", "to_v": "value"}
    theirs = {}
    for name, tensor in as_diffusers_names(network).items():
        *above, part, suffix = name.split(".")
        then = ".".join((*above, older.get(part, part), suffix)).replace("to_out.0", "proj_attn")
        theirs[then] = tensor[..., None, None] if part in older and tensor.ndim == 2 else tensor
    back = renamed(theirs, trunk, side=16)
    assert all(tensor.equal(back[name]) for name, tensor in network.state_dict().items())


@pytest.mark.slow
def test_codes_and_images_are_those_of_diffusers() -> None:
    diffusers = pytest.importorskip("diffusers")
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.manual_seed(0)
    gaussian = diffusers.AutoencoderKL(**SIZES, **blocks).eval()
    network = network_of(coding(), gaussian.state_dict())
    with torch.no_grad():
        mean = gaussian.encode(x).latent_dist.mean
        torch.testing.assert_close(network.encoded(x), mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(network.decoded(mean), gaussian.decode(mean).sample, rtol=1e-4, atol=1e-5)
    quantised = diffusers.VQModel(**SIZES, **blocks, num_vq_embeddings=16, vq_embed_dim=4).eval()
    network = network_of(coding(**CODES["vq"]), quantised.state_dict())
    with torch.no_grad():
        code = quantised.encode(x).latents
        torch.testing.assert_close(network.encoded(x), code, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(network.decoded(code), quantised.decode(code).sample, rtol=1e-4, atol=1e-5)
