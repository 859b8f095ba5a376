"""The files of a registered model, and the network they are read back into."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import field_validator

from jit_sweep.errors import UserError
from trainables.config.evaluation import RECORDED, EvaluationConfig
from trainables.config.fields import Frozen
from trainables.config.trial import TrialConfig

if TYPE_CHECKING:
    from trainables.networks.network import Network

WEIGHTS = "model.safetensors"
"""The weights that the scores are of: an average, or the trained ones."""
GUIDE = "classifier.safetensors"
"""The weights of the classifier that its samples are guided by, where one does."""
AUTOENCODER = "autoencoder.safetensors"
"""Of a latent model: the autoencoder that its codes are of, with their statistics."""
CONFIG = "config.json"
SCORES = "scores.json"
LINEAGE = "lineage.json"
CARD = "README.md"
"""Scores, their uncertainty, how the model was chosen and where it comes from, in words."""


class ModelFolderConfig(Frozen):
    """What `config.json` holds: how to build the network, and how its scored samples were drawn."""

    trial: TrialConfig
    evaluation: EvaluationConfig
    guide: TrialConfig | None = None
    """The classifier that guides the samples."""

    @field_validator("evaluation", mode="before")
    @classmethod
    def a_record_may_be_older(cls, evaluation: Any) -> Any:
        return {**RECORDED, **evaluation} if isinstance(evaluation, dict) else evaluation


def require_new(folder: Path) -> None:
    """UserError where something is there already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"the folder to export to must be new or empty, got {folder}; give another")


def read_config(folder: Path) -> ModelFolderConfig:
    """How a champion's network is built and was evaluated. UserError: the folder holds no champion."""
    try:
        return ModelFolderConfig.model_validate_json((folder / CONFIG).read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"its {CONFIG} is damaged"
        rule = f"a model's folder must hold a {CONFIG}, as `export` and `import-jit` write it"
        raise UserError(f"{rule}, got {folder} ({reason})") from error


def load_network(folder: Path) -> "Network":
    """A champion's network with the weights that were scored, on the CPU, ready to sample from. UserError: no such files."""
    return _network_of(read_config(folder).trial, folder / WEIGHTS)


def load_guide(folder: Path) -> "Network | None":
    """The classifier that guides a champion's samples; None where none does. UserError: no such files."""
    guide = read_config(folder).guide
    return _network_of(guide, folder / GUIDE).requires_grad_(False) if guide is not None else None


def _network_of(trial: TrialConfig, weights: Path) -> "Network":
    # Here and not at the top: torch takes seconds to start, and `export` does without.
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from trainables.networks.registry import blank_model
    from trainables.training.encoders import latent_of

    network = blank_model(trial)
    try:
        network.load_state_dict(load_file(weights))
        if trial.space.kind == "latent":
            network.space = latent_of(trial, (weights.parent / AUTOENCODER).read_bytes(), device="cpu")
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        raise UserError(f"a champion's files must fit its {CONFIG}, got {weights.parent}: {error}") from error
    return network.eval()
