"""Every rule of the table in docs/data.md, on files that the test makes."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.documents import DOCS, rows_of
from trainables.data.prepared.settings import PrepareSettings
from trainables.data.sources import decoding
from trainables.data.sources.crops import adm, centre, pad
from trainables.data.sources.decoding import decoded, size_of
from trainables.data.sources.source import BadImage, is_image

AS_IT_IS = PrepareSettings()
GREY = PrepareSettings(channels="grey")
RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)
SHADES = RNG.integers(0, 256, (8, 8), dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def refused(content: bytes, settings: PrepareSettings = AS_IT_IS) -> str:
    with pytest.raises(BadImage) as reason:
        decoded(content, settings)
    return str(reason.value)


def exif_orientation() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    content = encoded(Image.fromarray(COLOUR), exif=exif)
    assert np.array_equal(decoded(content, AS_IT_IS), np.rot90(COLOUR, -1))
    wide = encoded(Image.new("RGB", (5, 3)), exif=exif)
    assert size_of(wide) == (3, 5)


def grey() -> None:
    content = encoded(Image.fromarray(SHADES))
    assert np.array_equal(decoded(content, AS_IT_IS), np.repeat(SHADES[..., None], 3, axis=2))
    assert np.array_equal(decoded(content, GREY), SHADES[..., None])
    luma = (COLOUR.astype(np.int64) @ np.array([19595, 38470, 7471]) + 0x8000) >> 16
    assert np.array_equal(decoded(encoded(Image.fromarray(COLOUR)), GREY)[..., 0], luma)


def palette() -> None:
    image = Image.new("P", (2, 2))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1, 1, 0])
    assert decoded(encoded(image), AS_IT_IS).reshape(4, 3).tolist() == [
        [10, 20, 30],
        [200, 100, 50],
        [200, 100, 50],
        [10, 20, 30],
    ]
    clear = decoded(encoded(image, transparency=1), AS_IT_IS).reshape(4, 3)
    assert clear.tolist() == [[10, 20, 30], [255, 255, 255], [255, 255, 255], [10, 20, 30]]


def one_bit() -> None:
    image = Image.fromarray(np.array([[True, False], [False, True]]))
    assert image.mode == "1"
    assert decoded(encoded(image), GREY)[..., 0].tolist() == [[255, 0], [0, 255]]


def sixteen_bit() -> None:
    values = np.array([[0, 128], [129, 65535]], dtype=np.uint16)
    assert decoded(encoded(Image.fromarray(values)), GREY)[..., 0].tolist() == [[0, 0], [1, 255]]
    assert "floats have no range" in refused(encoded(Image.fromarray(np.ones((2, 2), dtype=np.float32)), "TIFF"))
    beyond = encoded(Image.fromarray(np.full((2, 2), 70000, dtype=np.int32)), "TIFF")
    assert "beyond 16 bits" in refused(beyond)


def cmyk() -> None:
    content = encoded(Image.new("CMYK", (2, 2), (255, 0, 0, 0)), "TIFF")
    assert decoded(content, AS_IT_IS)[0, 0].tolist() == [0, 255, 255]


def alpha() -> None:
    image = Image.new("RGBA", (2, 2), (200, 0, 0, 255))
    image.putpixel((1, 0), (200, 0, 0, 0))
    image.putpixel((0, 1), (0, 0, 0, 51))
    assert decoded(encoded(image), AS_IT_IS).reshape(4, 3).tolist() == [
        [200, 0, 0],
        [255, 255, 255],
        [204, 204, 204],
        [200, 0, 0],
    ]
    assert decoded(encoded(Image.new("LA", (2, 2), (9, 0))), GREY).min() == 255


def animated() -> None:
    frames = [Image.new("L", (2, 2), shade) for shade in (40, 80)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decoded(content, GREY).max() == 40


def truncated() -> None:
    for kind in ("JPEG", "PNG"):
        whole = encoded(Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)), kind)
        assert "cut off or damaged" in refused(whole[: len(whole) // 2])


def zero_byte() -> None:
    assert refused(b"") == "an empty file"


def bomb() -> None:
    content = b"P5 20000 20000 255\n"
    assert refused(content) == "more than 178,956,970 pixels"


def no_image() -> None:
    assert refused(b"<html>not found</html>") == "no image that Pillow knows"


def wrong_suffix() -> None:
    """A suffix says that a file is meant for an image; its content says of which kind."""
    assert is_image("a/b.jpg")
    assert not is_image("a/b.txt")
    assert np.array_equal(decoded(encoded(Image.fromarray(COLOUR)), AS_IT_IS), COLOUR)


def hidden() -> None:
    assert not any(is_image(name) for name in (".DS_Store", "a/._b.png", "__MACOSX/a/b.png", ".cache/b.png"))


def other_size() -> None:
    content = encoded(Image.new("RGB", (4, 6)))
    assert refused(content) == "4 x 6 pixels, not a square"
    square = encoded(Image.new("RGB", (4, 4)))
    assert refused(square, PrepareSettings(image_size=8, crop="none")) == "4 x 4 pixels, not 8 x 8"


RULES: dict[str, Callable[[], None]] = {
    "EXIF orientation": exif_orientation,
    "grey": grey,
    "palette": palette,
    "1-bit": one_bit,
    "16-bit": sixteen_bit,
    "CMYK": cmyk,
    "alpha": alpha,
    "animated": animated,
    "truncated": truncated,
    "zero-byte": zero_byte,
    "decompression bomb": bomb,
    "no image": no_image,
    "wrong suffix": wrong_suffix,
    "hidden files": hidden,
    "other size": other_size,
}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_of_decoding_holds(rule: str) -> None:
    RULES[rule]()


def test_the_table_of_rules_has_a_row_for_each() -> None:
    rows = [row[0] for row in rows_of(DOCS / "data.md", heading="## What becomes of each file")]
    assert sorted(rows) == sorted([*RULES, "duplicate names", "duplicate images"])


def test_the_adm_crop_halves_by_box_and_cuts_the_centre() -> None:
    blocks = RNG.integers(0, 256, (4, 6), dtype=np.uint8)
    image = Image.fromarray(np.kron(blocks, np.ones((4, 4), dtype=np.uint8)))
    assert np.array_equal(np.asarray(adm(image, 4)), blocks[:, 1:5])  # each block of 4 x 4 is one shade: BOX is exact on it


def test_the_adm_crop_is_the_resize_and_cut_of_guided_diffusion() -> None:
    """`center_crop_arr`, written out: halvings by BOX, then BICUBIC to the short side, then the centre of the array."""
    for width, height in ((37, 50), (64, 20), (17, 17), (12, 9)):
        image = Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8))
        shrunk = image
        while min(*shrunk.size) >= 2 * 8:
            shrunk = shrunk.resize(tuple(x // 2 for x in shrunk.size), resample=Image.BOX)  # type: ignore[arg-type,attr-defined]
        scale = 8 / min(*shrunk.size)
        array = np.array(shrunk.resize(tuple(round(x * scale) for x in shrunk.size), resample=Image.BICUBIC))  # type: ignore[arg-type,attr-defined]
        top, left = (array.shape[0] - 8) // 2, (array.shape[1] - 8) // 2
        assert np.array_equal(np.asarray(adm(image, 8)), array[top : top + 8, left : left + 8])


def test_the_centre_crop_takes_the_largest_square() -> None:
    image = Image.fromarray(RNG.integers(0, 256, (8, 12), dtype=np.uint8))
    assert np.array_equal(np.asarray(centre(image, 8)), np.asarray(image)[:, 2:10])


def test_padding_keeps_the_whole_image_between_equal_black_bars() -> None:
    image = Image.fromarray(RNG.integers(1, 256, (4, 8), dtype=np.uint8))
    padded = np.asarray(pad(image, 8))
    assert np.array_equal(padded[2:6], np.asarray(image))
    assert not padded[:2].any()
    assert not padded[6:].any()


def test_simplejpeg_gives_the_pixels_that_pillow_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("simplejpeg")
    smooth = Image.fromarray(RNG.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize((61, 45), Image.Resampling.BICUBIC)
    contents = [
        encoded(image, "JPEG", quality=quality, **options)
        for image in (smooth, smooth.convert("L"))
        for quality in (40, 95)
        for options in ({}, {"subsampling": 0}, {"subsampling": 1}, {"progressive": True})
        if image.mode == "RGB" or "subsampling" not in options
    ]
    settings = PrepareSettings(image_size=24)
    fast = [decoded(content, settings) for content in contents]
    monkeypatch.setattr(decoding, "simplejpeg", None)
    assert all(np.array_equal(a, decoded(b, settings)) for a, b in zip(fast, contents, strict=True))
