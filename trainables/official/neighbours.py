"""Parameter names of official networks beside JiT's, and ours: PixNerd, DDT, DeCo, PixelDiT, DiP and LightningDiT.

`sources` says of each parameter of ours which of theirs lie in it, one below the other. Their patch convolutions are linear
maps here. An output patch that is ordered channel, row, column there is ordered row, column, channel here.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from trainables.config.trial import TrialConfig
from trainables.networks.registry import blank

Names = dict[str, tuple[str, ...]]
WRAPPERS = ("_orig_mod.", "module.")
"""What torch.compile and data parallelism put before a parameter's name."""
TABLES = ("pos_embed", "feat_rope.")
"""Names, or their beginnings, of fixed tables in a file; ours are computed."""
_KINDS = ("weight", "bias")


class Spelling(NamedTuple):
    """How a family of networks calls the parts of its trunk."""

    embedding: str = "s_embedder.proj"
    blocks: str = "blocks"
    modulation: str = "adaLN_modulation.0"


FAMILIES: dict[str, Spelling] = {
    "neural_field": Spelling(),
    "linear": Spelling(embedding="x_embedder.proj", modulation="adaLN_modulation.1"),
}
"""By the kind of the head."""


def to_ours(state_dict: Mapping[str, Tensor], trial: TrialConfig, *, spelling: Spelling | None = None) -> dict[str, Tensor]:
    """An official state dict as parameters of the trial's network; `spelling` where a head stands on another family's trunk.

    ValueError: names are missing or unknown, or the shapes are not the trial's.
    """
    given = {_bare(name): tensor for name, tensor in state_dict.items()}
    given = {name: tensor for name, tensor in given.items() if not name.startswith(TABLES)}
    names = sources(trial, spelling or FAMILIES[trial.model.head.kind])
    _check_names(given, [each for parts in names.values() for each in parts])
    ours = {name: _reordered(name, torch.cat([given[each] for each in parts]), trial) for name, parts in names.items()}
    shapes = {name: parameter.shape for name, parameter in _blank_parameters(trial).items()}
    odd = [name for name, tensor in ours.items() if tensor.numel() != shapes[name].numel()]
    if odd:
        raise ValueError(f"the parameters must have the trial's shapes, got a difference in {', '.join(odd[:4])}")
    return {name: tensor.reshape(shapes[name]) for name, tensor in ours.items()}


def spelling_of(trial: TrialConfig) -> Spelling:
    """How the official code of a trial's head calls the trunk."""
    return FAMILIES[trial.model.head.kind]


def sources(trial: TrialConfig, spelling: Spelling) -> Names:
    """Of each of our parameters the official names that lie in it, in order."""
    names: Names = {}
    for ours in _blank_parameters(trial):
        stem, _, kind = ours.rpartition(".")
        names[ours] = tuple(f"{each}.{kind}" for each in _stems(stem, trial, spelling))
    return names


def _stems(stem: str, trial: TrialConfig, spelling: Spelling) -> tuple[str, ...]:
    """The official modules that lie in one of ours."""
    first, _, rest = stem.partition(".")
    match first:
        case "embedding":
            return (spelling.embedding,)
        case "time":
            return ("t_embedder.mlp.0" if rest == "first" else "t_embedder.mlp.2",)
        case "label":
            return ("y_embedder.embedding_table",)
        case "modulation":
            last = () if trial.model.reads_pixels else (f"final_layer.{spelling.modulation}",)
            return (*(f"{spelling.blocks}.{i}.{spelling.modulation}" for i in range(trial.model.depth)), *last)
        case "blocks":
            return _of_block(f"{spelling.blocks}.{rest}")
        case "final_norm":
            return ("final_layer.norm_final",)
    return HEADS[trial.model.head.kind](rest, trial)


_MLP = {"mlp.w3": ("mlp.w2",), "mlp.w12": ("mlp.w1", "mlp.w3")}


def _of_block(stem: str) -> tuple[str, ...]:
    """`blocks.3.attention.qkv` -> `blocks.3.attn.qkv`."""
    prefix, block, part = stem.split(".", 2)
    official = _MLP.get(part, (part.replace("attention.", "attn."),))
    return tuple(f"{prefix}.{block}.{each}" for each in official)


def _linear(stem: str, _: TrialConfig) -> tuple[str, ...]:
    return ("final_layer.linear",)


def _neural_field(stem: str, trial: TrialConfig) -> tuple[str, ...]:
    """PixNerd numbers the head's blocks on from the trunk's."""
    match stem.split("."):
        case ["blocks", block, part]:
            official = {"matrices": "param_generator1.0", "norm": "norm"}[part]
            return (f"blocks.{trial.model.depth + int(block)}.{official}",)
    return ({"features.expand": "x_embedder.embedder.0", "norm": "final_layer.norm", "last": "final_layer.linear"}[stem],)


HEADS: dict[str, Callable[[str, TrialConfig], tuple[str, ...]]] = {
    "linear": _linear,
    "neural_field": _neural_field,
}
"""By a head's kind: from a module's name within the head to the official names."""


def _reordered(name: str, tensor: Tensor, trial: TrialConfig) -> Tensor:
    return tensor


def _bare(name: str) -> str:
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def _blank_parameters(trial: TrialConfig) -> dict[str, Tensor]:
    with torch.device("meta"):
        return dict(blank(trial).named_parameters())


def _check_names(given: Mapping[str, Tensor], expected: list[str]) -> None:
    if odd := sorted(given.keys() ^ set(expected)):
        raise ValueError(f"the parameters must be those of the trial's network, got a difference in {', '.join(odd[:4])}")
