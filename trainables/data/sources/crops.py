"""From an image of any shape to a square of one size."""

from collections.abc import Callable

from PIL import Image

from trainables.data.prepared.settings import Crop
from trainables.data.sources.source import BadImage

Resample = Image.Resampling


def adm(image: Image.Image, size: int) -> Image.Image:
    """Halve by BOX while the short side is at least twice `size`, bring it to `size` by BICUBIC, cut the centre out.

    Source: `center_crop_arr` of guided-diffusion (Dhariwal and Nichol 2021), which JiT, DiT and EDM's ImageNet use.
    """
    while min(image.size) >= 2 * size:
        image = image.resize((image.width // 2, image.height // 2), resample=Resample.BOX)
    scale = size / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), resample=Resample.BICUBIC)
    return _cut(image, size)


def centre(image: Image.Image, size: int) -> Image.Image:
    """Cut the largest centre square out, and bring it to `size` by LANCZOS (EDM's `center-crop`)."""
    return _cut(image, min(image.size)).resize((size, size), resample=Resample.LANCZOS)


def pad(image: Image.Image, size: int) -> Image.Image:
    """Bring the long side to `size` by LANCZOS; the rest is black, in equal parts on both sides."""
    scale = size / max(image.size)
    inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    square = Image.new(image.mode, (size, size))
    square.paste(image.resize(inner, resample=Resample.LANCZOS), ((size - inner[0]) // 2, (size - inner[1]) // 2))
    return square


CROPS: dict[Crop, Callable[[Image.Image, int], Image.Image]] = {"adm": adm, "centre": centre, "pad": pad}


def checked_square(image: Image.Image, size: int | None) -> Image.Image:
    """An image that is a square of `size` already. BadImage: it is not."""
    if image.width != image.height or size not in (None, image.width):
        wanted = "a square" if size is None else f"{size} x {size}"
        raise BadImage(f"{image.width} x {image.height} pixels, not {wanted}")
    return image


def _cut(image: Image.Image, size: int) -> Image.Image:
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))
