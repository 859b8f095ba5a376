"""The official JiT checkpoints' parameter names and ours, both ways, bit for bit.

The official network keeps one adaLN projection a block and one in the final layer; ours stacks them in that order into one. Its
patch convolutions are linear maps, kept here as matrices. Its sine-cosine table is a frozen parameter; ours is recomputed.
"""

import re
from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor

from trainables.networks.positions import sincos_table

TABLE_TOLERANCE = 2e-3
"""Largest difference of a file's sine-cosine table from ours.

An averaged copy has rounding errors: an update that keeps b of it rounds twice by up to 2^-24 and pulls it back by (1 - b) of
its distance, so that it stays within 2^-23 / (1 - b), 1.2e-3 at b = 0.9999.
"""

_NAMES = {
    "in_context_posemb": "class_positions",
    "t_embedder.mlp.0.weight": "time.first.weight",
    "t_embedder.mlp.0.bias": "time.first.bias",
    "t_embedder.mlp.2.weight": "time.second.weight",
    "t_embedder.mlp.2.bias": "time.second.bias",
    "y_embedder.embedding_table.weight": "label.weight",
    "x_embedder.proj1.weight": "embedding.reduce.weight",
    "x_embedder.proj2.weight": "embedding.expand.weight",
    "x_embedder.proj2.bias": "embedding.expand.bias",
    "final_layer.norm_final.weight": "final_norm.weight",
    "final_layer.linear.weight": "head.weight",
    "final_layer.linear.bias": "head.bias",
}
_BLOCK_NAMES = {
    "norm1.weight": "norm1.weight",
    "attn.q_norm.weight": "attention.q_norm.weight",
    "attn.k_norm.weight": "attention.k_norm.weight",
    "attn.qkv.weight": "attention.qkv.weight",
    "attn.qkv.bias": "attention.qkv.bias",
    "attn.proj.weight": "attention.proj.weight",
    "attn.proj.bias": "attention.proj.bias",
    "norm2.weight": "norm2.weight",
    "mlp.w12.weight": "mlp.w12.weight",
    "mlp.w12.bias": "mlp.w12.bias",
    "mlp.w3.weight": "mlp.w3.weight",
    "mlp.w3.bias": "mlp.w3.bias",
}


def to_ours(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Official parameters, with or without the prefix `net.`, under our names and in our shapes.

    ValueError: parameters are missing or unknown, which it names, or the position table is not the fixed one.
    """
    given = {name.removeprefix("net."): tensor for name, tensor in state_dict.items()}
    check_official_names(given)
    depth = depth_of(given)
    names = _names(depth, class_tokens="in_context_posemb" in given)
    check_table(given["pos_embed"])
    ours = {our: _flattened(official, given[official]) for official, our in names.items()}
    for part in ("weight", "bias"):
        ours[f"modulation.{part}"] = torch.cat([given[name] for name in _modulations(depth, part)])
    return ours


def to_official(state_dict: Mapping[str, Tensor], *, position: Tensor, patch_size: int) -> dict[str, Tensor]:
    """Our parameters under the official names with the prefix `net.`; position is the [N, D] table, as `JiT.position` holds it.

    ValueError: parameters are missing or unknown, which it names: the network's components are not the official ones.
    """
    depth = depth_of(state_dict)
    names = _names(depth, class_tokens="class_positions" in state_dict)
    _check_names(state_dict, expected=[*names.values(), "modulation.weight", "modulation.bias"])
    official = {name: _unflattened(name, state_dict[our], patch_size) for name, our in names.items()}
    for part in ("weight", "bias"):
        official |= _unstacked(state_dict[f"modulation.{part}"], _modulations(depth, part))
    official["pos_embed"] = position.reshape(1, *position.shape[-2:])
    return {f"net.{name}": tensor for name, tensor in official.items()}


def check_official_names(given: Collection[str]) -> None:
    """ValueError where these are not an official network's parameters, named without `net.`: what is missing or unknown."""
    depth = max(1, depth_of(given))
    names = _names(depth, class_tokens="in_context_posemb" in given)
    _check_names(given, expected=[*names, *_modulations(depth, "weight"), *_modulations(depth, "bias"), "pos_embed"])


def check_table(table: Tensor) -> None:
    """ValueError where `pos_embed` [1, N, D] is not the fixed table of a square grid, but for an average's rounding."""
    tokens, width = table.shape[-2:]
    grid = round(tokens**0.5)
    if grid**2 != tokens or (table.squeeze(0) - sincos_table(grid, width)).abs().max() > TABLE_TOLERANCE:
        raise ValueError(
            f"`pos_embed` must be the fixed sine-cosine table of a square grid, got another one of {tokens} tokens"
        )


def depth_of(names: Iterable[str]) -> int:
    """Blocks among the parameters: as many as are named, so that a strange number in a name cannot make it large."""
    return len({block[1] for name in names if (block := re.match(r"blocks\.(\d+)\.", name))})


def _names(depth: int, *, class_tokens: bool) -> dict[str, str]:
    """Official name -> ours, but for the adaLN projections and the position table."""
    names = dict(_NAMES)
    if not class_tokens:
        del names["in_context_posemb"]
    blocks = {f"blocks.{i}.{theirs}": f"blocks.{i}.{ours}" for i in range(depth) for theirs, ours in _BLOCK_NAMES.items()}
    return names | blocks


def _modulations(depth: int, part: str) -> list[str]:
    """Official adaLN projections in the order in which ours stacks them."""
    return [*(f"blocks.{i}.adaLN_modulation.1.{part}" for i in range(depth)), f"final_layer.adaLN_modulation.1.{part}"]


def _unstacked(stacked: Tensor, names: list[str]) -> dict[str, Tensor]:
    """Six chunks of the width for each block, two for the final layer."""
    width = stacked.shape[0] // (6 * (len(names) - 1) + 2)
    sizes = [6 * width] * (len(names) - 1) + [2 * width]
    return dict(zip(names, stacked.split(sizes), strict=True))


def _flattened(name: str, tensor: Tensor) -> Tensor:
    if name == "in_context_posemb":
        return tensor.squeeze(0)
    return tensor.flatten(1) if name.startswith("x_embedder") and tensor.ndim == 4 else tensor


def _unflattened(name: str, tensor: Tensor, patch: int) -> Tensor:
    match name:
        case "in_context_posemb":
            return tensor.unsqueeze(0)
        case "x_embedder.proj1.weight":
            return tensor.view(tensor.shape[0], -1, patch, patch)
        case "x_embedder.proj2.weight":
            return tensor[:, :, None, None]
    return tensor


def _check_names(given: Collection[str], *, expected: list[str]) -> None:
    missing, unknown = sorted(set(expected) - set(given)), sorted(set(given) - set(expected))
    if missing or unknown:
        rule = "the parameters must be those of an official JiT network"
        raise ValueError(f"{rule}, missing {missing[:4]} ({len(missing)}), unknown {unknown[:4]} ({len(unknown)})")
