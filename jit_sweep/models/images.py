"""The images of a model's folder, drawn as its scores were."""

import torch

from jit_sweep.models.model_folder import ModelFolderConfig
from trainables.evaluation.generate import generate


def images_of(
    network: torch.nn.Module,
    config: ModelFolderConfig,
    *,
    guide: torch.nn.Module | None,
    n: int,
    seed: int,
    labels: torch.Tensor | None = None,
) -> torch.Tensor:
    """uint8 [n, C, H, W] drawn as the model's scores were, by its classifier's guidance where it has one. `labels` int64 [n];
    None: n images with the classes in turn.

    ValueError: a sample is not finite.
    """
    wanted = torch.arange(n) % config.trial.data.num_classes if labels is None else labels
    evaluation = config.evaluation.model_copy(update={"n": len(wanted), "seed": seed})
    return generate(network, config.trial, evaluation, wanted, guide=guide)
