"""What `plan` says of tokens: where they differ, and with pictures at hand what they hold."""

from pathlib import Path
from typing import Any

from rich.console import Console

from jit_sweep.cli.token_shapes import print_token_rows, token_rows
from tests.unit.plan.test_plan import grid, planned


def test_a_plan_whose_tokens_are_all_of_one_shape_says_nothing_of_them(tmp_path: Path) -> None:
    assert token_rows(planned(tmp_path, **grid({"prediction": ["x", "v"]}, seeds=2)), ranked=True) == []


def test_a_row_for_each_shape_has_its_numbers_over_the_width_and_the_rank_of_what_is_not_lifted(tmp_path: Path) -> None:
    axes: dict[str, list[Any]] = {"patch_size": [16, 8], "dimensions": [None, 1024], "prediction": ["x", "v"]}
    rows = token_rows(planned(tmp_path, **grid(axes, seeds=2)), ranked=True)
    assert [(row["patch_size"], row["tokens"], row["token_dimension"]) for row in rows] == [
        (16, 4, 768),
        (16, 4, 1024),
        (8, 16, 192),
        (8, 16, 1024),
    ]
    assert all(row["token_dimension_over_width"] == row["token_dimension"] / row["width"] for row in rows)
    assert rows[0]["effective_rank"] == rows[1]["effective_rank"] > rows[2]["effective_rank"] > 1
    screen = Console(width=100, record=True, file=(tmp_path / "screen").open("w"))
    print_token_rows(rows, screen)
    assert "effective rank" in screen.export_text()


def test_without_a_probe_no_pixel_is_looked_at(tmp_path: Path) -> None:
    rows = token_rows(planned(tmp_path, **grid({"patch_size": [16, 8]})), ranked=False)
    assert [row["effective_rank"] for row in rows] == [None, None]
