"""Parameter names of MAR's network, and ours.

Its class table has no null class, whose place a vector of its own takes: here it is the table's last row.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from trainables.config.trial import TrialConfig
from trainables.networks.registry import blank_model

Names = dict[str, tuple[str, ...]]
_ALONE = {
    "label.weight": ("class_emb.weight", "fake_latent"),
    "encoder_positions": ("encoder_pos_embed_learned",),
    "decoder_positions": ("decoder_pos_embed_learned",),
    "head_positions": ("diffusion_pos_embed_learned",),
    "mask": ("mask_token",),
}
_MODULES = {
    "expand": "z_proj",
    "expand_norm": "z_proj_ln",
    "encoder_norm": "encoder_norm",
    "widen": "decoder_embed",
    "decoder_norm": "decoder_norm",
    "head.time.first": "diffloss.net.time_embed.mlp.0",
    "head.time.second": "diffloss.net.time_embed.mlp.2",
    "head.condition": "diffloss.net.cond_embed",
    "head.expand": "diffloss.net.input_proj",
    "head.modulation": "diffloss.net.final_layer.adaLN_modulation.1",
    "head.last": "diffloss.net.final_layer.linear",
}
_BLOCK = {"attention": "attn", "first": "mlp.fc1", "second": "mlp.fc2"}
_HEAD_BLOCK = {"norm": "in_ln", "first": "mlp.0", "second": "mlp.2", "modulation": "adaLN_modulation.1"}


def names(trial: TrialConfig) -> Names:
    """Of each of our parameters the official ones that lie in it, one below the other."""
    return {ours: _ALONE.get(ours) or (_of_module(ours),) for ours, _ in blank_model(trial).named_parameters()}


def to_ours(state_dict: Mapping[str, Tensor], trial: TrialConfig) -> dict[str, Tensor]:
    """MAR's state dict as parameters of the trial's network; every one of both has its place."""
    theirs, own = names(trial), dict(blank_model(trial).named_parameters())
    assert {each for parts in theirs.values() for each in parts} == state_dict.keys()
    rows = {ours: [state_dict[part].reshape(-1, own[ours].shape[-1]) for part in parts] for ours, parts in theirs.items()}
    return {ours: torch.cat(parts).reshape(own[ours].shape) for ours, parts in rows.items()}


def _of_module(ours: str) -> str:
    module, _, kind = ours.rpartition(".")
    match module.split(".", 3):
        case ["encoder" | "decoder" as half, block, part, *rest]:
            return ".".join((f"{half}_blocks.{block}", _BLOCK.get(part, part), *rest, kind))
        case ["head", "blocks", block, part]:
            return f"diffloss.net.res_blocks.{block}.{_HEAD_BLOCK[part]}.{kind}"
    return f"{_MODULES[module]}.{kind}"
