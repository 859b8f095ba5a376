"""Aligned pictures of the arms: the same seed, noise and labels, so that equal places compare."""

import io
import logging
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from jit_sweep.ledger.records import PictureRow
from jit_sweep.redact import redact
from jit_sweep.results.arms import Arm
from jit_sweep.results.sample_grids import read_grid, shared_seed

_log = logging.getLogger(__name__)
MOST_GRIDS = 24
MOST_WAYS, MOST_RUNGS = 8, 6
"""Arms, and the last rungs of each, that are shown on their way."""
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
        if score is not None and seed is not None and (grid := _grid(arm, seed, score.grid, storage)) is not None:
            grids.append(grid)
        if len(grids) == MOST_GRIDS:
            break
    return grids


@dataclass(frozen=True)
class Way:
    """How an arm's pictures became what they are: the pictures of one seed at its rungs."""

    label: str
    seed: int
    images: tuple[int, ...]
    progress: bytes
    """Samples of equal noise, a row a rung, as WebP."""
    denoised: bytes
    """At the last rung: held-out images, and below them what the network takes them for at five fixed times."""

    @property
    def progress_uri(self) -> str:
        return data_uri(self.progress)

    @property
    def denoised_uri(self) -> str:
        return data_uri(self.denoised)


def read_ways(arms: Sequence[Arm], pictures: Sequence[PictureRow], *, storage: str | None) -> list[Way]:
    """The way of the first `MOST_WAYS` arms that have pictures, of a seed that all arms share where there is one."""
    ways = []
    for arm in arms:
        seed = shared_seed(arms, arm)
        trial = next((trial.entry.trial_id for trial in arm.trials if trial.entry.seed == seed), None)
        drawn = [row for row in pictures if row.trial_id == trial]
        if drawn and seed is not None and (way := _way(arm.label, seed, drawn, storage)) is not None:
            ways.append(way)
        if len(ways) == MOST_WAYS:
            break
    return ways


def _way(label: str, seed: int, drawn: Sequence[PictureRow], storage: str | None) -> Way | None:
    progress = {row.images: row.address for row in drawn if row.kind == "progress"}
    rungs = sorted(progress)[-MOST_RUNGS:]
    denoised = max((row for row in drawn if row.kind == "denoised"), key=lambda row: row.images, default=None)
    rows = [picture for images in rungs if (picture := _picture(progress[images], storage)) is not None]
    seen = _picture(denoised.address, storage) if denoised is not None else None
    if len(rows) < len(rungs) or not rows or seen is None:
        return None
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)))
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return Way(label, seed, tuple(rungs), _webp(_shrunk(sheet, MOST_PX)), _webp(_shrunk(seen, MOST_PX)))


def _picture(address: str, storage: str | None) -> Image.Image | None:
    """None where it is gone, out of reach, or no picture any more."""
    try:
        content = read_grid(address, storage=storage)
        return Image.open(io.BytesIO(content)).convert("RGB") if content is not None else None
    except OSError as error:
        _log.warning("no picture at %s: %s", redact(address), error)
        return None


def data_uri(picture: bytes) -> str:
    """A WebP picture as an address that holds it."""
    return f"data:image/webp;base64,{b64encode(picture).decode()}"


def _grid(arm: Arm, seed: int, address: str, storage: str | None) -> ArmGrid | None:
    whole = _picture(address, storage)
    if whole is None:
        return None
    corner = whole.crop((0, 0, round(whole.width * THUMB_SHARE), round(whole.height * THUMB_SHARE)))
    picture = _shrunk(whole, MOST_PX)
    return ArmGrid(arm.label, seed, _webp(picture), _webp(_shrunk(corner, MOST_PX // 2)), picture.width, picture.height)


def _shrunk(picture: Image.Image, most: int) -> Image.Image:
    share = min(1.0, most / max(picture.size))
    size = (max(1, round(picture.width * share)), max(1, round(picture.height * share)))
    return picture if share == 1.0 else picture.resize(size, Image.Resampling.LANCZOS)


def _webp(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=QUALITY, method=6)
    return buffer.getvalue()
