"""What a run begins from: the images that its trial was planned on, and the newest checkpoint that is whole, else the parent's
weights, else the seed's."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from trainables.assignment import Assignment
from trainables.config.average import MODEL
from trainables.config.evaluation_rules import check_heldout
from trainables.config.recipe import Parent
from trainables.data import DataError, ImageSet, open_images
from trainables.data.holdout import Holdout
from trainables.evaluation.score import check_files
from trainables.methods.guiding import guide_of
from trainables.process_caches import ProcessCache
from trainables.report import WeightsFrom
from trainables.storage.checkpoint import CheckpointError, Commit, Damage, Store
from trainables.storage.whole import Whole, newest_whole
from trainables.training.learner import Learner
from trainables.training.truths import check_truths
from trainables.training.workers import Workers

_image_sets: ProcessCache[tuple[str, Holdout | None], ImageSet] = ProcessCache("image sets", most=1)
"""By address and what is held out."""


@dataclass(frozen=True)
class Beginning:
    """What a run has begun from."""

    weights: WeightsFrom
    damages: tuple[Damage, ...] = ()
    """What the trial cannot go on from, though it was saved."""
    interim: tuple[Commit, ...] = ()
    """The last checkpoints that are not of a trial's end, in order."""
    rung_due: bool = False
    """Whether the rung at this image count is still to be measured."""


def planned_images(assignment: Assignment) -> ImageSet:
    """The image set that the trial was planned on; a kept one of other content is read anew. DataError: it still differs, or a
    file that the trial or an evaluation names is not what it says."""
    key, planned = (assignment.data, assignment.holdout), assignment.trial.data.digest
    read = partial(open_images, assignment.data, holdout=assignment.holdout)
    if _image_sets.get(key, make=read).fingerprint != planned:
        _image_sets.clear()
    images = _image_sets.get(key, make=read)
    if images.fingerprint != planned:
        rule = "the data must be what the trial was planned on"
        raise DataError(f"{rule}, got digest {images.fingerprint}, planned {planned}; plan again")
    for evaluation in assignment.evaluations:
        check_heldout(evaluation, heldout=len(images.heldout))
    _check_files(assignment, images)
    return images


def _check_files(assignment: Assignment, images: ImageSet) -> None:
    try:
        check_truths(assignment.trial)
        _check_guides(assignment)
        for evaluation in assignment.evaluations:
            check_files(evaluation, images)
    except ValueError as error:
        raise DataError(str(error)) from None


def _check_guides(assignment: Assignment) -> None:
    """ValueError: a classifier that an evaluation names is not in the storage, or cannot guide the trial."""
    trial = assignment.trial
    for evaluation in assignment.evaluations if trial.draws else ():
        guide_of(evaluation, trial, storage=assignment.storage, device=torch.device(trial.device))


def begin(assignment: Assignment, learner: Learner, store: Store, *, workers: Workers) -> Beginning:
    """Bring the learner to where its trial goes on.

    DataError: what was finished before, or the parent's checkpoint, is not in the storage, and nothing says why.
    """
    trial = assignment.trial
    found = newest_whole(store, trial.id, most_images=assignment.images) if workers.lead else None
    told = (found.commit, _set_backs(found, assignment, store)) if found is not None else (None, ())
    commit, damages = workers.agree(told)
    _check_goes_on(assignment, commit, damages)
    if commit is not None:
        checkpoint = (found.checkpoint if found is not None else None) or store.read(commit)
        learner.restore(checkpoint.tensors, checkpoint.state)
        interim = () if checkpoint.state["final"] else (*_before(found, store), commit)
        return Beginning("checkpoint", damages, interim, rung_due=checkpoint.state.get("rung_due", False))
    if trial.parent is None:
        return Beginning("seed", damages)
    learner.begin_from(_weights_of(trial.parent, store, workers=workers), parts=trial.parent.parts)
    return Beginning("parent", damages)


def _set_backs(found: Whole, assignment: Assignment, store: Store) -> tuple[Damage, ...]:
    """Why the trial does not go on from what it had: what is damaged, or was collected after its end."""
    had, images = assignment.resume_from, found.commit.images if found.commit is not None else 0
    if images >= had or had not in store.collected(assignment.trial.id):
        return found.damages
    gone = Damage(images=had, why=f"the checkpoint at {had} images was removed, by `retention` or `gc`")
    return (gone, *found.damages)


def _check_goes_on(assignment: Assignment, commit: Commit | None, damages: tuple[Damage, ...]) -> None:
    had, images = assignment.resume_from, commit.images if commit is not None else 0
    if images < had and not any(damage.images >= had for damage in damages):
        rule = f"a longer budget must go on from the checkpoint at {had} images"
        got = f"one at {images}" if commit is not None else "none"
        raise DataError(f"{rule}, got {got} in {assignment.storage}; bring it back, or plan other seeds")


def _before(found: Whole | None, store: Store) -> tuple[Commit, ...]:
    """The checkpoint before the one that the trial goes on from, where that is not of an end."""
    earlier = found.earlier if found is not None else None
    return (earlier,) if earlier is not None and not store.is_final(earlier) else ()


def _weights_of(parent: Parent, store: Store, *, workers: Workers) -> dict[str, Tensor]:
    """A parent's weights, not averaged. DataError where its checkpoint is not in the trial's own storage."""
    latest = store.latest(parent.trial, most_images=parent.images) if workers.lead else None
    commit = workers.agree(latest)
    if commit is None or commit.images != parent.images:
        rule = f"`parent` must have a checkpoint at {parent.images} images in the trial's storage"
        got = f"{commit.images} images" if commit else "none"
        raise DataError(f"{rule}, got {got} of {parent.trial}; train it there first")
    try:
        return store.read(commit).tensors[MODEL]
    except CheckpointError as error:
        raise DataError(f"the checkpoint of `parent` must be whole: {error}; train it again") from error
