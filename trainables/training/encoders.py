"""The autoencoder of a latent trial, with the statistics of its codes: one file below the storage, which goes with a model."""

import hashlib
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from trainables.config.average import part_of
from trainables.config.fields import Frozen, content_hash, identity
from trainables.config.space import FileEncoder, LatentSpace, TrialEncoder
from trainables.config.trial import TrialConfig
from trainables.data.errors import DataError
from trainables.data.prepared.manifest import Shard, StoredFile
from trainables.data.prepared.prepared_set import checked_content
from trainables.evaluation.features.weights import state_dict_of
from trainables.networks.latent import CodeStatistics, Latent, autoencoder_of
from trainables.networks.network import of_model
from trainables.official.diffusers_autoencoder import is_of_diffusers, renamed
from trainables.storage.checkpoint import CheckpointError, Store
from trainables.storage.folder import Folder

MANIFEST = "codes.json"
_WEIGHTS, _STATISTICS = "autoencoder.", "statistics."


class CodesManifest(Frozen):
    """What lies in a folder of codes, written last: the files never change."""

    digest: str
    """The folder's own name: what is encoded, and by what."""
    shards: tuple[Shard, ...]
    """`.npy` of float32 [n, 2, Z', h, w]: the codes of an image and of its mirror image, in the order of the training split."""
    autoencoder: StoredFile
    """The autoencoder with the statistics of these codes."""


def latents_folder(trial: TrialConfig, storage: str) -> Folder:
    """Where the codes of its training split lie: one place for all trials that see the same codes."""
    space, data = _space(trial), trial.data
    assert space.trunk is not None
    seen: dict[str, Any] = {"data": data.digest, "encoder": identity(space.encoder), "trunk": identity(space.trunk)}
    return Folder(f"{storage.rstrip('/')}/latents/{content_hash(seen)}")


def read_manifest(folder: Folder) -> CodesManifest | None:
    """The record of the codes in a folder; None where there is none. DataError: it is damaged."""
    try:
        return CodesManifest.model_validate_json(folder.read(MANIFEST))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        rule = "the record of encoded images must be whole"
        raise DataError(f"{rule}, got a damaged {folder.address(MANIFEST)}; delete that folder, and go on") from error


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
    return of_model(parts[part])


def packed(weights: dict[str, Tensor], statistics: CodeStatistics) -> bytes:
    """The content of the file that a manifest's `autoencoder` names."""
    named = {f"{_WEIGHTS}{name}": tensor.contiguous() for name, tensor in weights.items()}
    return save({**named, **{f"{_STATISTICS}{name}": value.contiguous() for name, value in statistics._asdict().items()}})


def write_autoencoder(folder: Folder, content: bytes) -> StoredFile:
    """Write it under a name with the start of its hash, so that nobody replaces what a manifest names."""
    sha256 = hashlib.sha256(content).hexdigest()
    file = StoredFile(name=f"autoencoder-{sha256[:8]}.safetensors", bytes=len(content), sha256=sha256)
    folder.put(file.name, content)
    return file


def latent_of(trial: TrialConfig, content: bytes, *, device: torch.device | str) -> Latent:
    """What a trial sees, from what was `packed`, on a device. ValueError: it is none, or of another network."""
    try:
        tensors = load(content)
        found = {name: tensors.pop(f"{_STATISTICS}{name}") for name in CodeStatistics._fields}
    except (SafetensorError, KeyError) as error:
        rule = "a latent trial's autoencoder must be the file that was written with its codes"
        raise ValueError(f"{rule}, got a damaged one ({error}); copy it again") from error
    weights = {name.removeprefix(_WEIGHTS): tensor for name, tensor in tensors.items()}
    return Latent(_space(trial), autoencoder_of(trial, weights, device=device), CodeStatistics(**found))


def kept_autoencoder(trial: TrialConfig, storage: str) -> bytes:
    """What was `packed` with the codes of a latent trial in its storage. DataError: nothing is there, or it is damaged."""
    folder = latents_folder(trial, storage)
    manifest = read_manifest(folder)
    if manifest is None:
        rule = "a latent trial's storage must hold the autoencoder that it was trained with"
        raise DataError(f"{rule}, got nothing at {folder.address(MANIFEST)}; train a trial of its kind there again")
    try:
        return checked_content(folder, manifest.autoencoder)
    except ValueError as error:
        raise DataError(str(error)) from error


def _space(trial: TrialConfig) -> LatentSpace:
    assert isinstance(trial.space, LatentSpace), "a latent trial"
    return trial.space
