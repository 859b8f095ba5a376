"""The autoencoder of a latent trial, with the statistics of its codes: one file below the storage, which goes with a model."""

from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from trainables.config.average import part_of
from trainables.config.fields import content_hash, identity
from trainables.config.space import FileEncoder, LatentSpace, TrialEncoder
from trainables.config.trial import TrialConfig
from trainables.data.errors import DataError
from trainables.evaluation.features.weights import state_dict_of
from trainables.networks.latent import CodeStatistics, Latent, autoencoder_of
from trainables.official.diffusers_autoencoder import is_of_diffusers, renamed
from trainables.storage.checkpoint import CheckpointError, Store
from trainables.storage.folder import Folder

FILE = "autoencoder.safetensors"
_WEIGHTS, _STATISTICS = "autoencoder.", "statistics."


def latents_folder(trial: TrialConfig, storage: str) -> Folder:
    """Where the codes of its training split lie, and `FILE`: one place for all trials that see the same codes."""
    space, data = _space(trial), trial.data
    assert space.trunk is not None
    seen: dict[str, Any] = {"data": data.digest, "encoder": identity(space.encoder), "trunk": identity(space.trunk)}
    return Folder(f"{storage.rstrip('/')}/latents/{content_hash(seen)}")


def encoder_weights(trial: TrialConfig, storage: str) -> dict[str, Tensor]:
    """The weights that `space.encoder` names. DataError: they are not there, or not what it says of them."""
    encoder = _space(trial).encoder
    try:
        if isinstance(encoder, FileEncoder):
            return _of_file(trial, encoder)
        assert isinstance(encoder, TrialEncoder)
        return _of_checkpoint(encoder, Store(storage))
    except ValueError as error:
        raise DataError(str(error)) from error


def _of_file(trial: TrialConfig, encoder: FileEncoder) -> dict[str, Tensor]:
    """Under our names, whoever wrote them."""
    weights, trunk = state_dict_of(encoder.weights, sha256=encoder.sha256), _space(trial).trunk
    assert trunk is not None
    return renamed(weights, trunk, side=trial.data.image_size) if is_of_diffusers(weights) else weights


def _of_checkpoint(encoder: TrialEncoder, store: Store) -> dict[str, Tensor]:
    rule = f"`space.encoder` must have a whole checkpoint at {encoder.images:,} images in the trial's storage"
    commit = store.latest(encoder.trial, most_images=encoder.images)
    if commit is None or commit.images != encoder.images:
        raise ValueError(f"{rule}, got {f'{commit.images:,} images' if commit else 'none'} of {encoder.trial}; train it there")
    try:
        parts = store.read(commit).tensors
    except CheckpointError as error:
        raise ValueError(f"{rule}: {error}; train {encoder.trial} again") from error
    if (part := part_of(encoder.weights)) not in parts:
        raise ValueError(f"`space.encoder.weights` must name weights of {encoder.trial}, got {encoder.weights}; try raw")
    return parts[part]


def packed(weights: dict[str, Tensor], statistics: CodeStatistics) -> bytes:
    """The content of `FILE`."""
    named = {f"{_WEIGHTS}{name}": tensor.contiguous() for name, tensor in weights.items()}
    return save({**named, **{f"{_STATISTICS}{name}": value.contiguous() for name, value in statistics._asdict().items()}})


def latent_of(trial: TrialConfig, content: bytes) -> Latent:
    """What a trial sees, from the content of `FILE`. ValueError: it is none, or of another network."""
    try:
        tensors = load(content)
        found = {name: tensors.pop(f"{_STATISTICS}{name}") for name in CodeStatistics._fields}
    except (SafetensorError, KeyError) as error:
        rule = f"{FILE} must be what a latent trial has written"
        raise ValueError(f"{rule}, got a damaged one ({error}); copy it again") from error
    weights = {name.removeprefix(_WEIGHTS): tensor for name, tensor in tensors.items()}
    return Latent(_space(trial), autoencoder_of(trial, weights), CodeStatistics(**found))


def kept_autoencoder(trial: TrialConfig, storage: str) -> bytes:
    """The content of `FILE` that a latent trial's own training has left in its storage. DataError: there is none."""
    folder = latents_folder(trial, storage)
    try:
        return folder.read(FILE)
    except FileNotFoundError as error:
        rule = "a latent trial's storage must hold the autoencoder that it was trained with"
        raise DataError(f"{rule}, got nothing at {folder.address(FILE)}; train a trial of its kind there again") from error


def _space(trial: TrialConfig) -> LatentSpace:
    assert isinstance(trial.space, LatentSpace), "a latent trial"
    return trial.space
