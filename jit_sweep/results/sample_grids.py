"""One picture of a sweep: a row of samples for every arm, aligned by seed, noise and label, so that columns compare."""

import io
import logging
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from jit_sweep.redact import redact
from jit_sweep.results.arms import Arm
from jit_sweep.results.leaderboard import Results
from trainables.storage.folder import open_file

_log = logging.getLogger(__name__)
_CAPTION_PX = 18
_PAD_PX = 8


def read_grid(address: str, *, storage: str | None) -> bytes | None:
    """A trial's picture; None where it is gone. In a storage that was moved or copied it lies below `trials/` as before."""
    here = [f"{storage.rstrip('/')}/trials/{address.rpartition('/trials/')[2]}"] if storage else []
    for place in (*here, address):
        try:
            with open_file(place) as file:
                return file.read()
        except FileNotFoundError:
            continue
    _log.warning("no sample grid at %s", redact(address))
    return None


def write_sample_grids(results: Results, folder: Path, *, storage: str) -> Path | None:
    """Write `{sweep}-samples.png` with each arm's grid of the lowest seed that all arms share; None where nothing is scored.

    `storage`: where the sweep's trials lie.
    """
    panels = []
    for arm in sorted(results.arms, key=lambda arm: arm.position):
        seed = _seed(results, arm)
        if seed is not None and (grid := _grid(arm, seed=seed, storage=storage)) is not None:
            panels.append((f"{arm.label} seed={seed}", grid))
    if not panels:
        return None
    path = folder / f"{results.sweep}-samples.png"
    folder.mkdir(parents=True, exist_ok=True)
    _side_by_side(panels).save(path)
    return path


def _seed(results: Results, arm: Arm) -> int | None:
    """A seed that every scored arm has, else the arm's own first."""
    scored = {trial.entry.seed for trial in arm.trials if trial.score}
    shared = scored.intersection(*({t.entry.seed for t in other.trials if t.score} or scored for other in results.arms))
    return min(shared or scored, default=None)


def _grid(arm: Arm, *, seed: int, storage: str) -> Image.Image | None:
    """A trial's picture; None where it is not there any more."""
    score = next(trial.score for trial in arm.trials if trial.entry.seed == seed and trial.score)
    try:
        content = read_grid(score.grid, storage=storage)
        return Image.open(io.BytesIO(content)).convert("RGB") if content is not None else None
    except OSError as error:
        _log.warning("no sample grid at %s: %s", score.grid, error)
        return None


def _side_by_side(panels: Sequence[tuple[str, Image.Image]], *, columns: int = 2) -> Image.Image:
    width = max(grid.width for _, grid in panels) + _PAD_PX
    height = max(grid.height for _, grid in panels) + _CAPTION_PX + _PAD_PX
    rows = -(-len(panels) // columns)
    sheet = Image.new("RGB", (min(columns, len(panels)) * width + _PAD_PX, rows * height + _PAD_PX), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (caption, grid) in enumerate(panels):
        left, top = _PAD_PX + index % columns * width, _PAD_PX + index // columns * height
        draw.text((left, top), caption, fill="black")
        sheet.paste(grid, (left, top + _CAPTION_PX))
    return sheet
