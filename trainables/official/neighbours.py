"""Parameter names of official networks beside JiT's, and ours: PixNerd, DDT, DeCo, PixelDiT, DiP,
LightningDiT and PixelFlow.

`sources` says of each parameter of ours which of theirs lie in it, one below the other. Their patch convolutions are linear
maps here. An output patch that is ordered channel, row, column there is ordered row, column, channel here.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from trainables.config.heads import DecoupledHead
from trainables.config.trial import TrialConfig
from trainables.networks.registry import blank_model

Names = dict[str, tuple[str, ...]]
WRAPPERS = ("_orig_mod.", "module.")
"""What torch.compile and data parallelism put before a parameter's name."""
TABLES = ("pos_embed", "feat_rope.")
"""Names, or their beginnings, of fixed tables in a file; ours are computed."""


class Spelling(NamedTuple):
    """How a family of networks calls the parts of its trunk."""

    embedding: str = "s_embedder.proj"
    blocks: str = "blocks"
    modulation: str = "adaLN_modulation.0"
    wide: bool = False
    """Whether SwiGLU's first two matrices are one, as here."""
    channel_first: bool = False
    """Whether the last linear map orders a patch channel, row, column."""
    diffusers: bool = False
    """Whether conditions, q, k and v have diffusers' names (PixelFlow)."""


FAMILIES: dict[str, Spelling] = {
    "pixnerd": Spelling(),
    "deco": Spelling(),
    "dip": Spelling(),
    "ddt": Spelling(channel_first=True),
    "pixeldit": Spelling(blocks="patch_blocks"),
    "lightningdit": Spelling(embedding="x_embedder.proj", modulation="adaLN_modulation.1", wide=True),
    "pixelflow": Spelling(embedding="patch_embed.proj", blocks="transformer_blocks", diffusers=True),
    "deco-baseline": Spelling(embedding="x_embedder.proj", channel_first=True),
}
"""By the name of the networks. DiT's are LightningDiT's; DeCo's baseline is its trunk with a linear head."""


def to_ours(state_dict: Mapping[str, Tensor], trial: TrialConfig, *, family: str) -> dict[str, Tensor]:
    """An official state dict as parameters of the trial's network; `family` is a key of `FAMILIES`.

    ValueError: names are missing or unknown, or the shapes are not the trial's.
    """
    given = {name: tensor for name, tensor in bare(state_dict).items() if not name.startswith(TABLES)}
    names, shapes = sources(trial, family=family), _shapes(trial)
    _check_names(given, [each for parts in names.values() for each in parts])
    ours = {name: torch.cat([given[each] for each in parts]) for name, parts in names.items()}
    odd = [name for name, tensor in ours.items() if tensor.numel() != shapes[name].numel()]
    if odd:
        raise ValueError(f"the parameters must have the trial's shapes, got a difference in {', '.join(odd[:4])}")
    last = "head" if "head.weight" in ours else "head.last"
    if FAMILIES[family].channel_first:
        ours |= {f"{last}.{kind}": _channel_last(ours[f"{last}.{kind}"], trial) for kind in ("weight", "bias")}
    return {name: tensor.reshape(shapes[name]) for name, tensor in ours.items()}


def to_official(
    state_dict: Mapping[str, Tensor], trial: TrialConfig, *, family: str, shapes: Mapping[str, Sequence[int]]
) -> dict[str, Tensor]:
    """The way back, bit for bit: our parameters under official names; `shapes` are those of the official tensors.

    ValueError: the parameters are not those of the trial's network.
    """
    given, names = dict(state_dict), sources(trial, family=family)
    if given.keys() != names.keys():
        odd = sorted(given.keys() ^ names.keys())
        raise ValueError(f"the parameters must be those of the trial's network, got a difference in {', '.join(odd[:4])}")
    last = "head" if "head.weight" in given else "head.last"
    if FAMILIES[family].channel_first:
        given |= {f"{last}.{kind}": _channel_first(given[f"{last}.{kind}"], trial) for kind in ("weight", "bias")}
    official: dict[str, Tensor] = {}
    for ours, parts in names.items():
        pieces = given[ours].flatten().split([math.prod(shapes[part]) for part in parts])
        official |= {part: piece.reshape(*shapes[part]).clone() for part, piece in zip(parts, pieces, strict=True)}
    return official


