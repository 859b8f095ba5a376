"""Aligned pictures of the arms: the same seed, noise and labels, so that equal places compare."""

import io
import logging
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from jit_sweep.redact import redact
from jit_sweep.results.arms import Arm
from jit_sweep.results.sample_grids import read_grid, shared_seed

_log = logging.getLogger(__name__)
MOST_GRIDS = 24
MOST_PX = 640
"""A side of a picture in the page."""
THUMB_SHARE = 0.5
"""The part of a grid, from its top left, that a card shows."""
QUALITY = 88


@dataclass(frozen=True)
class ArmGrid:
    """An arm's samples as WebP."""

    label: str
    seed: int
    picture: bytes
    thumbnail: bytes
    """Of its top left part."""
    width: int
    height: int

    @property
    def uri(self) -> str:
        return data_uri(self.picture)

    @property
    def thumbnail_uri(self) -> str:
        return data_uri(self.thumbnail)


def read_grids(arms: Sequence[Arm], *, storage: str | None) -> list[ArmGrid]:
    """The pictures of the first `MOST_GRIDS` arms that have one, of a seed that all arms share where there is one."""
    grids = []
    for arm in arms:
        seed = shared_seed(arms, arm)
        score = next((trial.score for trial in arm.trials if trial.score and trial.entry.seed == seed), None)
        if score is not None and seed is not None and (grid := _read(arm, seed, score.grid, storage)) is not None:
            grids.append(grid)
        if len(grids) == MOST_GRIDS:
            break
    return grids


def data_uri(picture: bytes) -> str:
    """A WebP picture as an address that holds it."""
    return f"data:image/webp;base64,{b64encode(picture).decode()}"


def _read(arm: Arm, seed: int, address: str, storage: str | None) -> ArmGrid | None:
    """A trial's picture; None where it is gone, out of reach, or no picture any more."""
    try:
        content = read_grid(address, storage=storage)
        return _grid(arm.label, seed, content) if content is not None else None
    except OSError as error:
        _log.warning("no sample grid at %s: %s", redact(address), error)
        return None


def _grid(label: str, seed: int, content: bytes) -> ArmGrid:
    whole = Image.open(io.BytesIO(content)).convert("RGB")
    corner = whole.crop((0, 0, round(whole.width * THUMB_SHARE), round(whole.height * THUMB_SHARE)))
    picture = _shrunk(whole, MOST_PX)
    return ArmGrid(label, seed, _webp(picture), _webp(_shrunk(corner, MOST_PX // 2)), picture.width, picture.height)


def _shrunk(picture: Image.Image, most: int) -> Image.Image:
    share = min(1.0, most / max(picture.size))
    size = (max(1, round(picture.width * share)), max(1, round(picture.height * share)))
    return picture if share == 1.0 else picture.resize(size, Image.Resampling.LANCZOS)


def _webp(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=QUALITY, method=6)
    return buffer.getvalue()
