"""What the tokens of a planned sweep are: how many, of how many numbers, and with `--probe` how much of that images fill."""

from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console

from jit_sweep.cli.tables import Column, table_of
from jit_sweep.plan.entry import Entry, Plan
from search_spaces.quantities import QUANTITIES

_SHOWN = ("tokens", "token_dimension", "token_dimension_over_width")


def token_rows(plan: Plan, *, ranked: bool) -> list[dict[str, Any]]:
    """A row for each shape of tokens among the planned trials; none where all have one.

    `ranked`: look at the training images for the effective rank of their patches.
    """
    shapes = {_shape(entry): entry for entry in plan.whole if entry.trial.model.sees_patches}
    if len(shapes) < 2:
        return []
    ranks = _ranks(plan, {entry.trial.model.patch_size for entry in shapes.values()}) if ranked else {}
    return [_row(entry, ranks) for entry in shapes.values()]


def _shape(entry: Entry) -> tuple[int, int | None, int]:
    model = entry.trial.model
    return (model.patch_size, entry.trial.diffusion.dimensions, model.width)


def _row(entry: Entry, ranks: dict[int, float]) -> dict[str, Any]:
    patch, dimensions, width = _shape(entry)
    known = {name: QUANTITIES[name].of(entry.trial, entry.images) for name in _SHOWN}
    return {"patch_size": patch, "dimensions": dimensions, "width": width, **known, "effective_rank": ranks.get(patch)}


def _ranks(plan: Plan, patches: Iterable[int]) -> dict[int, float]:
    from trainables.data import open_images  # starts torch
    from trainables.data.effective_rank import effective_rank

    images = open_images(plan.spec.data.address, holdout=plan.spec.data.holdout)
    return {patch: effective_rank(images, patch) for patch in sorted(patches)}


def print_token_rows(rows: list[dict[str, Any]], screen: Console) -> None:
    """As a table; nothing of none."""
    if rows:
        screen.print(table_of([*_columns(rows)], width=screen.width))


def _columns(rows: list[dict[str, Any]]) -> Iterator[Column]:
    yield Column("patch", [str(row["patch_size"]) for row in rows], right=True)
    yield Column("width", [str(row["width"]) for row in rows], right=True)
    yield Column("tokens", [str(row["tokens"]) for row in rows], right=True)
    if any(row["dimensions"] is not None for row in rows):
        yield Column("lifted to", ["-" if row["dimensions"] is None else str(row["dimensions"]) for row in rows], right=True)
    yield Column("token dimension", [str(row["token_dimension"]) for row in rows], right=True)
    yield Column("over width", [f"{row['token_dimension_over_width']:.3g}" for row in rows], right=True)
    if any(row["effective_rank"] is not None for row in rows):
        yield Column("effective rank", [f"{row['effective_rank']:.3g}" for row in rows], right=True)
