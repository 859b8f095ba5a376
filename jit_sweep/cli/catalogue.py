"""`axes`, `metrics`, `schema` and `--version`: what a sweep file may name, and what the program is."""

import json
import sys
from importlib import metadata

from rich.console import Group

from jit_sweep.cli.output import console, print_json
from jit_sweep.cli.tables import Column, table_of
from jit_sweep.spec.json_schema import axis_schema, schema_text
from jit_sweep.spec.reference import in_words
from search_spaces.axes import AXES
from search_spaces.quantities import QUANTITIES
from trainables.config.trial import MATHS_VERSION
from trainables.evaluation.metrics.registry import METRICS
from trainables.report import ExitCode

COLUMNS = 80
"""What the tables fit into, wherever they go."""


def axes(*, as_json: bool) -> int:
    """Every axis with its values and its meaning."""
    if as_json:
        print_json("axes", [{"name": axis.name, "values": axis_schema(axis), "about": axis.about} for axis in AXES.values()])
        return ExitCode.DONE
    rows = [(axis.name, in_words(axis_schema(axis)).replace("`", ""), axis.about) for axis in AXES.values()]
    screen = console()
    screen.print(_table(("axis", "values", "meaning"), rows, width=screen.width))
    return ExitCode.DONE


_BIASES = {"none": "", "falls": "; falls as more images are drawn", "rises": "; rises as more images are drawn"}


def metrics(*, as_json: bool) -> int:
    """Every score with its direction and unit, and every quantity that is known before training."""
    scores, quantities = METRICS.values(), QUANTITIES.values()
    if as_json:
        found = [
            {"name": one.name, "direction": one.direction, "unit": one.unit, "about": one.about, "bias": one.bias}
            for one in scores
        ]
        costs = [{"name": one.name, "unit": one.unit, "about": one.about} for one in quantities]
        print_json("metrics", found, quantities=costs)
        return ExitCode.DONE
    better = {"minimize": "lower", "maximize": "higher"}
    screen = console()
    screen.print(
        _table(
            ("metric", "better", "meaning"),
            [(one.name, better[one.direction], f"{one.unit}: {one.about}{_BIASES[one.bias]}") for one in scores],
            width=screen.width,
        )
    )
    screen.print("\nEvery metric's name may end in `_raw`, for the weights without averaging.")
    screen.print("\nKnown before training, for `limits`, and for `objectives` beside a metric:\n")
    rows = [(one.name, one.unit, one.about) for one in quantities]
    screen.print(_table(("quantity", "unit", "meaning"), rows, width=screen.width))
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


def _table(headings: tuple[str, str, str], rows: list[tuple[str, str, str]], *, width: int) -> Group:
    columns = [Column(heading, cells, wraps=bool(i)) for i, (heading, *cells) in enumerate(zip(headings, *rows, strict=True))]
    return table_of(columns, width=min(width, COLUMNS))
