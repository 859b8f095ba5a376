"""The training images: what a set is (`describe`, without torch), and its pixels (`open_images`)."""

from trainables.data.description import DataDescription, describe
from trainables.data.errors import DataError
from trainables.data.image_set import ImageSet

__all__ = ["DataDescription", "DataError", "ImageSet", "describe", "open_images"]


def open_images(uri: str, *, holdout: int | None = None) -> ImageSet:
    """The set that `describe` describes, with its pixels in memory. Raises DataError where `describe` raises ValueError."""
    # Here and not at the top: it starts torch, and planning a sweep must not.
    from trainables.data.in_memory import ArrayImages

    try:
        return ArrayImages.opened(uri, holdout=holdout)
    except ValueError as error:
        raise DataError(str(error)) from error
