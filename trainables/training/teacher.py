"""The frozen network whose patch tokens the terms `representation` and `alignment` of a loss are to find; nothing of it is ever
saved."""

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.config.objective import TeacherConfig
from trainables.config.trial import TrialConfig
from trainables.evaluation.features.vit import Vit, VitSizes, normalised, vit_of
from trainables.evaluation.features.weights import state_dict_of
from trainables.networks.parts.projector import TEACHER_MLP_RATIO
from trainables.process_caches import ProcessCache

_teachers: ProcessCache[tuple[TeacherConfig, str], Vit] = ProcessCache("teachers", most=1)
"""By what a trial says of it and the kind of device."""


def teacher_tokens(trial: TrialConfig, teacher: TeacherConfig, images: Tensor) -> Tensor:
    """A teacher's patch tokens of uint8 images [B, C, H, W], float32 [B, N, width] in the grid of the
    trial's tokens, or of its code.

    It computes in the trial's precision. ValueError: its file is not what the trial says. OSError: it cannot be read.
    """
    device = images.device.type
    network = teacher_of(teacher, device=device)
    with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=trial.precision == "bf16"):
        tokens = network.patches(normalised(images, teacher.grid * teacher.patch))
        return regridded(tokens.float(), grid=trial.taught_grid)


def teacher_of(teacher: TeacherConfig, *, device: str) -> Vit:
    """The network in evaluation form, loaded once a process; a remote file is fetched once a machine.

    ValueError: the file has another hash or holds another network. OSError: it cannot be read.
    """
    return _teachers.get((teacher, device), make=lambda: _loaded(teacher).to(device))


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
