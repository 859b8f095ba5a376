"""What `plan` says of tokens: where they differ, and with pictures at hand what they hold."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from jit_sweep.cli.plan import show
from jit_sweep.cli.token_shapes import print_token_rows, token_rows
from jit_sweep.home import home_at
from tests.support.sweep_files import write_sweep
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
    assert "effective rank" in printed(rows, tmp_path)
    assert [line.split()[3] for line in printed(rows, tmp_path).splitlines() if line.split()[:1] == ["16"]] == ["-", "1024"]


def test_without_a_probe_no_pixel_is_looked_at(tmp_path: Path) -> None:
    rows = token_rows(planned(tmp_path, **grid({"patch_size": [16, 8]})), ranked=False)
    assert [row["effective_rank"] for row in rows] == [None, None]
    assert not {"effective rank", "lifted to"} & set(re.split(r" {2,}", printed(rows, tmp_path).splitlines()[0].strip()))


def printed(rows: list[dict[str, Any]], folder: Path) -> str:
    screen = Console(width=100, record=True, file=(folder / "screen").open("w"))
    print_token_rows(rows, screen)
    return screen.export_text()


def test_a_trunk_of_pixels_is_said_to_have_pixels_and_no_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, home = write_sweep(tmp_path, **grid({"trunk": ["transformer", "unet", "uvit"]}, seeds=1)), home_at(tmp_path)
    show(file, home, as_json=True)
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["tokens"], row["pixels"]) for row in rows] == [(4, None), (None, 1024), (None, 1024)]
    assert [row["token_dim"] for row in rows] == [768, None, None]
    show(file, home, as_json=False)
    assert capsys.readouterr().out.count("1024 pixels") == 2
