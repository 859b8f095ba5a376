"""From a file's bytes to the pixels of a prepared image: the rules of the table in docs/data.md, one function each."""

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from trainables.data.prepared.settings import Channels, PrepareSettings
from trainables.data.sources.crops import CROPS, checked_square
from trainables.data.sources.source import BadImage, Content

try:
    import simplejpeg
except ImportError:  # an extra: Pillow gives the same pixels, at half the speed
    simplejpeg = None

MOST_PIXELS = 178_956_970
"""An image of more is taken for a decompression bomb; Pillow's own limit."""
_MODES: dict[Channels, str] = {"rgb": "RGB", "grey": "L"}
_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
_WHITE = (255, 255, 255, 255)


def decoded(content: Content, settings: PrepareSettings) -> NDArray[np.uint8]:
    """The pixels [S, S, 1 or 3] of an image as the settings ask for them. BadImage: by the rules, it is none."""
    image = _opened(content) if isinstance(content, bytes) else _of_pixels(content)
    image = in_mode(image, _MODES[settings.channels])
    if settings.image_size is None or settings.crop == "none":
        image = checked_square(image, settings.image_size)
    else:
        image = CROPS[settings.crop](image, settings.image_size)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels.reshape(*pixels.shape[:2], -1)


def size_of(content: Content) -> tuple[int, int]:
    """Width and height as they are shown, from an image's head alone. BadImage: it is none."""
    if not isinstance(content, bytes):
        return content.shape[1], content.shape[0]
    with _header(content) as image:
        turned = Image.Image.getexif(image).get(0x0112, 1) >= 5  # a PNG's own would decode the pixels first
        return (image.height, image.width) if turned else image.size


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    """Bring an image of any mode to RGB or L: transparency over white, 16 bits to 8 by rounding."""
    if image.mode in ("I;16", "I;16B", "I;16L", "I"):
        image = _of_16_bits(image)
    elif image.mode == "F":
        raise BadImage("32-bit floats have no range of their own; write them as 8 or 16 bits")
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image)
    return image if image.mode == mode else image.convert(mode)


def _of_16_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise BadImage(f"values of {values.min()}..{values.max()} are beyond 16 bits")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _opened(content: bytes) -> Image.Image:
    with _header(content) as image:
        try:
            return ImageOps.exif_transpose(_loaded(image, content))
        except (OSError, SyntaxError, ValueError, IndexError, EOFError, MemoryError, Image.DecompressionBombError) as error:
            raise BadImage(f"it is cut off or damaged ({error})") from None


def _loaded(image: Image.Image, content: bytes) -> Image.Image:
    """With its pixels: a JPEG's by simplejpeg where it is installed and takes it, all others by Pillow."""
    if simplejpeg is None or image.format != "JPEG" or image.mode not in ("RGB", "L"):
        image.load()
        return image
    try:
        pixels = simplejpeg.decode_jpeg(content, colorspace="RGB" if image.mode == "RGB" else "GRAY")
    except ValueError:
        image.load()  # says what is wrong, or takes what simplejpeg does not
        return image
    faster = Image.fromarray(pixels if image.mode == "RGB" else pixels[..., 0])
    faster.info, faster._exif = image.info, image.getexif()
    return faster


def _header(content: bytes) -> Image.Image:
    """An image whose pixels are not decoded yet."""
    if not content:
        raise BadImage("an empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content))
    except Image.DecompressionBombError:
        raise BadImage(f"more than {MOST_PIXELS:,} pixels") from None
    except UnidentifiedImageError:
        raise BadImage("no image that Pillow knows") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise BadImage(f"it is cut off or damaged ({error})") from None
    if image.width * image.height > MOST_PIXELS:
        raise BadImage(f"more than {MOST_PIXELS:,} pixels")
    return image


def _of_pixels(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)


def form_of(content: Content) -> tuple[str, str]:
    """An image's size as it is shown, in words, and its mode as Pillow calls it. BadImage: it is none."""
    width, height = size_of(content)
    if not isinstance(content, bytes):
        return f"{width} x {height}", "array"
    with _header(content) as image:
        return f"{width} x {height}", image.mode
