"""What can be wrong with an array of images or labels: each fault with its own rule, value and remedy."""

import numpy as np
from numpy.typing import NDArray

from trainables.config.fields import counted

_SHAPE = "`images` must be of shape [N, S, S, 3] or [N, S, S, 1]"
_DTYPE = "`images` must be uint8, where 0 is black and 255 white"


def check_images(images: NDArray[np.generic], uri: str) -> None:
    """ValueError: no array of uint8 [N, S, S, C] with 1 or 3 channels, or one that nothing can be learned from."""
    shape = list(images.shape)
    if remedy := _shape_remedy(images.shape):
        raise ValueError(f"{_SHAPE}, got {images.dtype} {shape} in {uri}; {remedy}")
    if images.dtype != np.uint8:
        _refuse_other_numbers(images, uri)
    alike = all(np.array_equal(images[0], image) for image in images[1:])
    check_content(len(images), brightest=int(images.max()), alike=alike, uri=uri)


def check_content(count: int, *, brightest: int, alike: bool, uri: str) -> None:
    """ValueError: nothing can be learned from so many images of values 0..`brightest`; `alike`: all are the same image."""
    if brightest == 1:
        remedy = "multiply by 255 before they are made uint8"
        raise ValueError(f"{_DTYPE}, got uint8 of 0..1, which is all but black, in {uri}; {remedy}")
    if alike:
        same = "one image" if count == 1 else f"{count} times the same image"
        what = same if brightest else counted(count, "black image")
        raise ValueError(f"`images` must differ, got {what} in {uri}; look at the file and write it again")


def _shape_remedy(shape: tuple[int, ...]) -> str:
    """What to do about an array of this shape; empty where it is one of images."""
    match shape:
        case (0, *_):
            return "put images into it"
        case (count, height, width, 1 | 3) if height == width > 0 and count:
            return ""
        case (_, 1 | 3, height, width) if height == width:
            return "put channels last: images.transpose(0, 2, 3, 1)"
        case (_, height, width, 4) if height == width:
            return "leave out the transparency: images[..., :3]"
        case (_, height, width, channels) if height == width:
            return f"keep 1 or 3 of the {channels} channels"
        case (_, height, width, _):
            return f"crop or resize them to squares of one size, such as {min(height, width)}"
        case (_, height, width) if height == width:
            return "give grey images a last axis: images[..., None]"
        case (_, _, 1 | 3 | 4):
            return "that is one image; stack many of one size along a new first axis"
        case _:
            return "reshape them to images, height, width, channels"


def _refuse_other_numbers(images: NDArray[np.generic], uri: str) -> None:
    if images.dtype == np.bool_:
        raise ValueError(f"{_DTYPE}, got bool in {uri}; multiply by 255 and make them uint8")
    if not np.issubdtype(images.dtype, np.number) or np.iscomplexobj(images):
        raise ValueError(f"{_DTYPE}, got {images.dtype} in {uri}; store the pixels themselves")
    if not np.isfinite(images).all():
        raise ValueError(f"{_DTYPE}, got {images.dtype} with NaN or infinity in {uri}; find those images and leave them out")
    low, high = float(images.min()), float(images.max())
    raise ValueError(f"{_DTYPE}, got {images.dtype} of {low:g}..{high:g} in {uri}; {_scaling(low, high)}")


def _scaling(low: float, high: float) -> str:
    if low >= 0 and high <= 1:
        return "multiply by 255, round, and make them uint8"
    if low >= -1 and high <= 1:
        return "add 1, multiply by 127.5, round, and make them uint8"
    if low >= 0 and high <= 255:
        return "round, and make them uint8"
    if low >= 0 and high <= 65535:
        return "divide 16-bit values by 257, round, and make them uint8"
    return f"map {low:g}..{high:g} to 0..255, round, and make them uint8"


def check_label_array(labels: NDArray[np.generic], count: int, uri: str) -> None:
    """ValueError: no integers of shape [count]."""
    rule = f"`labels` must be integers of shape [{count}], one an image"
    got = f"got {labels.dtype} {list(labels.shape)} in {uri}"
    if labels.ndim == 2 and labels.shape[0] == count:
        remedy = "labels.ravel()" if labels.shape[1] == 1 else "write a class as its number: labels.argmax(1)"
        raise ValueError(f"{rule}, {got}; {remedy}")
    if labels.shape != (count,):
        raise ValueError(f"{rule}, {got}; give each image its label, or leave them out for one class")
    if labels.dtype.kind in "US":
        remedy = "number the classes, numpy.unique(labels, return_inverse=True), and store their texts as class_names"
        raise ValueError(f"{rule}, {got}; {remedy}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{rule}, {got}; make whole numbers integers, or leave them out for one class")
