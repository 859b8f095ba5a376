"""The training images: what a set is (`describe`, without torch), and its pixels (`open_images`, which starts torch)."""

from trainables.data.description import DataDescription
from trainables.data.errors import DataError
from trainables.data.image_set import ImageSet
from trainables.data.opening import describe, open_images

__all__ = ["DataDescription", "DataError", "ImageSet", "describe", "open_images"]
