"""The weights of an official checkpoint in files of ours (safetensors), and back without a rounding."""

from collections.abc import Mapping
from pathlib import Path

from trainables.config.trial import TrialConfig
from trainables.networks.positions import sincos_table
from trainables.official.file import OfficialFile
from trainables.official.names import to_official, to_ours
from trainables.official.shapes import blank_of, check_same_shapes
from trainables.official.weight_file import alone, load_weights, save_weights
from trainables.official.words import PREFIX, StateDict


def write_weights(file: OfficialFile, folder: Path, *, files: Mapping[str, str], positions: str) -> None:
    """Write a checkpoint's weights under our names, each set in the file that `files` names for it, and its position tables.

    The tables are the fixed one, but averaging has rounded their copies: kept so that the way back is exact.
    OSError: the folder cannot be written.
    """
    for key, name in files.items():
        save_weights(to_ours(file.weights[key]), folder / name)
    save_weights(
        {key: state_dict[f"{PREFIX}pos_embed"].clone() for key, state_dict in file.weights.items()}, folder / positions
    )


def read_weights(trial: TrialConfig, folder: Path, *, files: Mapping[str, str], positions: str | None) -> dict[str, StateDict]:
    """The weights of a trial's network under official names, as `write_weights` wrote them.

    Sets that share a file share their tensors, which torch.save writes once. Without `positions` the table is the fixed one.
    ValueError: the files do not fit the trial. OSError: they cannot be read.
    """
    fixed = sincos_table(trial.grid, trial.model.width)
    tables = load_weights(folder / positions) if positions else dict.fromkeys(files, fixed)
    ours = {name: load_weights(folder / name) for name in dict.fromkeys(files.values())}
    if tables.keys() != files.keys() or any(table.numel() != fixed.numel() for table in tables.values()):
        raise ValueError(f"the position tables must be one of {tuple(fixed.shape)} for each set, got {folder}; import again")
    for name, state_dict in ours.items():
        check_same_shapes(state_dict, blank_of(trial), source=name)
    patch = trial.model.patch_size
    if positions is None:
        shared = {name: alone(to_official(state_dict, position=fixed, patch_size=patch)) for name, state_dict in ours.items()}
        return {key: shared[name] for key, name in files.items()}
    return {key: alone(to_official(ours[name], position=tables[key], patch_size=patch)) for key, name in files.items()}
