"""One picture of a sweep: a row of samples for every arm, aligned by seed, noise and label, so that columns compare."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from jit_sweep.arms import Arm
from jit_sweep.results import Results
from trainables.storage import Folder

_CAPTION_PX = 18
_PAD_PX = 8


def write_sample_grids(results: Results, folder: Path) -> Path | None:
    """Write `{sweep}-samples.png` with each arm's grid of the lowest seed that all arms share; None where nothing is scored."""
    panels = [
        (arm, _grid(arm, seed=seed)) for arm in _in_plan_order(results) for seed in [_seed(results, arm)] if seed is not None
    ]
    if not panels:
        return None
    path = folder / f"{results.sweep}-samples.png"
    folder.mkdir(parents=True, exist_ok=True)
    _side_by_side([(f"{arm.label} seed={_seed(results, arm)}", grid) for arm, grid in panels]).save(path)
    return path


def _in_plan_order(results: Results) -> list[Arm]:
    return sorted(results.arms, key=lambda arm: (arm.stage, min(trial.entry.position for trial in arm.trials)))


def _seed(results: Results, arm: Arm) -> int | None:
    """A seed that every scored arm has, else the arm's own first."""
    scored = {trial.entry.seed for trial in arm.trials if trial.score}
    shared = scored.intersection(*({t.entry.seed for t in other.trials if t.score} or scored for other in results.arms))
    return min(shared or scored, default=None)


def _grid(arm: Arm, *, seed: int) -> Image.Image:
    score = next(trial.score for trial in arm.trials if trial.entry.seed == seed and trial.score)
    folder, _, name = score.grid.rpartition("/")
    return Image.open(io.BytesIO(Folder(folder).read(name))).convert("RGB")


def _side_by_side(panels: Sequence[tuple[str, Image.Image]], *, columns: int = 2) -> Image.Image:
    width = max(grid.width for _, grid in panels) + _PAD_PX
    height = max(grid.height for _, grid in panels) + _CAPTION_PX + _PAD_PX
    rows = -(-len(panels) // columns)
    sheet = Image.new("RGB", (min(columns, len(panels)) * width + _PAD_PX, rows * height + _PAD_PX), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (caption, grid) in enumerate(panels):
        left, top = _PAD_PX + place % columns * width, _PAD_PX + place // columns * height
        draw.text((left, top), caption, fill="black")
        sheet.paste(grid, (left, top + _CAPTION_PX))
    return sheet
