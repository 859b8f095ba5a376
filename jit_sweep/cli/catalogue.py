"""`axes`, `metrics`, `schema` and `--version`: what a sweep file may name, and what the program is."""

import json
import sys
from importlib import metadata

from rich.table import Table

from jit_sweep.cli.output import console, print_json
from jit_sweep.spec.json_schema import axis_schema, schema_text
from jit_sweep.spec.reference import in_words
from search_spaces.axes import AXES
from search_spaces.quantities import QUANTITIES
from trainables.config.trial import MATHS_VERSION
from trainables.evaluation.metrics.registry import METRICS
from trainables.report import ExitCode

COLUMNS = 80
"""What the tables fit into."""


def axes(*, as_json: bool) -> int:
    """Every axis with its values and its meaning."""
    if as_json:
        print_json("axes", [{"name": axis.name, "values": axis_schema(axis), "about": axis.about} for axis in AXES.values()])
        return ExitCode.DONE
    rows = [(axis.name, in_words(axis_schema(axis)).replace("`", ""), axis.about) for axis in AXES.values()]
    console().print(_table(("axis", "values", "meaning"), rows))
    return ExitCode.DONE


def metrics(*, as_json: bool) -> int:
    """Every score with its direction and unit, and every quantity that is known before training."""
    scores, quantities = METRICS.values(), QUANTITIES.values()
    if as_json:
        rows = [{"name": one.name, "direction": one.direction, "unit": one.unit, "about": one.about} for one in scores]
        costs = [{"name": one.name, "unit": one.unit, "about": one.about} for one in quantities]
        print_json("metrics", rows, quantities=costs)
        return ExitCode.DONE
    better = {"minimize": "lower", "maximize": "higher"}
    screen = console()
    screen.print(
        _table(
            ("metric", "better", "meaning"),
            [(one.name, better[one.direction], f"{one.unit}: {one.about}") for one in scores],
        )
    )
    screen.print("\nEvery metric's name may end in `_raw`, for the weights without averaging.")
    screen.print("\nKnown before training, for `limits`, and for `objectives` beside a metric:\n")
    screen.print(_table(("quantity", "unit", "meaning"), [(one.name, one.unit, one.about) for one in quantities]))
    return ExitCode.DONE


def schema(*, as_json: bool) -> int:
    """The JSON schema of a sweep file, as a file of its own or as the one row that every command's `--json` has."""
    if as_json:
        print_json("schema", [json.loads(schema_text())])
    else:
        sys.stdout.write(schema_text())
    return ExitCode.DONE


def version_line() -> str:
    """The program's version, and that of its maths, which is part of every trial's id."""
    try:
        version = metadata.version("jit-sweep")
    except metadata.PackageNotFoundError:
        version = "(not installed)"
    return f"jit-sweep {version}, maths version {MATHS_VERSION}"


def _table(headings: tuple[str, str, str], rows: list[tuple[str, str, str]]) -> Table:
    table = Table(box=None, pad_edge=False, width=COLUMNS)
    name, middle, meaning = headings
    table.add_column(name, no_wrap=True)
    table.add_column(middle)
    table.add_column(meaning, ratio=1)
    for row in rows:
        table.add_row(*row)
    return table
