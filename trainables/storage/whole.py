"""From which checkpoint a trial goes on: the newest that is whole. What is damaged before it is passed over, and told."""

from dataclasses import dataclass

from trainables.storage.checkpoint import Checkpoint, CheckpointError, Commit, Damage, Store


@dataclass(frozen=True)
class Whole:
    """What a trial goes on from."""

    commit: Commit | None
    """None where nothing whole is committed."""
    checkpoint: Checkpoint | None
    damages: tuple[Damage, ...]
    """What was passed over, the newest first."""
    earlier: Commit | None
    """The one before `commit`, were that to be damaged later; its files have not been read."""


def newest_whole(store: Store, trial_id: str, *, most_images: int) -> Whole:
    """Read the newest checkpoint of a trial, at most `most_images`, of which every file is as it was committed.

    OSError: the storage fails; what it holds is not known then.
    """
    damages: list[Damage] = []
    found = store.newest_first(trial_id, most_images=most_images)
    for commit in found:
        if isinstance(commit, Damage):
            damages.append(commit)
            continue
        try:
            checkpoint = store.read(commit)
        except CheckpointError as error:
            damages.append(Damage(images=commit.images, why=str(error)))
            continue
        earlier = next((other for other in found if isinstance(other, Commit)), None)
        return Whole(commit, checkpoint, tuple(damages), earlier)
    return Whole(None, None, tuple(damages), None)
