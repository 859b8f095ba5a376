"""Checkpoints that commit: an attempt writes below its own prefix, then creates a marker that only one writer can create.

    {uri}/trials/{trial_id}/a{attempt:04d}/{images:012d}/{part}.safetensors and state.json
    {uri}/trials/{trial_id}/commits/{images:012d}.json
    {uri}/trials/{trial_id}/collected/{images:012d}      a note: this checkpoint was removed since nobody needed it

A worker that was given up for dead may go on writing: it can lose a race, but it cannot damage what another has committed.
One attempt number belongs to one process. What is damaged, marker or file, is passed over by who reads, and replaced by who
commits the same image count again.
"""

import errno
import hashlib
import json
import logging
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from trainables.config.fields import Frozen, NonNegativeInt
from trainables.storage.folder import Folder
from trainables.storage.remote import PATIENCE, Patience

_log = logging.getLogger(__name__)
_STATE = "state.json"
_DIGITS = 12
_PART = re.compile(rf"a(?P<attempt>\d{{4,}})/(?P<images>\d{{{_DIGITS}}})/[^/]+")
_MARKER = re.compile(rf"commits/(?P<images>\d{{{_DIGITS}}})\.json")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class CheckpointError(ValueError):
    """A committed file is missing or is not what was committed."""


class PartFile(Frozen):
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
    parts: tuple[PartFile, ...]

    @property
    def folder(self) -> str:
        """Where the parts lie, below the store's address."""
        return f"{_attempt(self.trial_id, self.attempt)}/{self.images:0{_DIGITS}d}"


class Damage(Frozen):
    """A checkpoint that was committed and is not whole any more."""

    images: NonNegativeInt
    why: str
    """In one sentence, with the address of what is damaged."""


@dataclass(frozen=True)
class Checkpoint:
    """What was saved. `tensors`: part -> name -> tensor, on the CPU; `state`: everything else, as JSON values."""

    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


@dataclass(frozen=True)
class Saved:
    """The files that one attempt has written at one image count."""

    trial_id: str
    attempt: int
    images: int
    size: int
    """Bytes, with the marker's where they are committed."""
    standing: Literal["committed", "unclear", "uncommitted"]
    """Unclear: there is a marker for this image count, but it cannot be read, and may be of these files."""

    @property
    def folder(self) -> str:
        """Where the files lie, below the store's address."""
        return f"{_attempt(self.trial_id, self.attempt)}/{self.images:0{_DIGITS}d}"


