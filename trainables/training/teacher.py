"""The frozen networks whose patch tokens the terms `representation` and `alignment` of a loss are to find, and by which
`perceptual` sees images; nothing of them is ever saved."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.config.objective import TeacherConfig
from trainables.config.trial import TrialConfig
from trainables.data.pixels import to_unit
from trainables.evaluation.features.vit import Vit, VitSizes, normalised, unclipped, vit_of
from trainables.evaluation.features.weights import state_dict_of
from trainables.networks.parts.projector import TEACHER_MLP_RATIO
from trainables.process_caches import ProcessCache

_teachers: ProcessCache[tuple[tuple[TeacherConfig, ...], str], dict[TeacherConfig, Vit]] = ProcessCache("teachers", most=1)
"""All of a trial, by what it says of them and the kind of device."""


def teacher_tokens(trial: TrialConfig, teacher: TeacherConfig, images: Tensor) -> Tensor:
    """A teacher's patch tokens of uint8 images [B, C, H, W], float32 [B, N, width] in the grid of the
    trial's tokens, or of its code.

    It computes in the trial's precision. ValueError: its file is not what the trial says. OSError: it cannot be read.
    """
    device = images.device.type
    network = teachers_of(trial, device=device)[teacher]
    with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=trial.precision == "bf16"):
        tokens = network.patches(normalised(images, teacher.grid * teacher.patch))
        return regridded(tokens.float(), grid=trial.taught_grid)


def sight_of(trial: TrialConfig, teacher: TeacherConfig, *, device: str) -> Callable[[Tensor], Tensor]:
    """From images float32 [B, C, H, W] around [-1, 1], unclipped, to the teacher's patch tokens, float32 [B, N, width] in its
    own grid, through which a gradient flows to the images. It computes in the trial's precision. Raises as `teachers_of`."""
    network, size, narrow = teachers_of(trial, device=device)[teacher], teacher.grid * teacher.patch, trial.precision == "bf16"

    def seen(images: Tensor) -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=narrow):
            return network.patches(unclipped(images, size)).float()

    return seen


def seen_tokens(trial: TrialConfig, teacher: TeacherConfig, images: Tensor) -> Tensor:
    """What `sight_of` makes of uint8 images [B, C, H, W], without a gradient."""
    with torch.no_grad():
        return sight_of(trial, teacher, device=images.device.type)(to_unit(images))


def teachers_of(trial: TrialConfig, *, device: str) -> dict[TeacherConfig, Vit]:
    """A trial's teachers in evaluation form, loaded once a process; a remote file is fetched once a machine.

    ValueError: a file has another hash or holds another network. OSError: it cannot be read.
    """
    return _teachers.get((trial.teachers, device), make=lambda: {each: _loaded(each).to(device) for each in trial.teachers})


def regridded(tokens: Tensor, *, grid: int) -> Tensor:
    """[B, g^2, W] -> [B, grid^2, W], bilinear and with antialias, which averages where the new grid is coarser."""
    own = round(tokens.shape[1] ** 0.5)
    if own == grid:
        return tokens
    images = tokens.transpose(1, 2).unflatten(2, (own, own))
    found: Tensor = F.interpolate(images, size=(grid, grid), mode="bilinear", antialias=True).flatten(2).transpose(1, 2)
    return found


def _loaded(teacher: TeacherConfig) -> Vit:
    state = state_dict_of(teacher.weights, sha256=teacher.sha256)
    network, sizes = vit_of(state), VitSizes.of(state)
    said = {"width": teacher.width, "depth": teacher.depth, "patch": teacher.patch, "mlp": TEACHER_MLP_RATIO * teacher.width}
    has = {"width": sizes.width, "depth": sizes.depth, "patch": sizes.patch, "mlp": sizes.hidden}
    if odd := [name for name in said if said[name] != has[name]]:
        rule = f"`teacher` must say its network's sizes, with an MLP of {TEACHER_MLP_RATIO} times its width"
        got = ", ".join(f"{name}={said[name]} ({has[name]} in the file)" for name in odd)
        raise ValueError(f"{rule}, got {got}; write the file's, or give another")
    return network