def bare(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by their names without what wrappers put before them."""
    return {_bare(name): tensor for name, tensor in state_dict.items()}


def sources(trial: TrialConfig, *, family: str) -> Names:
    """Of each of our parameters the official names that lie in it, in order."""
    names: Names = {}
    for ours in _shapes(trial):
        stem, _, kind = ours.rpartition(".")
        names[ours] = tuple(f"{each}.{kind}" for each in _stems(stem, trial, FAMILIES[family]))
    return names


def _stems(stem: str, trial: TrialConfig, spelling: Spelling) -> tuple[str, ...]:
    """The official modules that lie in one of ours."""
    first, _, rest = stem.partition(".")
    match first:
        case "embedding":
            return (spelling.embedding,)
        case "time" | "size" if spelling.diffusers:
            module = "timestep_embedder" if first == "time" else "latent_size_embedder"
            return (f"{module}.linear_{1 if rest == 'first' else 2}",)
        case "label" if spelling.diffusers:
            return ("class_embedder.embedding_table",)
        case "modulation" if spelling.diffusers:
            return (*(f"{spelling.blocks}.{i}.norm1.linear" for i in range(trial.model.depth)), "proj_out_1")
        case "blocks" if spelling.diffusers:
            block, part = rest.split(".", 1)
            return tuple(f"{spelling.blocks}.{block}.{each}" for each in _PIXELFLOW_BLOCK[part])
        case "head" if spelling.diffusers:
            return ("proj_out_2",)
        case "time":
            return ("t_embedder.mlp.0" if rest == "first" else "t_embedder.mlp.2",)
        case "label":
            return ("y_embedder.embedding_table",)
        case "modulation":
            last = () if trial.model.reads_pixels else (f"final_layer.{spelling.modulation}",)
            return (*(f"{spelling.blocks}.{i}.{spelling.modulation}" for i in range(trial.model.depth)), *last)
        case "blocks":
            block, part = rest.split(".", 1)
            kept = spelling.wide and part in ("mlp.w12", "mlp.w3")
            return (f"{spelling.blocks}.{block}.{part}",) if kept else _of_block(f"{spelling.blocks}.{block}", part)
        case "final_norm":
            return ("final_layer.norm_final",)
    return HEADS[trial.model.head.kind](rest, trial)


_PIXELFLOW_BLOCK = {
    "attention.qkv": ("attn1.q_proj", "attn1.k_proj", "attn1.v_proj"),
    "attention.proj": ("attn1.o_proj",),
    "attention.q_norm": ("attn1.q_norm",),
    "attention.k_norm": ("attn1.k_norm",),
    "norm2": ("norm3",),
    "mlp.first": ("mlp.fc1",),
    "mlp.second": ("mlp.fc2",),
}


def _of_block(block: str, part: str) -> tuple[str, ...]:
    """`attention.qkv` of block `blocks.3` -> `blocks.3.attn.qkv`."""
    parts = _MLP.get(part, (part.replace("attention.", "attn."),))
    return tuple(f"{block}.{each}" for each in parts)


_MLP = {"mlp.w12": ("mlp.w1", "mlp.w3"), "mlp.w3": ("mlp.w2",), "mlp.first": ("mlp.fc1",), "mlp.second": ("mlp.fc2",)}
_ENDS = {"norm": "final_layer.norm", "last": "final_layer.linear"}


def _linear(stem: str, _: TrialConfig) -> tuple[str, ...]:
    return ("final_layer.linear",)


def _neural_field(stem: str, trial: TrialConfig) -> tuple[str, ...]:
    """PixNerd numbers the head's blocks on from the trunk's."""
    match stem.split("."):
        case ["blocks", block, part]:
            official = {"matrices": "param_generator1.0", "norm": "norm"}[part]
            return (f"blocks.{trial.model.depth + int(block)}.{official}",)
    return ({**_ENDS, "features.expand": "x_embedder.embedder.0"}[stem],)


def _decoupled(stem: str, trial: TrialConfig) -> tuple[str, ...]:
    """DDT numbers the head's blocks on from the trunk's, too."""
    head, depth = trial.model.head, trial.model.depth
    match stem.split(".", 2):
        case ["modulation"]:
            assert isinstance(head, DecoupledHead)
            return tuple(f"blocks.{depth + i}.adaLN_modulation.0" for i in range(head.blocks))
        case ["blocks", block, part]:
            return _of_block(f"blocks.{depth + int(block)}", part)
    return ({**_ENDS, "embedding.expand": "x_embedder.proj", "final": "final_layer.adaLN_modulation.0"}[stem],)


def _pixel_mlp(stem: str, _: TrialConfig) -> tuple[str, ...]:
    match stem.split("."):
        case ["blocks", block, part]:
            parts = {"norm": "in_ln", "first": "mlp.0", "second": "mlp.2", "modulation": "adaLN_modulation.1"}
            return (f"dec_net.res_blocks.{block}.{parts[part]}",)
    ends = {"project": "input_proj", "condition": "cond_embed", "last": "final_layer.linear"}
    return ("x_embedder.embedder.0" if stem == "features.expand" else f"dec_net.{ends[stem]}",)


_PIXEL_BLOCK = {
    "compress": "compress_to_attn",
    "widen": "expand_from_attn",
    "first": "mlp.fc1",
    "second": "mlp.fc2",
    "modulation": "adaLN_modulation.0",
}


def _pixel_transformer(stem: str, _: TrialConfig) -> tuple[str, ...]:
    match stem.split(".", 2):
        case ["blocks", block, part]:
            return (f"pixel_blocks.{block}.{_PIXEL_BLOCK.get(part, part.replace('attention.', 'attn.'))}",)
    return ({**_ENDS, "expand": "pixel_embedder.proj"}[stem],)


def _patch_unet(stem: str, _: TrialConfig) -> tuple[str, ...]:
    match stem.split("."):
        case [way, level]:
            pattern = {"down": "enc{}.0", "up": "up{}", "merge": "dec{}.0"}[way]
            return (f"local_decoder.{pattern.format(int(level) + 1)}",)
    return (f"local_decoder.{ {'bottom': 'bottleneck.0', 'last': 'out_conv'}[stem] }",)


HEADS: dict[str, Callable[[str, TrialConfig], tuple[str, ...]]] = {
    "linear": _linear,
    "neural_field": _neural_field,
    "decoupled": _decoupled,
    "pixel_mlp": _pixel_mlp,
    "pixel_transformer": _pixel_transformer,
    "patch_unet": _patch_unet,
}
"""By a head's kind: from a module's name within the head to the official names."""


def _channel_last(tensor: Tensor, trial: TrialConfig) -> Tensor:
    """Rows ordered channel, row, column as rows ordered row, column, channel."""
    channels = trial.data.channels
    turned: Tensor = tensor.unflatten(0, (channels, -1)).transpose(0, 1).flatten(0, 1)
    return turned


def _channel_first(tensor: Tensor, trial: TrialConfig) -> Tensor:
    """Rows ordered row, column, channel as rows ordered channel, row, column."""
    turned: Tensor = tensor.unflatten(0, (-1, trial.data.channels)).transpose(0, 1).flatten(0, 1)
    return turned


def _bare(name: str) -> str:
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def _shapes(trial: TrialConfig) -> dict[str, torch.Size]:
    """Of each of our parameters."""
    with torch.device("meta"):
        return {name: parameter.shape for name, parameter in blank_model(trial).named_parameters()}


def _check_names(given: Mapping[str, Tensor], expected: list[str]) -> None:
    if odd := sorted(given.keys() ^ set(expected)):
        raise ValueError(f"the parameters must be those of the trial's network, got a difference in {', '.join(odd[:4])}")
