"""Tables on narrow and wide terminals: nothing that tells two rows apart is cut, and what has no room is named."""

import io
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console

from jit_sweep.cli.leaderboard import print_results, print_tables
from jit_sweep.cli.progress import drawing
from jit_sweep.cli.tables import Column, cell_column, lines, say, table_of
from jit_sweep.results.leaderboard import read_results
from search_spaces.axis import AxisValue
from search_spaces.cells import arm_label
from tests.support.ledger import LedgerFixture, planned
from trainables.evaluation.metrics.registry import table_metrics, verdict_metrics

WIDTHS = (40, 60, 80, 140)
ARMS: tuple[dict[str, Any], ...] = tuple(
    {"patch_size": patch, "prediction": prediction, "learning_rate": 0.002} for patch in (16, 32) for prediction in ("x", "v")
)


def screen(width: int) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=width, force_terminal=True, color_system=None, markup=False, highlight=False), text


def train(ledger: LedgerFixture, *, seeds: int = 3) -> None:
    for number, arm in enumerate(ARMS):
        for seed in range(seeds):
            value = 1234.5678 + 100 * number + seed
            ledger.train(
                planned(arm=arm, seed=seed, position=number * seeds + seed),
                {**dict.fromkeys(table_metrics(), value), **dict.fromkeys(verdict_metrics(), value)},
                collapsed=number == 1,
            )


@pytest.mark.parametrize("width", WIDTHS)
def test_a_leaderboard_fits_and_tells_its_arms_apart_whole(ledger: LedgerFixture, width: int) -> None:
    train(ledger)
    out, text = screen(width)
    print_tables(read_results(ledger.reader, "mine"), out)
    shown = text.getvalue()
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= width
    words = shown.split()
    for word in ("patch_size=16", "patch_size=32", "prediction=x", "prediction=v"):
        assert words.count(word) >= 2
    assert "learning_rate=0.002" in shown.partition("\ncell")[0]
    assert "…" not in shown
    head = shown.partition("no room for")[0].replace(":", " ")
    assert "fd_efflite0_96" in head.split()
    assert "(3 collapsed)" in " ".join(head.split())
    lacking = [name for name in table_metrics() if name not in head.split()]
    named = " ".join(shown.partition("no room for: ")[2].partition("\n\n")[0].split())
    assert all(name in named for name in lacking)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_running_sweep_s_table_shows_ids_and_cells_whole(ledger: LedgerFixture, width: int) -> None:
    ledger.plan(*(planned(arm=arm, position=number) for number, arm in enumerate(ARMS)))
    rows = ledger.reader.entries("mine")
    out, text = screen(width)
    table, common = drawing(rows, {row.trial_id: "heldout_v_error 0.1234567" for row in rows}, width=width)
    out.print(table)
    shown = text.getvalue()
    assert common == "all learning_rate=0.002"
    assert all(row.trial_id in shown and f"prediction={row.arm['prediction']}" in shown for row in rows)
    assert "…" not in shown
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= width


def test_columns_go_by_rank_and_those_of_rank_0_stay_however_narrow_it_is() -> None:
    columns = [Column(name, ["x" * 20], rank) for name, rank in (("first", 0), ("third", 2), ("second", 1), ("fourth", 3))]
    out, text = screen(70)
    out.print(table_of(columns, width=70))
    assert text.getvalue().split()[:3] == ["first", "third", "second"]
    assert "no room for: fourth" in text.getvalue()
    assert table_lines(columns, width=10)[0].split() == ["first"]


def test_a_heading_is_stacked_before_a_column_goes() -> None:
    columns = [Column("trial", ["a" * 12]), Column("forward GFLOPs/image", ["1.5"], 1)]
    assert [line.split() for line in table_lines(columns, width=28)[:2]] == [["forward"], ["trial", "GFLOPs/image"]]


def table_lines(columns: list[Column], *, width: int) -> list[str]:
    out, text = screen(80)
    out.print(table_of(columns, width=width))
    return text.getvalue().splitlines()


@pytest.mark.parametrize(
    ("arms", "cells", "common"),
    [
        ([{"prediction": "x"}], ["prediction=x"], ""),
        ([{"depth": 2, "prediction": "x"}, {"depth": 2, "prediction": "v"}], ["prediction=x", "prediction=v"], "; all depth=2"),
        ([{"depth": 2}, {"depth": 2}], ["-", "-"], "; all depth=2"),
        ([{"depth": 2}, {"depth": 2, "t_mu": 0.0}], ["-", "t_mu=0.0"], "; all depth=2"),
        ([{}, {}], ["baseline", "baseline"], ""),
        ([{"t_mu": 0.12341}, {"t_mu": 0.12342}], ["t_mu=0.12341", "t_mu=0.12342"], ""),
        ([{"t_mu": 1 / 3}, {"t_mu": 0.5}], ["t_mu=0.3333", "t_mu=0.5"], ""),
    ],
    ids=lambda value: arm_label(value[-1]) if isinstance(value, list) and isinstance(value[-1], dict) else None,
)
def test_what_all_rows_share_goes_above_and_numbers_are_as_long_as_telling_them_apart_takes(
    arms: list[Mapping[str, AxisValue]], cells: list[str], common: str
) -> None:
    column, shared = cell_column(arms)
    assert (list(column.cells), shared) == (cells, common)


def test_text_is_broken_between_words_and_an_address_never() -> None:
    link = "http://127.0.0.1:5000/" + "x-y/" * 30
    assert lines(f"see {link} for it", width=40) == ["see", f"  {link}", "  for it"]
    out, text = screen(40)
    say(out, "prediction=x against prediction=v: undecided", indent="  ")
    assert text.getvalue() == "  prediction=x against prediction=v:\n    undecided\n"


@pytest.mark.parametrize("width", WIDTHS)
def test_no_two_rows_look_alike_however_narrow_it_is(width: int) -> None:
    """Where the columns that must stay have no room side by side, each row has lines of its own, and nothing is cut."""
    trials = [f"{number:012x}" for number in range(6)]
    columns = [
        Column("trial", trials),
        Column("cell", [f"learning_rate=0.002{number} prediction=x" for number in range(6)], wraps=True),
        Column("state", ["evaluating 1024/50000"] * 6),
        Column("images", ["1,281,167"] * 6, 1, right=True),
    ]
    target, text = screen(width)
    target.print(table_of(columns, width=width))
    shown = text.getvalue()
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width
    assert all(shown.count(cell) == 1 for cell in (*trials, *(f"learning_rate=0.002{number}" for number in range(6))))
    assert ("state: evaluating 1024/50000" in shown) == (width == 40)
    assert ("no room for: images" in shown) == (width <= 80)


def test_of_two_columns_that_wrap_the_wider_one_gives_way() -> None:
    columns = [
        Column("name", ["a"]),
        Column("short", ["few words"], wraps=True),
        Column("long", ["many words " * 9], wraps=True),
    ]
    target, text = screen(60)
    target.print(table_of(columns, width=60))
    assert "few words" in text.getvalue()


def test_the_tables_of_an_axis_values_stand_apart(ledger: LedgerFixture, capsys: pytest.CaptureFixture[str]) -> None:
    train(ledger, seeds=1)
    print_results(ledger.reader, "mine", by=["patch_size"], as_json=False)
    assert capsys.readouterr().out.count("\n\nsweep mine") == 1
