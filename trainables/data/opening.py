"""An image set by its address: what it is, and its pixels."""

from trainables.data.description import DataDescription
from trainables.data.errors import DataError
from trainables.data.holdout import Holdout
from trainables.data.image_set import ImageSet
from trainables.data.readers.registry import reader_of


def describe(uri: str, *, holdout: Holdout | None = None) -> DataDescription:
    """Describe a packaged set (from its record, at once) or what lies at an address (which may be read whole).

    `holdout` is the number of images to split off where the set brings no held-out list. ValueError, with rule, value and
    remedy: the set cannot be read or does not fit.
    """
    return reader_of(uri).describe(uri, holdout=holdout)


def open_images(uri: str, *, holdout: Holdout | None = None) -> ImageSet:
    """The set that `describe` describes, with its pixels at hand. DataError: what `describe` raises ValueError for."""
    try:
        return reader_of(uri).open(uri, holdout=holdout)
    except ValueError as error:
        raise DataError(str(error)) from error
