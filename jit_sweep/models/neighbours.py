"""Models of the official PixNerd, DDT, DeCo, PixelDiT, DiP, LightningDiT and PixelFlow codes as folders of ours, and back.

config.json           how to build the network and how to sample from it (`ModelFolderConfig`)
model.safetensors     the weights under our names
tables.safetensors    fixed tables of the file, which ours are computed in the place of
official.json         family, preset and the shapes of the official tensors (`NeighbourRecord`)
"""

from dataclasses import dataclass
from pathlib import Path

from jit_sweep.errors import UserError
from jit_sweep.models.model_folder import CONFIG, WEIGHTS, ModelFolderConfig, read_config, require_new
from jit_sweep.models.official import RECORD, new_folder
from search_spaces.neighbours import NEIGHBOURS
from trainables.config.evaluation import EvaluationConfig
from trainables.config.fields import Frozen, choices
from trainables.config.trial import DataConfig, TrialConfig
from trainables.networks.cost import parameter_count
from trainables.official.neighbour_file import read_neighbour, write_checkpoint
from trainables.official.neighbours import TABLES, to_official, to_ours
from trainables.official.weight_file import load_weights, save_weights
from trainables.official.words import StateDict

TABLE_FILE = "tables.safetensors"
LABELS = ("y_embedder.embedding_table.weight", "class_embedder.embedding_table.weight")


class NeighbourRecord(Frozen):
    """What the way back needs."""

    family: str
    shapes: dict[str, tuple[int, ...]]
    """Of each official tensor."""


@dataclass(frozen=True)
class Moved:
    """What was written."""

    path: str
    family: str
    parameters: int
    trial: str
    """Its id."""


def import_neighbour(checkpoint: Path, folder: Path, *, preset: str, image_size: int, channels: int, prefix: str = "") -> Moved:
    """Write an official checkpoint as a new folder, whole or not at all; `prefix` stands before the names that are meant.

    UserError: the file holds no such network, or the folder cannot be written.
    """
    if preset not in NEIGHBOURS:
        raise UserError(f"`--preset` must be a neighbour's, got {preset!r}; try {choices([*NEIGHBOURS])}")
    family = preset.partition("-")[0]
    try:
        state_dict = read_neighbour(checkpoint, prefix=prefix)
    except (OSError, ValueError) as error:
        raise UserError(f"{checkpoint}: {error}") from error
    classes = next((len(state_dict[table]) - 1 for table in LABELS if table in state_dict), 1)
    data = DataConfig(digest="imported", image_size=image_size, channels=channels, num_classes=max(1, classes))
    try:
        trial = TrialConfig.model_validate({**NEIGHBOURS[preset].model_dump(), "data": data})
        return write_neighbour(state_dict, trial, folder, family=family)
    except ValueError as error:
        raise UserError(f"{checkpoint} must hold the network of preset {preset}: {error}; try another preset") from error


def write_neighbour(state_dict: StateDict, trial: TrialConfig, folder: Path, *, family: str) -> Moved:
    """A state dict of a trial's network as a folder. ValueError: it is none. UserError: the folder cannot be written."""
    require_new(folder)
    ours = to_ours(state_dict, trial, family=family)
    tables = {name: tensor for name, tensor in state_dict.items() if name.startswith(TABLES)}
    record = NeighbourRecord(family=family, shapes={name: tuple(tensor.shape) for name, tensor in state_dict.items()})
    config = ModelFolderConfig(trial=trial, evaluation=EvaluationConfig(t_eps_sample=0.0, weights="ema"))
    with new_folder(folder) as part:
        save_weights(ours, part / WEIGHTS)
        save_weights(tables, part / TABLE_FILE)
        (part / CONFIG).write_text(config.model_dump_json(indent=1) + "\n")
        (part / RECORD).write_text(record.model_dump_json(indent=1) + "\n")
    return Moved(str(folder), family, parameter_count(trial), trial.id)


def export_neighbour(folder: Path, checkpoint: Path) -> Moved:
    """Write an imported folder back as a checkpoint with the key `state_dict`, bit for bit.

    UserError: the folder was not imported so, or the file exists.
    """
    if checkpoint.exists():
        raise UserError(f"the checkpoint to write must not exist yet, got {checkpoint}; give another name")
    trial = read_config(folder).trial
    try:
        record = NeighbourRecord.model_validate_json((folder / RECORD).read_bytes())
        weights = load_weights(folder / WEIGHTS)
        official = to_official(weights, trial, family=record.family, shapes=record.shapes)
        state_dict = {**official, **load_weights(folder / TABLE_FILE)}
    except (OSError, ValueError) as error:
        rule = "the folder must be one that `import-neighbour` wrote"
        raise UserError(f"{rule}, got {folder} ({type(error).__name__}); import the checkpoint again") from error
    try:
        write_checkpoint(state_dict, checkpoint)
    except OSError as error:
        raise UserError(f"the checkpoint must be a file that can be written, got {checkpoint} ({error})") from error
    return Moved(str(checkpoint), record.family, parameter_count(trial), trial.id)
