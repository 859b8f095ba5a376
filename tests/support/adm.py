"""Parameter names of ADM's U-Net and classifier (guided-diffusion), and ours.

Its network also outputs a variance, whose rows of the last convolution have no place here, and knows no null class, whose
embedding is zero at first. Which order the rows of a qkv matrix have is not in a file: `attention_order` says it.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from trainables.config.trial import TrialConfig
from trainables.config.trunks import UnetClassifierTrunk, UnetSizes
from trainables.networks.registry import blank_model
from trainables.networks.unet_layout import UnetStep, layout

_FIRST = {"time.first": "time_embed.0", "time.second": "time_embed.2", "first": "input_blocks.0.0", "norm": "out.0"}
ENDS = {**_FIRST, "label": "label_emb", "last": "out.2"}
POOLS = {
    "attention": {**_FIRST, "pool": "out.2", "pool.qkv": "out.2.qkv_proj", "last": "out.2.c_proj"},
    "adaptive": {**_FIRST, "last": "out.3"},
}
"""Of a classifier, by its pool."""
_RESIDUAL = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "condition": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "shortcut": "skip_connection",
}
_ATTENTION = {"norm": "norm", "qkv": "qkv", "proj": "proj_out"}
_RESAMPLING = {"down": "op", "up": "conv"}


def names(trial: TrialConfig) -> dict[str, str]:
    """ADM's name of each parameter of the trial's U-Net or classifier."""
    trunk = _trunk(trial)
    ends = POOLS[trunk.pool] if isinstance(trunk, UnetClassifierTrunk) else ENDS
    modules = {**ends, **_modules(trunk, side=trial.data.image_size)}
    found: dict[str, str] = {}
    for ours in dict(_blank(trial).named_parameters()):
        module, _, kind = ours.rpartition(".")
        found[ours] = f"{modules[module]}.{'positional_embedding' if kind == 'position' else kind}"
    return found


def to_ours(state_dict: Mapping[str, Tensor], trial: TrialConfig) -> dict[str, Tensor]:
    """ADM's state dict as parameters of the trial's network.

    ValueError: names are missing or unknown, or the shapes are not the trial's.
    """
    theirs, shapes = names(trial), {name: parameter.shape for name, parameter in _blank(trial).named_parameters()}
    optional = {"label_emb.weight"} & set(theirs.values()) - state_dict.keys()
    if odd := sorted((state_dict.keys() ^ set(theirs.values())) - optional):
        raise ValueError(f"the parameters must be those of the trial's U-Net, got a difference in {', '.join(odd[:4])}")
    ours = {name: state_dict[official] for name, official in theirs.items() if official not in optional}
    ours = _of_pool(ours) if isinstance(_trunk(trial), UnetClassifierTrunk) else _of_image(ours, trial, shapes)
    if odd := [name for name, tensor in ours.items() if tensor.numel() != shapes[name].numel()]:
        raise ValueError(f"the parameters must have the trial's shapes, got a difference in {', '.join(odd[:4])}")
    return {name: tensor.reshape(shapes[name]) for name, tensor in ours.items()}


def _of_image(ours: dict[str, Tensor], trial: TrialConfig, shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """With a null class, and without the rows of a variance."""
    classes, width = shapes["label.weight"]
    label = ours.get("label.weight", torch.zeros(0, width))
    whole = {"label.weight": torch.cat((label, label.new_zeros(classes - len(label), width)))}
    return {**ours, **whole, **{f"last.{kind}": ours[f"last.{kind}"][: trial.channels] for kind in ("weight", "bias")}}


def _of_pool(ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """ADM's positions are columns."""
    return ours | {name: ours[name].T for name in ("pool.position",) if name in ours}


def _trunk(trial: TrialConfig) -> UnetSizes:
    trunk = trial.model.trunk
    assert isinstance(trunk, UnetSizes), "ADM's networks are a U-Net and its way down"
    return trunk


def _blank(trial: TrialConfig) -> torch.nn.Module:
    with torch.device("meta"):
        return blank_model(trial)


def _modules(trunk: UnetSizes, *, side: int) -> dict[str, str]:
    """ADM's name of each module of a step. On the way up what doubles the side stands in the list of the step before it."""
    steps = layout(trunk, side=side)
    modules: dict[str, str] = {}
    for i, step in enumerate(steps.down):
        modules |= _of_step(f"down.{i}", step, f"input_blocks.{i + 1}", at=0)
    place = 0
    for i, step in enumerate(steps.middle):
        modules |= _of_step(f"middle.{i}", step, "middle_block", at=place)
        place += 1 + step.attends
    block, place = -1, 0
    for i, step in enumerate(steps.up):  # of a classifier there is none, and nothing looks for these
        block, place = (block + 1, 0) if step.skip else (block, place)
        modules |= _of_step(f"up.{i}", step, f"output_blocks.{block}", at=place)
        place += 1 + step.attends
    return modules


def _of_step(ours: str, step: UnetStep, theirs: str, *, at: int) -> dict[str, str]:
    """`at`: the place of its block in the official list."""
    if not step.residual:
        return {f"{ours}.block.conv": f"{theirs}.{at}.{_RESAMPLING[step.change]}"}
    block = {f"{ours}.block.{name}": f"{theirs}.{at}.{official}" for name, official in _RESIDUAL.items()}
    attention = {f"{ours}.attention.{name}": f"{theirs}.{at + 1}.{official}" for name, official in _ATTENTION.items()}
    return {**block, **(attention if step.attends else {})}
