"""Checkpoints that commit: an attempt writes below its own prefix, then creates a marker that only one writer can create.

    {uri}/trials/{trial_id}/a{attempt:04d}/{images:012d}/{part}.safetensors and state.json
    {uri}/trials/{trial_id}/commits/{images:012d}.json

A worker that was given up for dead may go on writing: it can lose a race, but it cannot damage what another has committed.
One attempt number belongs to one process.
"""

import hashlib
import json
import logging
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from trainables.fields import Frozen, NonNegativeInt
from trainables.storage import Folder

_log = logging.getLogger(__name__)
_STATE = "state.json"
_DIGITS = 12


class CheckpointError(ValueError):
    """A committed file is missing or is not what was committed."""


class Part(Frozen):
    """One file of a checkpoint, as it was written."""

    file: str
    size: NonNegativeInt
    """Bytes."""
    sha256: str


class Commit(Frozen):
    """A complete checkpoint: the content of its marker."""

    format: Literal[1] = 1
    trial_id: str
    attempt: NonNegativeInt
    images: NonNegativeInt
    """Images trained on."""
    parts: tuple[Part, ...]

    @property
    def folder(self) -> str:
        """Where the parts lie, below the store's address."""
        return f"{_attempt(self.trial_id, self.attempt)}/{self.images:0{_DIGITS}d}"


@dataclass(frozen=True)
class Checkpoint:
    """What was saved. `tensors`: part -> name -> tensor, on the CPU; `state`: everything else, as JSON values."""

    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


class Store:
    """The checkpoints below one folder or URI."""

    def __init__(self, uri: str) -> None:
        self._folder = Folder(uri)

    def address(self, commit: Commit) -> str:
        """The full address of a checkpoint's folder."""
        return self._folder.address(commit.folder)

    def folder(self, trial_id: str, attempt: int) -> str:
        """The full address of an attempt's own folder."""
        return self._folder.address(_attempt(trial_id, attempt))

    def latest(self, trial_id: str, *, most_images: int) -> Commit | None:
        """The committed checkpoint with the most images, at most `most_images`. Damaged markers are passed over."""
        marked = (images for images in reversed(self._marked(trial_id)) if images <= most_images)
        return next((commit for images in marked if (commit := self._commit(trial_id, images))), None)

    def write(
        self, trial_id: str, *, attempt: int, images: int, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any]
    ) -> Commit:
        """Save and commit. Where somebody has committed this image count before, theirs is returned and stands.

        Raises CheckpointError where their marker cannot be read, OSError where the storage fails (nothing is committed then).
        """
        if images in self._marked(trial_id):
            return self._theirs(trial_id, images)
        commit = Commit(trial_id=trial_id, attempt=attempt, images=images, parts=())
        parts = [self._put(commit, f"{part}.safetensors", save(_packed(named))) for part, named in tensors.items()]
        parts.append(self._put(commit, _STATE, json.dumps(state, sort_keys=True, allow_nan=False).encode()))
        commit = commit.model_copy(update={"parts": tuple(parts)})
        if self._folder.create(_marker(trial_id, images), commit.model_dump_json(indent=1).encode()):
            return commit
        theirs = self._theirs(trial_id, images)
        if theirs.attempt != attempt:
            self._folder.remove_folder(commit.folder)
        return theirs

    def read(self, commit: Commit) -> Checkpoint:
        """The saved tensors and state. Raises CheckpointError, naming the file, where one is not what was committed."""
        contents = {part.file: self._get(commit, part) for part in commit.parts}
        state = json.loads(contents.pop(_STATE))
        tensors = {file.removesuffix(".safetensors"): self._tensors(commit, file, raw) for file, raw in contents.items()}
        return Checkpoint(tensors=tensors, state=state)

    def remove(self, commit: Commit) -> None:
        """Delete a checkpoint that is no longer needed, and nothing that somebody else has committed in its place.

        The marker goes first: a crash on the way leaves files that nobody counts on.
        """
        if self._commit(commit.trial_id, commit.images) == commit:
            self._folder.remove(_marker(commit.trial_id, commit.images))
            self._folder.remove_folder(commit.folder)

    def _marked(self, trial_id: str) -> list[int]:
        """Image counts that have a marker, whole or not, in rising order."""
        stems = [name.removesuffix(".json") for name in self._folder.names(f"trials/{trial_id}/commits")]
        return [int(stem) for stem in stems if len(stem) == _DIGITS and stem.isdecimal()]

    def _commit(self, trial_id: str, images: int) -> Commit | None:
        marker = _marker(trial_id, images)
        try:
            commit = Commit.model_validate_json(self._folder.read(marker))
        except (ValidationError, FileNotFoundError) as error:
            _log.warning("no checkpoint at %s: %s", self._folder.address(marker), error)
            return None
        if (commit.trial_id, commit.images) != (trial_id, images):
            _log.warning("no checkpoint at %s: it is about %s", self._folder.address(marker), commit.folder)
            return None
        return commit

    def _theirs(self, trial_id: str, images: int) -> Commit:
        commit = self._commit(trial_id, images)
        if commit is None:
            rule, marker = "a commit marker must be readable", self._folder.address(_marker(trial_id, images))
            raise CheckpointError(f"{rule}, got a damaged {marker}; delete it and run again")
        return commit

    def _put(self, commit: Commit, file: str, content: bytes) -> Part:
        self._folder.put(f"{commit.folder}/{file}", content)
        return Part(file=file, size=len(content), sha256=hashlib.sha256(content).hexdigest())

    def _get(self, commit: Commit, part: Part) -> bytes:
        name = f"{commit.folder}/{part.file}"
        address = self._folder.address(name)
        try:
            content = self._folder.read(name)
        except FileNotFoundError as error:
            raise CheckpointError(f"a committed file must exist, got nothing at {address}; {self._remedy(commit)}") from error
        if len(content) != part.size:
            rule = f"a committed file must keep its {part.size} bytes"
            raise CheckpointError(f"{rule}, got {len(content)} in {address}; {self._remedy(commit)}")
        if (found := hashlib.sha256(content).hexdigest()) != part.sha256:
            rule = f"a committed file must keep its SHA-256 {part.sha256[:12]}"
            raise CheckpointError(f"{rule}, got {found[:12]} in {address}; {self._remedy(commit)}")
        return content

    def _tensors(self, commit: Commit, file: str, content: bytes) -> dict[str, Tensor]:
        try:
            return load(content)
        except SafetensorError as error:
            address = self._folder.address(f"{commit.folder}/{file}")
            raise CheckpointError(f"a checkpoint's part must be a safetensors file, got {error} in {address}") from error

    def _remedy(self, commit: Commit) -> str:
        return f"delete {self._folder.address(_marker(commit.trial_id, commit.images))} to go on from an earlier checkpoint"


def _attempt(trial_id: str, attempt: int) -> str:
    return f"trials/{trial_id}/a{attempt:04d}"


def _marker(trial_id: str, images: int) -> str:
    return f"trials/{trial_id}/commits/{images:0{_DIGITS}d}.json"


def _packed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU, each with memory of its own: safetensors refuses views that share it."""
    return {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
