"""A feature network's weights from a file of the user's: its content is checked by hash, and nothing in it is run."""

import hashlib
import io
import os
import pickle
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from trainables.storage.address import local_path
from trainables.storage.folder import open_file

_KEPT = "jit-sweep-weights"


def state_dict_of(uri: str, *, sha256: str) -> dict[str, Tensor]:
    """The tensors of a file by name. A remote file is fetched once a machine and kept in its folder for temporary files.

    ValueError: its hash is another, or it is no state dict. OSError: it cannot be read.
    """
    return _tensors(content_of(uri, sha256=sha256), uri)


def content_of(uri: str, *, sha256: str, key: str = "weights") -> bytes:
    """The bytes of a file that a configuration's `key` names; see `state_dict_of`."""
    if local_path(uri) is not None:
        return _checked(_read(uri), uri, sha256, key)
    kept = Path(tempfile.gettempdir()) / _KEPT / sha256
    if kept.is_file() and _digest(content := kept.read_bytes()) == sha256:
        return content
    content = _checked(_read(uri), uri, sha256, key)
    kept.parent.mkdir(exist_ok=True)
    beside = kept.with_name(f"{sha256}.{os.getpid()}")
    beside.write_bytes(content)
    beside.replace(kept)
    return content


def check_fits(network: nn.Module, state: Mapping[str, Tensor], *, what: str) -> None:
    """ValueError: a state dict's names or shapes are not a network's, with the first that is not."""
    wanted = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    given = {name: list(tensor.shape) for name, tensor in state.items()}
    for name in [*wanted, *given]:
        if wanted.get(name) != given.get(name):
            rule = f"`weights` must be of {what}, whose {name} is {wanted.get(name, 'absent')}"
            raise ValueError(f"{rule}, got {given.get(name, 'none')}; give that network's weights")


def _read(uri: str) -> bytes:
    with open_file(uri) as file:
        return file.read()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _checked(content: bytes, uri: str, sha256: str, key: str) -> bytes:
    if (found := _digest(content)) != sha256:
        rule = f"`{key}` must have SHA-256 {sha256}"
        raise ValueError(f"{rule}, got {found} in {uri}; fetch it again, or write that hash as `sha256`")
    return content


def _tensors(content: bytes, uri: str) -> dict[str, Tensor]:
    try:
        state = load(content)
    except SafetensorError:
        state = _unpickled(content, uri)
    if not isinstance(state, dict) or not state or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise ValueError(f"`weights` must be tensors by name, got {type(state).__name__} in {uri}; save a state_dict()")
    return state


def _unpickled(content: bytes, uri: str) -> dict[str, Tensor]:
    try:
        loaded: dict[str, Tensor] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, AttributeError, LookupError) as error:
        rule = "`weights` must be a .safetensors file, or a state dict that torch.save wrote"
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{rule}, got {uri}, which is neither ({reason}); convert it where you trust it") from None
    return loaded