class Store:
    """The checkpoints below one folder or URI."""

    def __init__(self, uri: str, *, patience: Patience = PATIENCE) -> None:
        self._folder = Folder(uri, patience=patience)

    @property
    def uri(self) -> str:
        """Its address."""
        return self._folder.uri

    def address(self, commit: Commit | Saved) -> str:
        """The full address of a checkpoint's folder."""
        return self._folder.address(commit.folder)

    def folder(self, trial_id: str, attempt: int) -> str:
        """The full address of an attempt's own folder."""
        return self._folder.address(_attempt(trial_id, attempt))

    def latest(self, trial_id: str, *, most_images: int) -> Commit | None:
        """The committed checkpoint with the most images, at most `most_images`. Damaged markers are passed over."""
        found = self.newest_first(trial_id, most_images=most_images)
        return next((commit for commit in found if isinstance(commit, Commit)), None)

    def newest_first(self, trial_id: str, *, most_images: int) -> Iterator[Commit | Damage]:
        """What the markers say, those with the most images first; a marker that cannot be read is a damage."""
        for images in reversed(self._marked(trial_id)):
            if images <= most_images and (found := self._marker(trial_id, images)) is not None:
                yield found

    def collected(self, trial_id: str) -> frozenset[int]:
        """Image counts whose checkpoints were removed, and noted so."""
        return frozenset(int(name) for name in self._folder.names(f"trials/{trial_id}/collected") if name.isdecimal())

    def forget(self, trial_id: str, images: int, *, note: bool) -> None:
        """Remove the marker of what is damaged; its files then count as left behind. `note`: that it was there."""
        if note:
            self.note_collected(trial_id, images)
        self._folder.remove(_marker(trial_id, images))

    def note_collected(self, trial_id: str, images: int) -> None:
        """Note that a checkpoint is not there any more since nobody needed it: who needs it after all trains it again."""
        self._folder.put(f"trials/{trial_id}/collected/{images:0{_DIGITS}d}", b"")

    def write(
        self, trial_id: str, *, attempt: int, images: int, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any]
    ) -> Commit:
        """Save and commit. Where somebody has committed this image count before, theirs is returned and stands, if it is whole.

        OSError: the storage fails; nothing is committed, and what was written to a full disk is deleted.
        """
        if images in self._marked(trial_id) and (theirs := self._whole(trial_id, images)) is not None:
            return theirs
        commit = Commit(trial_id=trial_id, attempt=attempt, images=images, parts=())
        commit = commit.model_copy(update={"parts": self._put_all(commit, tensors, state)})
        while not self._folder.create(_marker(trial_id, images), commit.model_dump_json(indent=1).encode()):
            if (theirs := self._whole(trial_id, images)) is not None:
                if theirs.attempt != attempt:
                    self._folder.remove_folder(commit.folder)
                return theirs
            self._folder.remove(_marker(trial_id, images))
        return commit

    def check(self, commit: Commit) -> None:
        """Read every file and compare it with its hash. CheckpointError: one, which it names, is not what was committed."""
        for part in commit.parts:
            self._get(commit, part)

    def read(self, commit: Commit) -> Checkpoint:
        """The saved tensors and state. CheckpointError: a file, which it names, is not what was committed."""
        contents = {part.file: self._get(commit, part) for part in commit.parts}
        state = json.loads(contents.pop(_STATE))
        tensors = {file.removesuffix(".safetensors"): self._tensors(commit, file, raw) for file, raw in contents.items()}
        return Checkpoint(tensors=tensors, state=state)

    def is_final(self, commit: Commit) -> bool:
        """Whether it is of a trial's end at some budget; so is one whose state cannot be read."""
        try:
            state = next(self._get(commit, part) for part in commit.parts if part.file == _STATE)
            return bool(json.loads(state).get("final", True))
        except (CheckpointError, StopIteration):
            return True

    def remove(self, commit: Commit) -> None:
        """Delete a checkpoint that is no longer needed, and nothing that somebody else has committed in its place.

        The marker goes first: a crash on the way leaves files that nobody counts on.
        """
        if self._commit(commit.trial_id, commit.images) == commit:
            self._folder.remove(_marker(commit.trial_id, commit.images))
            self._folder.remove_folder(commit.folder)

    def saved(self, trial_id: str) -> list[Saved]:
        """All that is stored of a trial's checkpoints, whole or not, by image count and attempt."""
        sizes = self._folder.sizes(f"trials/{trial_id}")
        part_bytes: dict[tuple[int, int], int] = {}
        for name, size in sizes.items():
            if part := _PART.fullmatch(name):
                key = int(part["images"]), int(part["attempt"])
                part_bytes[key] = part_bytes.get(key, 0) + size
        markers = {int(marker["images"]): size for name, size in sizes.items() if (marker := _MARKER.fullmatch(name))}
        commits = {images: self._commit(trial_id, images) for images in markers}
        # A marker whose files are gone is listed too.
        whole = {(images, commit.attempt) for images, commit in commits.items() if commit is not None}
        return [
            Saved(
                trial_id=trial_id,
                attempt=attempt,
                images=images,
                size=part_bytes.get((images, attempt), 0) + (markers[images] if (images, attempt) in whole else 0),
                standing=_standing(attempt, commit=commits.get(images), marked=images in markers),
            )
            for images, attempt in sorted(part_bytes.keys() | whole)
        ]

    def discard(self, saved: Saved) -> None:
        """Delete what `saved` listed, unless it has changed its standing since or is unclear. A marker goes first, and of what
        was committed a note stays."""
        commit = self._commit(saved.trial_id, saved.images) if saved.images in self._marked(saved.trial_id) else None
        is_its_commit = commit is not None and commit.attempt == saved.attempt
        if saved.standing == "committed" and is_its_commit:
            assert commit is not None
            self.note_collected(saved.trial_id, saved.images)
            self.remove(commit)
        elif saved.standing == "uncommitted" and not is_its_commit:
            self._folder.remove_folder(saved.folder)
        self._folder.remove_if_empty(_attempt(saved.trial_id, saved.attempt))

    def _marked(self, trial_id: str) -> list[int]:
        """Image counts that have a marker, whole or not, in rising order."""
        stems = [name.removesuffix(".json") for name in self._folder.names(f"trials/{trial_id}/commits")]
        return [int(stem) for stem in stems if len(stem) == _DIGITS and stem.isdecimal()]

    def _commit(self, trial_id: str, images: int) -> Commit | None:
        """What a marker says; None where it cannot be read."""
        found = self._marker(trial_id, images)
        return found if isinstance(found, Commit) else None

    def _marker(self, trial_id: str, images: int) -> Commit | Damage | None:
        """What a marker says; None where it has gone since it was listed."""
        name = _marker(trial_id, images)
        address = self._folder.address(name)
        try:
            commit = Commit.model_validate_json(self._folder.read(name))
        except FileNotFoundError:
            return None
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            return Damage(images=images, why=f"a commit marker must be readable, got a damaged {address} ({reason})")
        if (commit.trial_id, commit.images) != (trial_id, images):
            return Damage(images=images, why=f"a commit marker must be about its own place, got {commit.folder} in {address}")
        return commit

    def _whole(self, trial_id: str, images: int) -> Commit | None:
        """What is committed at an image count; None where that is damaged."""
        commit = self._commit(trial_id, images)
        try:
            if commit is not None:
                self.check(commit)
        except CheckpointError as error:
            _log.warning("%s; it is written anew", error)
            return None
        return commit

    def _put_all(self, commit: Commit, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> tuple[PartFile, ...]:
        """Write a checkpoint's files. Where the disk is full, those already written are deleted again."""
        try:
            parts = [self._put(commit, f"{part}.safetensors", save(_packed(named))) for part, named in tensors.items()]
            return (*parts, self._put(commit, _STATE, json.dumps(state, sort_keys=True, allow_nan=False).encode()))
        except OSError as error:
            if error.errno in _FULL:
                with suppress(OSError):
                    self._folder.remove_folder(commit.folder)
            raise

    def _put(self, commit: Commit, file: str, content: bytes) -> PartFile:
        self._folder.put(f"{commit.folder}/{file}", content)
        return PartFile(file=file, size=len(content), sha256=hashlib.sha256(content).hexdigest())

    def _get(self, commit: Commit, part: PartFile) -> bytes:
        name = f"{commit.folder}/{part.file}"
        address = self._folder.address(name)
        try:
            content = self._folder.read(name)
        except FileNotFoundError as error:
            raise CheckpointError(f"a committed file must exist, got nothing at {address}") from error
        if len(content) != part.size:
            rule = f"a committed file must keep its {part.size} bytes"
            raise CheckpointError(f"{rule}, got {len(content)} in {address}")
        if (digest := hashlib.sha256(content).hexdigest()) != part.sha256:
            rule = f"a committed file must keep its SHA-256 {part.sha256[:12]}"
            raise CheckpointError(f"{rule}, got {digest[:12]} in {address}")
        return content

    def _tensors(self, commit: Commit, file: str, content: bytes) -> dict[str, Tensor]:
        try:
            return load(content)
        except SafetensorError as error:
            address = self._folder.address(f"{commit.folder}/{file}")
            raise CheckpointError(f"a checkpoint's part must be a safetensors file, got {error} in {address}") from error


def _attempt(trial_id: str, attempt: int) -> str:
    return f"trials/{trial_id}/a{attempt:04d}"


def _marker(trial_id: str, images: int) -> str:
    return f"trials/{trial_id}/commits/{images:0{_DIGITS}d}.json"


def _standing(attempt: int, *, commit: Commit | None, marked: bool) -> Literal["committed", "unclear", "uncommitted"]:
    if commit is None:
        return "unclear" if marked else "uncommitted"
    return "committed" if commit.attempt == attempt else "uncommitted"


def _packed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU, each with memory of its own: safetensors refuses views that share it."""
    return {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
