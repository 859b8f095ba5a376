"""The sizes of a network by the shapes of its official tensors, and whether they are a trial's."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.config.trial import TrialConfig
from trainables.networks.cost import parameter_count
from trainables.networks.registry import blank_model
from trainables.official.names import check_table, depth_of, to_official
from trainables.official.words import AGAIN, PREFIX, StateDict


@dataclass(frozen=True)
class Sizes:
    """What the tensors' shapes tell of a network."""

    width: int
    depth: int
    head_dim: int
    bottleneck: int
    hidden: int
    """Of SwiGLU, after the factor 2/3."""
    class_tokens: int
    num_classes: int
    channels: int
    patch_size: int
    image_size: int


def sizes_of(state_dict: Mapping[str, Tensor]) -> Sizes:
    """The sizes that a few of the tensors tell; that the others have them too is for `check_fits`.

    ValueError: one of these few has not the dimensions that it must have.
    """
    _, tokens, width = _shape(state_dict, "pos_embed", 3)
    bottleneck, channels, patch, _ = _shape(state_dict, "x_embedder.proj1.weight", 4)
    posemb = "in_context_posemb"
    return Sizes(
        width=width,
        depth=depth_of(name.removeprefix(PREFIX) for name in state_dict),
        head_dim=_shape(state_dict, "blocks.0.attn.q_norm.weight", 1)[0],
        bottleneck=bottleneck,
        hidden=_shape(state_dict, "blocks.0.mlp.w3.weight", 2)[1],
        class_tokens=_shape(state_dict, posemb, 3)[1] if PREFIX + posemb in state_dict else 0,
        num_classes=_shape(state_dict, "y_embedder.embedding_table.weight", 2)[0] - 1,
        channels=channels,
        patch_size=patch,
        image_size=math.isqrt(tokens) * patch,
    )


def check_fits(weights: Mapping[str, StateDict], trial: TrialConfig) -> None:
    """ValueError: a tensor has another shape than in the trial's network, is not finite, or is another position table."""
    blank = blank_of(trial)
    table = torch.empty(trial.grid**2, trial.model.width, device="meta")
    expected = to_official(blank, position=table, patch_size=trial.model.patch_size)
    for key, state_dict in weights.items():
        check_same_shapes(state_dict, expected, source=key)
        count = sum(tensor.numel() for name, tensor in state_dict.items() if name != f"{PREFIX}pos_embed")
        if count != parameter_count(trial):
            raise ValueError(f"`{key}` must have {parameter_count(trial):,} parameters, got {count:,}; {AGAIN}")
        for name, tensor in state_dict.items():
            if not tensor.isfinite().all():
                raise ValueError(f"weights must be finite, got NaN or infinity in {key}: {name}; give an earlier checkpoint")
        check_table(state_dict[f"{PREFIX}pos_embed"])


def _shape(state_dict: Mapping[str, Tensor], name: str, dimensions: int) -> torch.Size:
    shape = state_dict[PREFIX + name].shape
    if len(shape) != dimensions or 0 in shape:
        raise ValueError(f"{PREFIX}{name} must have {dimensions} dimensions of at least 1, got {list(shape)}; {AGAIN}")
    return shape


def check_same_shapes(given: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, source: str) -> None:
    if given.keys() != expected.keys():
        strange = sorted(given.keys() ^ expected.keys())
        raise ValueError(f"`{source}` must hold the network's parameters, got others: {', '.join(strange[:4])}; {AGAIN}")
    for name, tensor in expected.items():
        if given[name].shape != tensor.shape:
            got = f"{list(given[name].shape)}"
            raise ValueError(f"{source}: {name} must have the shape {list(tensor.shape)}, got {got}; {AGAIN}")


def blank_of(trial: TrialConfig) -> StateDict:
    """The trial's parameters without memory."""
    with torch.device("meta"):
        return dict(blank_model(trial).state_dict())
