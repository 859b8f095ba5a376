"""Weights of diffusers' `AutoencoderKL` and `VQModel` under the names of our autoencoder, whose network they are."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from trainables.config.autoencoder import AutoencoderTrunk
from trainables.networks.autoencoder_layout import CodingStep, decoder_steps, encoder_steps

_ENDS = {"first": "conv_in", "norm": "conv_norm_out", "last": "conv_out"}
_BLOCK = {"norm1": "norm1", "conv1": "conv1", "norm2": "norm2", "conv2": "conv2", "shortcut": "conv_shortcut"}
_QKV = ("to_q", "to_k", "to_v")
_OLDER = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Names of attention in files of before diffusers 0.18."""


def is_of_diffusers(weights: Mapping[str, Tensor]) -> bool:
    """Whether names are those of diffusers' autoencoders."""
    return "encoder.conv_in.weight" in weights


def renamed(weights: Mapping[str, Tensor], trunk: AutoencoderTrunk, *, side: int) -> dict[str, Tensor]:
    """The weights under our names, for images of this side; what the trunk has no place for keeps its own."""
    theirs = {_now(name): tensor for name, tensor in weights.items()}
    found: dict[str, Tensor] = {}
    for ours, names in _pairs(trunk, side):
        for suffix in ("weight", "bias"):
            parts = [theirs.pop(f"{name}.{suffix}", None) for name in names]
            there = [part for part in parts if part is not None]
            if len(there) == len(parts):
                found[f"{ours}.{suffix}"] = _joined(there, linear=".qkv" in ours or ".proj" in ours)
    return {**found, **theirs}


def _pairs(trunk: AutoencoderTrunk, side: int) -> Iterator[tuple[str, Sequence[str]]]:
    """Our modules, each with those that it is."""
    yield "to_code", ["quant_conv"]
    yield "from_code", ["post_quant_conv"]
    if trunk.code.kind == "vq":
        yield "entries", ["quantize.embedding"]
    for half, steps, places in (
        ("encoder", encoder_steps(trunk, side=side), _down_places),
        ("decoder", decoder_steps(trunk, side=side), _up_places),
    ):
        yield from ((f"{half}.{ours}", [f"{half}.{theirs}"]) for ours, theirs in _ENDS.items())
        for number, (step, place) in enumerate(zip(steps, places(steps), strict=True)):
            yield from _of_step(step, f"{half}.steps.{number}", f"{half}.{place}")


def _of_step(step: CodingStep, ours: str, theirs: str) -> Iterator[tuple[str, Sequence[str]]]:
    if step.kind == "block":
        yield from ((f"{ours}.{name}", [f"{theirs}.{other}"]) for name, other in _BLOCK.items())
    elif step.kind == "attention":
        yield f"{ours}.norm", [f"{theirs}.group_norm"]
        yield f"{ours}.qkv", [f"{theirs}.{name}" for name in _QKV]
        yield f"{ours}.proj", [f"{theirs}.to_out.0"]
    else:
        yield f"{ours}.conv", [f"{theirs}.conv"]


def _down_places(steps: Sequence[CodingStep]) -> Iterator[str]:
    """Where diffusers has each step of the encoder: level by level, and the middle last."""
    yield from _level_places("down_blocks", "downsamplers", [step.kind for step in steps[:-3]], "down")
    yield from _MIDDLE


def _up_places(steps: Sequence[CodingStep]) -> Iterator[str]:
    """The same of the decoder: the middle first, and the smallest level."""
    yield from _MIDDLE
    yield from _level_places("up_blocks", "upsamplers", [step.kind for step in steps[3:]], "up")


_MIDDLE = ("mid_block.resnets.0", "mid_block.attentions.0", "mid_block.resnets.1")


def _level_places(blocks: str, resampling: str, kinds: Sequence[str], closing: str) -> Iterator[str]:
    level, counts = 0, {"block": 0, "attention": 0}
    for kind in kinds:
        if kind == closing:
            yield f"{blocks}.{level}.{resampling}.0"
            level, counts = level + 1, {"block": 0, "attention": 0}
            continue
        yield f"{blocks}.{level}.{'resnets' if kind == 'block' else 'attentions'}.{counts[kind]}"
        counts[kind] += 1


def _now(name: str) -> str:
    """A name as diffusers has it today."""
    *above, part, suffix = name.split(".")
    return ".".join((*above, _OLDER.get(part, part), suffix)) if "attentions" in above else name


def _joined(parts: Sequence[Tensor], *, linear: bool) -> Tensor:
    """Several maps as one; those of convolutions of one pixel as linear ones where we have those."""
    whole = torch.cat(list(parts))
    return whole.flatten(1) if linear and whole.ndim > 2 else whole
