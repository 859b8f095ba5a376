"""Weights of official checkpoints in safetensors files of ours."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from trainables.official.words import StateDict, first_line


def save_weights(tensors: StateDict, file: Path) -> None:
    """OSError: the file cannot be written."""
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
    except SafetensorError as error:
        raise OSError(first_line(error)) from error
    file.chmod(0o644)  # safetensors leaves it to its owner alone


def load_weights(file: Path) -> StateDict:
    """ValueError: it is no safetensors file. OSError: it cannot be read."""
    try:
        return load_file(file)
    except SafetensorError as error:
        raise ValueError(f"weights must be a safetensors file, got {file} ({first_line(error)}); import again") from error


def alone(tensors: StateDict) -> StateDict:
    """Each tensor with memory of its own: torch.save writes the whole of what a view looks at."""
    return {name: t if t.untyped_storage().nbytes() == t.nbytes else t.clone() for name, t in tensors.items()}
