"""An .npz file of images: `images` [N, S, S, 3 or 1] uint8; optional `labels` [N], `heldout` [K], `class_names` [C]."""

from typing import TYPE_CHECKING

from trainables.data.description import DataDescription
from trainables.data.holdout import Holdout
from trainables.data.image_set import ImageSet

if TYPE_CHECKING:
    from trainables.data.arrays import Arrays


class NpzReader:
    """Files by path or URI, read whole into memory."""

    def reads(self, uri: str) -> bool:
        """Always true: `describe` and `open` refuse what is no readable .npz file."""
        return True

    def describe(self, uri: str, *, holdout: Holdout | None) -> DataDescription:
        return _arrays(uri, holdout=holdout, mapped=True).description(uri)

    def open(self, uri: str, *, holdout: Holdout | None) -> ImageSet:
        # Here and not at the top: it starts torch, and describing does without.
        from trainables.data.in_memory import ArrayImages

        return ArrayImages.of(_arrays(uri, holdout=holdout))


def _arrays(uri: str, *, holdout: Holdout | None, mapped: bool = False) -> "Arrays":
    # Here and not at the top: they start numpy, which the registry of readers does without.
    from trainables.data.arrays import checked_arrays
    from trainables.data.npz_file import npz_members

    return checked_arrays(npz_members(uri, mapped=mapped), uri, holdout=holdout)
